"""Status reports (CyberSource's list of subscriptions, uploaded by staff): what each said, and what it changed."""

from datetime import UTC, date, datetime, timedelta
from typing import Literal

import pgtrigger
from django.conf import settings
from django.db import models
from django.db.models import Q, QuerySet
from django.utils import timezone

from ..billing import tokens
from ..billing.coverage import ChargeNews
from ..billing.schedules import Frequency
from ..billing.statuses import ALIVE, ENDED, REPORTED
from .agreement import TAKEN_TERMS, SubscriptionAgreement
from .fields import choices, money_field, one_of


class ReportState(models.TextChoices):
    """How far a report has come, with the words that staff see."""

    PLANNED = "planned", "not confirmed"
    APPLIED = "applied", "confirmed"
    REVERTED = "reverted", "undone"
    DISCARDED = "discarded", "discarded"


# A report's changes have two sides: how things are after it, and how they were before.
Side = Literal["before", "after"]


class KeptLines(models.TextChoices):
    """Which of a report's lines have not been deleted (services/status_reports/purge.py)."""

    ALL = "all", "all"
    CHANGES = "changes", "those that change something, or are unusual"
    EXCEPTIONS = "exceptions", "those that change more than dates, or are unusual"


# A plan goes stale, and it holds subscription ids.
PLAN_LASTS = timedelta(days=1)

# The columns of an agreement that a report may change, other than the token, which is stored nowhere else.
CHANGED_BY_REPORTS = (
    "status",
    "covered_until",
    "coverage_proof",
    "next_charge_on",
    "cancellation_requested_at",
    *TAKEN_TERMS,
)

# Those of them that a report changes month after month, if all is well.
DATES = ("covered_until", "coverage_proof", "next_charge_on")
MORE_THAN_DATES = sorted(set(CHANGED_BY_REPORTS).difference(DATES))

# The lines that agree with our records, and those that change no more than dates. What either says is in the
# history, or is counted in the report.
USUAL = Q(our_terms__isnull=True, is_incomplete=False, ignores_date=False, takes_token=False)
UNCHANGED = USUAL & Q(after__isnull=True)
ROUTINE = USUAL & (Q(after__isnull=True) | ~Q(after__has_any_keys=MORE_THAN_DATES))


def _dated(state: str, *columns: str) -> Q:
    """A state, with just these of its dates."""
    dates = {f"{each}__isnull": each not in columns for each in ("applied_at", "reverted_at", "discarded_at")}
    return Q(state=state, **dates)


