"""What is remembered (docs/architecture.md), in PostgreSQL.

Uniqueness, exactly-one-of and completeness are constraints in the database. Rows are never deleted, other than
those that docs/architecture.md names, and every change to an agreement, a purchase, a staff task or a freeze is in
an append-only history, even if it is made in SQL, and so is every change of what a response has sealed.
"""

from .agreement import FOREMOST_FIRST, SubscriptionAgreement
from .database_restore import DatabaseRestore
from .freeze import CheckoutFreeze
from .job_heartbeat import JobHeartbeat
from .job_run import JobRun
from .key_use import KeyUse, Ring
from .login_attempt import LOGIN_ATTEMPT_COUNTS_FOR, LoginAttempt
from .month_end import MonthEnd
from .password_reset import PASSWORD_RESET_REQUEST_COUNTS_FOR, PasswordResetRequest
from .purchase import Purchase
from .reference_number import ReferenceNumber
from .response import Outcome, Response
from .staff_task import Resolution, StaffTask, TaskKind
from .status_report import PLAN_LASTS, KeptLines, ReportState, StatusReport, StatusReportLine
from .transaction import OutgoingTransaction
from .unanswered_acknowledgement import UnansweredAcknowledgement
from .used_message import UsedMessage

__all__ = [
    "FOREMOST_FIRST",
    "LOGIN_ATTEMPT_COUNTS_FOR",
    "PASSWORD_RESET_REQUEST_COUNTS_FOR",
    "PLAN_LASTS",
    "CheckoutFreeze",
    "DatabaseRestore",
    "JobHeartbeat",
    "JobRun",
    "KeptLines",
    "KeyUse",
    "LoginAttempt",
    "MonthEnd",
    "Outcome",
    "OutgoingTransaction",
    "PasswordResetRequest",
    "Purchase",
    "ReferenceNumber",
    "ReportState",
    "Resolution",
    "Response",
    "Ring",
    "StaffTask",
    "StatusReport",
    "StatusReportLine",
    "SubscriptionAgreement",
    "TaskKind",
    "UnansweredAcknowledgement",
    "UsedMessage",
]
