"""Things that a person must do."""

from datetime import datetime

import pghistory
import pgtrigger
from django.conf import settings
from django.contrib.postgres.fields import ArrayField
from django.db import models
from django.db.models import Q
from django.utils import timezone

from ..billing.customers import Customer
from .agreement import SubscriptionAgreement
from .fields import never_deleted
from .purchase import Purchase
from .response import Response


class TaskKind(models.TextChoices):
    """What must be done. docs/statuses.md says what opens each kind."""

    CANCELLATION = "cancellation", "Cancel a subscription in CyberSource"
    STILL_CHARGED = "still charged", "Cancel a subscription that is still charged after its cancellation"
    HELD_FOR_REVIEW = "held for review", "Accept or reject a payment held for review"
    PARTIAL_APPROVAL = "partial approval", "Reverse or refund a partial payment"
    UNREADABLE_AMOUNT = "unreadable amount", "Check a payment whose amount cannot be read"
    INDETERMINATE = "indeterminate", "Find out whether a customer was charged"
    CHECKOUT_FAILED = "checkout failed", "Find out why a checkout failed"
    UNKNOWN_DECISION = "unknown decision", "Check a response with an unknown decision"
    DUPLICATE_CHARGE = "duplicate charge", "Refund a duplicate charge"
    SECOND_SUBSCRIPTION = "second subscription", "Cancel and refund one of a customer's two subscriptions"
    NO_LONGER_STANDS = "no longer stands", "Refund a payment for a subscription that has ended"
    NOT_WHAT_WAS_SIGNED = "not what was signed", "Check a response that does not match its request"
    OUT_OF_ORDER = "out of order", "Check the plan of a subscription changed twice"
    TOKEN_CHANGES = "token changes", "Report a token that changes with the card"
    TOKEN_MISSING = "token missing", "Find the token of a paid subscription"
    UNPROVEN_CHARGE = "unproven charge", "Find out whether a subscription's last charge was made"
    UNMATCHED = "unmatched", "Match a response to its checkout"
    ACKNOWLEDGEMENT_IN_DOUBT = "acknowledgement in doubt", "Find out whether Perma.cc credited a purchase"
    NOT_APPLIED = "not applied", "Check on a response that could not be applied"
    REPORT_MISSING = "report missing", "Upload a status report"
    RESTORED = "restored", "Find what was lost when the database was restored"


# These are about all that is recorded.
ABOUT_ALL = (TaskKind.REPORT_MISSING, TaskKind.RESTORED)


class Resolution(models.TextChoices):
    """How a task ended."""

    DONE = "done", "done"
    WITHDRAWN = "withdrawn", "no longer needed"
    TAKEN_BACK = "taken back", "taken back by the customer"


# The scheduler listens to it (services/staff_tasks/listener.py).
CHANNEL = "perma_payments_staff_task"


