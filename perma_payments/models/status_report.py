"""Uploads of CyberSource's status reports: what each said about our subscriptions, and what it changed."""

from datetime import UTC, date, datetime, timedelta

import pgtrigger
from django.conf import settings
from django.db import models
from django.db.models import Q
from django.utils import timezone

from .fields import never_deleted


class ReportState(models.TextChoices):
    """How far an upload has come."""

    PREVIEWED = "previewed", "looked at, not confirmed"
    CONFIRMED = "confirmed", "confirmed"
    UNDONE = "undone", "undone"


# A preview is of its day: what it says is not true for ever, and it holds subscription ids.
PREVIEW_LASTS = timedelta(days=1)


class StatusReport(models.Model):
    """One upload of a report. The file holds customers' names and is not kept.

    What the report says about each subscription of ours, and what that changes, is in StatusReportLine.
    """

    state = models.CharField(max_length=10, choices=ReportState.choices, default=ReportState.PREVIEWED)
    revision = models.PositiveIntegerField(
        default=1, help_text="How often the preview was worked out: only the last one can be confirmed."
    )
    digest = models.CharField(max_length=64, help_text="SHA-256 of the file.")
    made_on = models.DateField("report made on", null=True, blank=True)
    row_count = models.PositiveIntegerField("rows in the report")
    matched_count = models.PositiveIntegerField("subscriptions of ours", default=0)
    change_count = models.PositiveIntegerField("changes", default=0)
    problems = models.JSONField(default=list, help_text="Rows that could not be read: [line, why].")
    unknown_statuses = models.JSONField(default=dict, help_text="Statuses never seen, and how often each came.")
    spoilt_ids = models.PositiveIntegerField("subscription IDs that are none", default=0)
    ignored_dates = models.PositiveIntegerField("dates of next charges that cannot be read", default=0)
    duplicate_count = models.PositiveIntegerField("reference numbers that came several times", default=0)
    duplicates = models.JSONField(
        default=list, help_text="Of ours, the first of them: [reference number, lines, statuses, which counts]."
    )
    unknown_count = models.PositiveIntegerField("other reference numbers", default=0)
    unknown_references = models.JSONField(
        default=list, help_text="The first of them that look like reference numbers."
    )
    warnings = models.JSONField(default=list, help_text="What was said to be unusual, in sentences.")
    tasks_ended = models.JSONField(default=list, help_text="Cancellations that the report showed to be done.")
    tasks_opened = models.JSONField(default=list, help_text="Second subscriptions, and tokens that are missing.")
    uploaded_by = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.PROTECT, related_name="+")
    uploaded_at = models.DateTimeField(default=timezone.now)
    confirmed_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, on_delete=models.PROTECT, null=True, blank=True, related_name="+"
    )
    confirmed_at = models.DateTimeField(null=True, blank=True)
    undone_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, on_delete=models.PROTECT, null=True, blank=True, related_name="+"
    )
    undone_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        verbose_name = "status report"
        permissions = [("upload_statusreport", "Can upload, confirm and undo status reports")]
        constraints = [
            models.CheckConstraint(
                condition=Q(state="previewed", confirmed_at__isnull=True, undone_at__isnull=True)
                | Q(state="confirmed", confirmed_at__isnull=False, undone_at__isnull=True)
                | Q(state="undone", confirmed_at__isnull=False, undone_at__isnull=False),
                name="report_state_has_its_dates",
            )
        ]
        indexes = [models.Index(fields=["digest"], name="report_digest")]
        triggers = [
            never_deleted(),
            pgtrigger.ReadOnly(name="what_was_uploaded_stays", fields=["digest", "uploaded_by", "uploaded_at"]),
        ]

    def __str__(self) -> str:
        return f"status report of {self.uploaded_at:%Y-%m-%d %H:%M} UTC"

    @property
    def as_of(self) -> date:
        """The day whose charges the report knows: when it was made, if it says so, and it can be true."""
        uploaded_on = self.uploaded_at.astimezone(UTC).date()
        return min(self.made_on or uploaded_on, uploaded_on)

    def has_expired(self, now: datetime) -> bool:
        """Whether it is a preview that is too old to be confirmed."""
        return self.state == ReportState.PREVIEWED and now - self.uploaded_at > PREVIEW_LASTS