class StatusReport(models.Model):
    """A status report. Its file holds customers' names and is not kept; what it says about our subscriptions is in
    StatusReportLine.
    """

    state = models.CharField(max_length=10, choices=ReportState.choices, default=ReportState.PLANNED)
    revision = models.PositiveIntegerField(
        default=1, help_text="How often it was planned: only the latest plan can be confirmed."
    )
    digest = models.CharField(max_length=64, help_text="SHA-256 of the file.")
    made_on = models.DateField("made on", null=True, blank=True)
    row_count = models.PositiveIntegerField("rows in the report")
    matched_count = models.PositiveIntegerField("our subscriptions", default=0)
    change_count = models.PositiveIntegerField("changes", default=0)
    charge_counts = models.JSONField(default=dict, help_text="How many lines say what about charges.")
    dates_count = models.PositiveIntegerField(
        "later dates", default=0, help_text="How many subscriptions keep their status and are paid for longer."
    )
    kept_lines = models.CharField(max_length=10, choices=KeptLines.choices, default=KeptLines.ALL)
    is_purged = models.BooleanField(default=True, help_text="No line is left that is not kept.")
    unread_rows = models.JSONField(default=list, help_text="Rows that could not be read: [line, why].")
    unknown_statuses = models.JSONField(default=dict, help_text="Names of statuses we don't know: {name: rows}.")
    spoiled_ids = models.PositiveIntegerField("invalid subscription IDs", default=0)
    unreadable_dates = models.PositiveIntegerField("dates of next charges that could not be read", default=0)
    unreadable_terms = models.PositiveIntegerField("amounts and frequencies that could not be read", default=0)
    duplicate_count = models.PositiveIntegerField("reference numbers in several rows", default=0)
    duplicates = models.JSONField(
        default=list, help_text="The first of ours: [reference number, lines, statuses, the status that counts]."
    )
    unknown_count = models.PositiveIntegerField("other reference numbers", default=0)
    unknown_references = models.JSONField(
        default=list, help_text="The first of them that look like reference numbers."
    )
    warnings = models.JSONField(default=list, help_text="What is unusual about it.")
    tasks_ended = models.JSONField(default=list, help_text="Ids of the staff tasks that applying it ended.")
    tasks_opened = models.JSONField(default=list, help_text="Ids of the staff tasks that applying it opened.")
    uploaded_by = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.PROTECT, related_name="+")
    uploaded_at = models.DateTimeField(default=timezone.now)
    applied_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, on_delete=models.PROTECT, null=True, blank=True, related_name="+"
    )
    applied_at = models.DateTimeField("confirmed", null=True, blank=True)
    reverted_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, on_delete=models.PROTECT, null=True, blank=True, related_name="+"
    )
    reverted_at = models.DateTimeField("undone", null=True, blank=True)
    discarded_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, on_delete=models.PROTECT, null=True, blank=True, related_name="+"
    )
    discarded_at = models.DateTimeField("discarded", null=True, blank=True)

    class Meta:
        permissions = [("upload_statusreport", "Can upload, confirm, discard and undo status reports")]
        constraints = [
            models.CheckConstraint(
                condition=_dated("planned")
                | _dated("applied", "applied_at")
                | _dated("reverted", "applied_at", "reverted_at")
                | _dated("discarded", "discarded_at"),
                name="report_state_has_its_dates",
            )
        ]
        indexes = [models.Index(fields=["digest"], name="report_digest")]
        triggers = [
            pgtrigger.Protect(
                name="deleted_only_as_a_preview",
                operation=pgtrigger.Delete,
                condition=pgtrigger.Q(old__state__df=str(ReportState.PLANNED)),
            ),
            # Otherwise, anyone who can write to it could make it one, and then delete it.
            pgtrigger.Protect(
                name="never_a_preview_again",
                operation=pgtrigger.Update,
                condition=pgtrigger.Q(
                    old__state__df=str(ReportState.PLANNED), new__state=str(ReportState.PLANNED)
                ),
            ),
            pgtrigger.ReadOnly(name="what_was_uploaded_stays", fields=["digest", "uploaded_by", "uploaded_at"]),
        ]

    def __str__(self) -> str:
        return f"status report of {self.uploaded_at:%Y-%m-%d %H:%M} UTC"

    @property
    def as_of(self) -> date:
        """The day up to which the report knows of charges: the day it was made, or else that of the upload."""
        uploaded_on = self.uploaded_at.astimezone(UTC).date()
        return min(self.made_on or uploaded_on, uploaded_on)

    def has_expired(self, now: datetime) -> bool:
        """Whether it is too late to apply its plan."""
        return self.state == ReportState.PLANNED and now - self.uploaded_at > PLAN_LASTS

    def changes(self) -> "QuerySet[StatusReportLine]":
        """The lines that change their agreement."""
        return self.lines.filter(after__isnull=False)

    def endings(self) -> "QuerySet[StatusReportLine]":
        """The lines whose agreement was charged before the changes, and has ended after them."""
        return self.lines.filter(before__status__in=ALIVE, after__status__in=ENDED)

    def hidden_count(self) -> int:
        """How many of its changes, all of them routine, are no longer among the lines."""
        return self.change_count - self.changes().count()

    def reviving(self, side: Side) -> "QuerySet[StatusReportLine]":
        """The lines whose agreement is charged on one side of the changes, and not on the other."""
        other = "before" if side == "after" else "after"
        return self.lines.filter(**{f"{side}__status__in": ALIVE}).exclude(**{f"{other}__status__in": ALIVE})