@pghistory.track(
    pghistory.InsertEvent(),
    pghistory.UpdateEvent(),
    append_only=True,
    model_name="StaffTaskEvent",
    exclude=["mail_attempts", "mail_due_at", "mail_left_to"],
    # A timeline reads all tasks of what it is about.
    obj_field=pghistory.ObjForeignKey(related_name="events", db_index=False),
)
class StaffTask(models.Model):
    """One thing to do, and what it is about. Also the outbox: without ``notified_at``, it was not mailed yet.

    PostgreSQL wakes the scheduler when the transaction that opens or ends a task commits, no matter what did so.
    Staff are mailed again about a task that the customer has taken back.
    """

    kind = models.CharField(max_length=30, choices=TaskKind.choices)
    agreement = models.ForeignKey(
        SubscriptionAgreement, on_delete=models.PROTECT, null=True, blank=True, related_name="tasks"
    )
    purchase = models.ForeignKey(Purchase, on_delete=models.PROTECT, null=True, blank=True, related_name="tasks")
    # The index of task_once_per_response begins with it.
    response = models.ForeignKey(
        Response, on_delete=models.PROTECT, null=True, blank=True, related_name="tasks", db_index=False
    )
    opened_at = models.DateTimeField(default=timezone.now)
    notified_at = models.DateTimeField(null=True, blank=True)
    # How often the mail has failed; when it is due, if not at once; and, if only some got it, digests of the
    # addresses that did not. The scheduler's working memory, so not in the history.
    mail_attempts = models.PositiveIntegerField(default=0, db_default=0, editable=False)
    mail_due_at = models.DateTimeField(null=True, editable=False)
    mail_left_to = ArrayField(models.CharField(max_length=64), null=True, editable=False)
    claimed_by = models.ForeignKey(
        settings.AUTH_USER_MODEL,
        on_delete=models.PROTECT,
        null=True,
        blank=True,
        related_name="+",
        help_text="Who is doing it, so that nobody else does.",
    )
    claimed_at = models.DateTimeField(null=True, blank=True)
    reopened_at = models.DateTimeField(null=True, blank=True)
    done_at = models.DateTimeField(null=True, blank=True)
    done_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, on_delete=models.PROTECT, null=True, blank=True, related_name="+"
    )
    resolution = models.CharField(max_length=15, choices=Resolution.choices, blank=True)
    note = models.TextField(blank=True)

    class Meta:
        constraints = [
            models.CheckConstraint(condition=Q(kind__in=TaskKind.values), name="task_kind"),
            models.CheckConstraint(
                condition=Q(agreement__isnull=False)
                | Q(purchase__isnull=False)
                | Q(response__isnull=False)
                | Q(kind__in=[str(kind) for kind in ABOUT_ALL]),
                name="task_is_about_something",
            ),
            models.CheckConstraint(
                condition=Q(claimed_by__isnull=True, claimed_at__isnull=True)
                | Q(claimed_by__isnull=False, claimed_at__isnull=False, done_at__isnull=True),
                name="task_claimed_by_someone",
            ),
            models.UniqueConstraint(
                models.Value(1),
                condition=Q(kind="report missing", done_at__isnull=True),
                name="task_one_missing_report",
            ),
            models.CheckConstraint(
                condition=Q(done_at__isnull=True, resolution="", done_by__isnull=True)
                | Q(done_at__isnull=False, resolution__in=Resolution.values),
                name="task_done_has_resolution",
            ),
            # A response opens each kind of task only once, no matter how often it is applied.
            models.UniqueConstraint(fields=["response", "kind"], name="task_once_per_response"),
            models.UniqueConstraint(
                fields=["agreement"],
                condition=Q(kind="cancellation", done_at__isnull=True),
                name="task_one_open_cancellation",
            ),
            models.CheckConstraint(
                condition=~Q(kind="cancellation") | Q(agreement__isnull=False),
                name="task_cancellation_of_agreement",
            ),
        ]
        indexes = [
            # The open ones first, as lists show them.
            models.Index(fields=["-done_at", "opened_at"], name="task_in_order"),
            models.Index(
                fields=["opened_at"],
                condition=Q(notified_at__isnull=True) | Q(mail_due_at__isnull=False),
                name="task_to_be_mailed",
            ),
        ]
        triggers = [
            never_deleted(),
            pgtrigger.Trigger(
                name="wake_scheduler",
                level=pgtrigger.Statement,
                when=pgtrigger.After,
                operation=pgtrigger.Insert | pgtrigger.UpdateOf("resolution"),
                func=f"PERFORM pg_notify('{CHANNEL}', ''); RETURN NULL;",
            ),
        ]

    def __str__(self) -> str:
        about = self.agreement or self.purchase or self.response
        return f"{self.get_kind_display()} ({about})" if about else self.get_kind_display()

    @property
    def customer(self) -> Customer | None:
        """The owner of the subscription or purchase; None for a response that belongs to neither."""
        about = self.agreement or self.purchase
        return about.customer if about else None

    @property
    def reference_number(self) -> str:
        """The reference number to search for in the Business Center; empty if it is about all subscriptions."""
        about = self.agreement or self.purchase
        if about:
            return about.reference_number
        if self.response is None:
            return ""
        # Signed, but not one of ours, so it can be anything: only what looks like one is shown.
        text = self.response.reference_number
        return text if text.replace("-", "").isalnum() else "(no reference number)"

    def age_in_days(self, now: datetime) -> int:
        """How many whole days it has been open."""
        return max((now - self.opened_at).days, 0)
