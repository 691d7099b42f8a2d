"""What is remembered (docs/architecture.md): the ledger, in PostgreSQL.

Uniqueness, exactly-one-of and completeness are constraints in the database. Rows are never deleted, and
every change to an agreement, a purchase or a staff task is in an append-only history, whoever makes it.
"""

from .agreement import FOREMOST_FIRST, SubscriptionAgreement
from .job_run import JobRun
from .login_try import LoginTry
from .purchase import Purchase
from .reference_number import ReferenceNumber
from .reported_status import CHANGED_BY_REPORTS, ReportedStatus
from .response import Outcome, Response
from .staff_task import Resolution, StaffTask, TaskKind
from .status_upload import PREVIEW_LASTS, StatusUpload, UploadState
from .transaction import OutgoingTransaction
from .unanswered_acknowledgement import UnansweredAcknowledgement
from .used_message import UsedMessage

__all__ = [
    "CHANGED_BY_REPORTS",
    "FOREMOST_FIRST",
    "JobRun",
    "LoginTry",
    "OutgoingTransaction",
    "Outcome",
    "PREVIEW_LASTS",
    "Purchase",
    "ReferenceNumber",
    "ReportedStatus",
    "Resolution",
    "Response",
    "StaffTask",
    "StatusUpload",
    "SubscriptionAgreement",
    "TaskKind",
    "UnansweredAcknowledgement",
    "UploadState",
    "UsedMessage",
]