class StatusReportLine(models.Model):
    """What a report says about one of our subscriptions, and what that changes.

    ``before`` and ``after`` hold the agreement's columns that change, as exact text: amounts with two decimals,
    dates and times in ISO format, times in UTC. Both are null where nothing changes.
    """

    # It has no index of its own, because report_line_once_per_agreement begins with it. While PostgreSQL has no
    # statistics of a new report, it would prefer the shorter index, and go through all lines for each agreement.
    report = models.ForeignKey(StatusReport, on_delete=models.PROTECT, related_name="lines", db_index=False)
    agreement = models.ForeignKey(SubscriptionAgreement, on_delete=models.PROTECT, related_name="report_lines")
    status = models.CharField(max_length=20, choices=choices(sorted(REPORTED)))
    charge_news = models.CharField("news about charges", max_length=15, choices=choices(ChargeNews))
    next_charge_on = models.DateField("next charge", null=True)
    amount = money_field("amount charged", null=True)
    frequency = models.CharField(max_length=20, choices=choices(Frequency), blank=True, default="")
    subscription_id = models.CharField(
        max_length=32,
        blank=True,
        default="",
        help_text="Kept only where the agreement needs it as its token, and only until it has taken it.",
    )
    before = models.JSONField(null=True)
    after = models.JSONField(null=True)
    takes_token = models.BooleanField(default=False)
    ignores_date = models.BooleanField(default=False, help_text="Its date of the next charge is implausible.")
    our_terms = models.JSONField(
        null=True, help_text="The amount and the frequency that we have, if CyberSource charges something else."
    )
    is_incomplete = models.BooleanField(default=False, help_text="There is no checkout to take its terms from.")

    class Meta:
        default_permissions = ()
        constraints = [
            models.UniqueConstraint(fields=["report", "agreement"], name="report_line_once_per_agreement"),
            models.CheckConstraint(condition=one_of("status", REPORTED), name="report_line_status"),
            models.CheckConstraint(condition=one_of("charge_news", ChargeNews), name="report_line_charge_news"),
            models.CheckConstraint(
                condition=Q(frequency="") | one_of("frequency", Frequency), name="report_line_frequency"
            ),
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
            pgtrigger.Trigger(
                name="deleted_only_if_not_kept",
                operation=pgtrigger.Delete,
                when=pgtrigger.Before,
                func=pgtrigger.Func(
                    "IF EXISTS (SELECT FROM perma_payments_statusreport AS report WHERE report.id = OLD.report_id"
                    " AND (report.state = 'planned' OR (report.kept_lines <> 'all'"
                    " AND OLD.our_terms IS NULL AND NOT OLD.is_incomplete AND NOT OLD.ignores_date"
                    " AND NOT OLD.takes_token"
                    f" AND NOT COALESCE(OLD.after ?| ARRAY{MORE_THAN_DATES}, false)))) THEN RETURN OLD; END IF;"
                    " RAISE EXCEPTION 'this line is kept';"
                ),
            ),
            pgtrigger.Trigger(
                name="changed_only_in_a_preview",
                operation=pgtrigger.Update,
                when=pgtrigger.Before,
                func=pgtrigger.Func(
                    "IF EXISTS (SELECT FROM perma_payments_statusreport AS report WHERE report.id = OLD.report_id"
                    " AND report.state = 'planned') THEN RETURN NEW; END IF;"
                    " RAISE EXCEPTION 'this line is final';"
                ),
            ),
            pgtrigger.ReadOnly(
                name="what_was_reported_stays",
                fields=["report", "agreement", "status", "charge_news", "next_charge_on", "amount", "frequency"],
            ),
        ]

    def __str__(self) -> str:
        return f"{self.status} ({self.report})"
