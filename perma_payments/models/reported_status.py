"""What status reports say about our subscriptions, one row for each report and subscription."""
import pgtrigger
from django.db import models
from django.db.models import Q

from ..billing.statuses import ALIVE, REPORTED, goes_backwards
from .agreement import SubscriptionAgreement
from .fields import TOKEN_PATTERN, choices, never_deleted, one_of
from .status_upload import StatusUpload

# The columns of an agreement that a report may change, besides the token, which is written down nowhere else.
CHANGED_BY_REPORTS = (
    "status", "paid_through", "cancellation_requested_at", "current_rate", "current_frequency",
    "current_link_limit", "current_link_limit_effective_timestamp",
)


class ReportedStatus(models.Model):
    """The status that a report gives a subscription, and what that changes.

    ``before`` and ``after`` hold those of the agreement's columns that change, as text that is exact:
    amounts with two decimals, moments in ISO's format and UTC. Both are null where nothing would change.
    """

    upload = models.ForeignKey(StatusUpload, on_delete=models.PROTECT, related_name="reported")
    agreement = models.ForeignKey(SubscriptionAgreement, on_delete=models.PROTECT, related_name="reported")
    status = models.CharField(max_length=20, choices=choices(sorted(REPORTED)))
    subscription_id = models.CharField(
        max_length=32, blank=True, default="",
        help_text="CyberSource's, only where the agreement may take it as its token, and until it has.",
    )
    before = models.JSONField(null=True)
    after = models.JSONField(null=True)
    takes_token = models.BooleanField(default=False)
    is_incomplete = models.BooleanField(default=False, help_text="It lacks a checkout to take its terms from.")

    class Meta:
        default_permissions = ()
        constraints = [
            models.UniqueConstraint(fields=["upload", "agreement"], name="reported_once"),
            models.CheckConstraint(condition=one_of("status", REPORTED), name="reported_status"),
            models.CheckConstraint(
                condition=Q(subscription_id__regex=TOKEN_PATTERN), name="reported_subscription_id_form"
            ),
            models.CheckConstraint(
                condition=Q(before__isnull=True, after__isnull=True, takes_token=False)
                | Q(before__isnull=False, after__isnull=False),
                name="reported_before_and_after",
            ),
        ]
        triggers = [
            never_deleted(),
            pgtrigger.ReadOnly(name="what_was_reported_stays", fields=["upload", "agreement", "status"]),
        ]

    def __str__(self) -> str:
        return f"{self.status} ({self.upload})"

    @property
    def remarks(self) -> list[str]:
        """What is to be known of the change besides status and date, in words."""
        if self.after is None or self.before is None:
            return []
        remarks = []
        is_rescue = "current_rate" in self.after
        if is_rescue:
            remarks.append("completed from its checkout")
        if self.takes_token:
            remarks.append("takes its token from the report")
        elif is_rescue and self.status in ALIVE:
            remarks.append("without a token")
        if "cancellation_requested_at" in self.after:
            remarks.append("the requested cancellation is done")
        if "status" in self.after and goes_backwards(self.before["status"], self.after["status"]):
            remarks.append("comes back from an ending")
        return remarks
