"""What status reports say about our subscriptions, one row for each report and subscription."""

import pgtrigger
from django.db import models
from django.db.models import Q

from ..billing import tokens
from ..billing.coverage import ChargeNews
from ..billing.statuses import ALIVE, REPORTED, Status, goes_backwards
from .agreement import SubscriptionAgreement
from .fields import choices, never_deleted, one_of
from .status_report import StatusReport

# The columns of an agreement that a report may change, besides the token, which is written down nowhere else.
CHANGED_BY_REPORTS = (
    "status",
    "covered_until",
    "coverage_proof",
    "next_charge_on",
    "cancellation_requested_at",
    "current_rate",
    "current_frequency",
    "current_link_limit",
    "current_link_limit_effective_timestamp",
    "schedule_start",
)


class StatusReportLine(models.Model):
    """The status that a report gives a subscription, and what that changes.

    ``before`` and ``after`` hold those of the agreement's columns that change, as text that is exact: amounts
    with two decimals, dates and moments in ISO's format, moments in UTC. Both are null where nothing would change.
    """

    report = models.ForeignKey(StatusReport, on_delete=models.PROTECT, related_name="lines")
    agreement = models.ForeignKey(SubscriptionAgreement, on_delete=models.PROTECT, related_name="report_lines")
    status = models.CharField(max_length=20, choices=choices(sorted(REPORTED)))
    charge_news = models.CharField("what it says about charges", max_length=15, choices=choices(ChargeNews))
    next_charge_on = models.DateField("next charge", null=True)
    subscription_id = models.CharField(
        max_length=32,
        blank=True,
        default="",
        help_text="CyberSource's, only where the agreement may take it as its token, and until it has.",
    )
    before = models.JSONField(null=True)
    after = models.JSONField(null=True)
    takes_token = models.BooleanField(default=False)
    ignores_date = models.BooleanField(default=False, help_text="Its date of the next charge cannot be right.")
    is_incomplete = models.BooleanField(default=False, help_text="It lacks a checkout to take its terms from.")

    class Meta:
        default_permissions = ()
        constraints = [
            models.UniqueConstraint(fields=["report", "agreement"], name="report_line_once_per_agreement"),
            models.CheckConstraint(condition=one_of("status", REPORTED), name="report_line_status"),
            models.CheckConstraint(condition=one_of("charge_news", ChargeNews), name="report_line_charge_news"),
            models.CheckConstraint(
                condition=Q(subscription_id__regex=tokens.PATTERN), name="report_line_subscription_id_form"
            ),
            models.CheckConstraint(
                condition=Q(before__isnull=True, after__isnull=True, takes_token=False)
                | Q(before__isnull=False, after__isnull=False),
                name="report_line_before_and_after",
            ),
        ]
        triggers = [
            never_deleted(),
            pgtrigger.ReadOnly(
                name="what_was_reported_stays",
                fields=["report", "agreement", "status", "charge_news", "next_charge_on"],
            ),
        ]

    def __str__(self) -> str:
        return f"{self.status} ({self.report})"

    @property
    def remarks(self) -> list[str]:
        """What is to be known of the change besides status and date, in words."""
        remarks = []
        if self.status == Status.CURRENT and self.charge_news == ChargeNews.FAILED:
            remarks.append("a charge failed and is being retried")
        if self.after is None or self.before is None:
            return remarks
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
