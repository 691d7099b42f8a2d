"""Uploads of CyberSource's status reports: what each said about our subscriptions, and what it changed."""
import pgtrigger
from django.conf import settings
from django.db import models
from django.db.models import Q
from django.utils import timezone

from .fields import never_deleted


class UploadState(models.TextChoices):
    """How far an upload has come."""

    PREVIEWED = "previewed", "looked at, not confirmed"
    CONFIRMED = "confirmed", "confirmed"
    UNDONE = "undone", "undone"


class StatusUpload(models.Model):
    """One upload of a report. The file holds customers' names and is not kept.

    ``rows`` are the report's rows about subscriptions of ours, as ``[line, reference number, status,
    subscription id]``; they are emptied once the upload is confirmed. ``changes`` is what the upload
    would do (previewed) or did; see services.upload_statuses.Change.
    """

    state = models.CharField(max_length=10, choices=UploadState.choices, default=UploadState.PREVIEWED)
    digest = models.CharField(max_length=64, help_text="SHA-256 of the file.")
    made_on = models.DateField("report made on", null=True, blank=True)
    row_count = models.PositiveIntegerField("rows in the report")
    matched_count = models.PositiveIntegerField("rows about subscriptions of ours")
    rows = models.JSONField(default=list)
    problems = models.JSONField(default=list)
    duplicates = models.JSONField(default=list)
    unknown_count = models.PositiveIntegerField("rows about other subscriptions", default=0)
    unknown_references = models.JSONField(default=list)
    changes = models.JSONField(default=list)
    incomplete_references = models.JSONField(
        default=list, help_text="Subscriptions to complete that lack a checkout."
    )
    tasks_ended = models.JSONField(default=list, help_text="Cancellations that the report showed to be done.")
    tasks_opened = models.JSONField(default=list, help_text="Second subscriptions that the report showed.")
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
        permissions = [("upload_statuses", "Can upload, confirm and undo status reports")]
        constraints = [
            models.CheckConstraint(
                condition=Q(state="previewed", confirmed_at__isnull=True, undone_at__isnull=True)
                | Q(state="confirmed", confirmed_at__isnull=False, undone_at__isnull=True)
                | Q(state="undone", confirmed_at__isnull=False, undone_at__isnull=False),
                name="upload_state_has_its_dates",
            ),
        ]
        indexes = [models.Index(fields=["digest"], name="upload_digest")]
        triggers = [
            never_deleted(),
            pgtrigger.ReadOnly(name="what_was_uploaded_stays", fields=["digest", "uploaded_by", "uploaded_at"]),
        ]

    def __str__(self) -> str:
        return f"status report of {self.uploaded_at:%Y-%m-%d %H:%M} UTC"
