"""Discard: put a planned status report aside for good. Staff press Discard (docs/statuses.md)."""

import logging
from datetime import datetime

from django.contrib.auth.models import User
from django.db import transaction

from ...models import ReportState, StatusReport
from .apply import forget_ids, lock_report, refuse_unless_planned

logger = logging.getLogger(__name__)


def discard_report(report_id: int, *, by: User, now: datetime) -> StatusReport:
    """Record that a report will not be applied. Raises CannotBeDone if it was already applied or discarded."""
    with transaction.atomic():
        report = lock_report(report_id)
        refuse_unless_planned(report)
        forget_ids(report)
        report.state, report.discarded_by, report.discarded_at = ReportState.DISCARDED, by, now
        report.save(update_fields=["state", "discarded_by", "discarded_at"])
    logger.info("status report %s discarded", report_id)
    return report
