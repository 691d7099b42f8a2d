"""CyberSource's responses: the evidence, and what was made of it."""

import pghistory
import pgtrigger
from django.conf import settings
from django.db import models
from django.db.models import Q
from django.utils import timezone

from ..billing import tokens
from .fields import never_deleted
from .transaction import OutgoingTransaction


class Outcome(models.TextChoices):
    """How a response was applied."""

    TOOK_EFFECT = "took effect", "took effect"
    NO_EFFECT = "no effect", "no effect"
    UNMATCHED = "unmatched", "matches none of our transactions"


class ResponseQuerySet(models.QuerySet["Response"]):
    def granted(self) -> "ResponseQuerySet":
        """Those that said that money moved, and took effect."""
        return self.filter(decision__in=Response.GRANTING, outcome=Outcome.TOOK_EFFECT)


# What is sealed changes only when it is resealed to another key (services/resealing.py).
_SEALED = ["sealed", "archive_key_id"]


@pghistory.track(
    pghistory.UpdateEvent("resealed", row=pghistory.Old, condition=pghistory.AnyChange(*_SEALED)),
    append_only=True,
    model_name="ResponseEvent",
    obj_field=pghistory.ObjForeignKey(related_name="events", db_index=False),
    # The key that it was sealed to before. What was sealed to that key is kept in a file, so that the key can go.
    fields=["archive_key_id"],
)
class Response(models.Model):
    """One distinct callback: verified, kept first, applied afterward. Or what staff recorded in its place.

    The texts are CyberSource's, shortened to their columns; the whole POST is in ``sealed``. Nothing
    here names a person.
    """

    # Decisions that say that money moved, or is about to.
    GRANTING = ("ACCEPT", "REVIEW")
    # The only decisions after which a checkout has certainly not been charged.
    NOT_CHARGING = frozenset({"CANCEL", "DECLINE"})
    FAILURE_LENGTH = 100

    fingerprint = models.BinaryField(
        max_length=32,
        unique=True,
        help_text="SHA-256 of what makes a callback distinct: uuid, transaction id, decision.",
    )
    outgoing = models.ForeignKey(
        OutgoingTransaction, on_delete=models.PROTECT, null=True, blank=True, related_name="responses"
    )
    transaction_uuid = models.CharField("transaction uuid", max_length=50)
    transaction_id = models.CharField("CyberSource's transaction id", max_length=32, blank=True)
    decision = models.CharField(max_length=20)
    reason_code = models.CharField(max_length=10, blank=True)
    message = models.CharField(max_length=255, blank=True)
    transaction_type = models.CharField(max_length=60)
    reference_number = models.CharField(max_length=50)
    amount = models.CharField("amount, as echoed", max_length=20, blank=True)
    currency = models.CharField("currency, as echoed", max_length=10, blank=True)
    auth_amount = models.CharField("amount authorized", max_length=20, blank=True)
    payment_token = models.CharField(
        max_length=32,
        blank=True,
        help_text="The token that came with it; emptied when the agreement takes it over.",
    )
    brought_token = models.BooleanField(default=False, help_text="A token came with it, in whatever form.")
    token_is_unusable = models.BooleanField(
        default=False, help_text="A token came, but not in a form that a token can have."
    )
    is_ambiguous = models.BooleanField(
        default=False, help_text="The signed text could be split in another way: nothing in it is acted on."
    )
    signed_at = models.DateTimeField("signed by CyberSource", default=timezone.now)
    sealed = models.BinaryField(default=b"", help_text="The full POST, sealed to the archive's key.")
    archive_key_id = models.CharField(max_length=50, blank=True)
    recorded_by = models.ForeignKey(
        settings.AUTH_USER_MODEL,
        on_delete=models.PROTECT,
        null=True,
        blank=True,
        related_name="+",
        help_text="Who recorded it from the Business Center, if it did not come from CyberSource.",
    )
    received_at = models.DateTimeField(default=timezone.now)
    failed_at = models.DateTimeField(
        "could not be applied", null=True, blank=True, help_text="When it was last tried without success."
    )
    failure = models.CharField(
        max_length=FAILURE_LENGTH, blank=True, help_text="The type of the error. Its text could quote a payload."
    )
    applied_at = models.DateTimeField(null=True, blank=True)
    outcome = models.CharField(max_length=20, choices=Outcome.choices, blank=True)

    objects = ResponseQuerySet.as_manager()

    class Meta:
        permissions = [("correct_response", "Can match a response to its transaction")]
        constraints = [
            models.CheckConstraint(
                condition=Q(payment_token__regex=tokens.PATTERN), name="response_payment_token_form"
            ),
            models.CheckConstraint(
                condition=Q(recorded_by__isnull=False, sealed=b"", archive_key_id="")
                | (Q(recorded_by__isnull=True) & ~Q(sealed=b"") & ~Q(archive_key_id="")),
                name="response_is_sealed_or_recorded",
            ),
            models.CheckConstraint(
                condition=Q(applied_at__isnull=True, outcome="")
                | Q(applied_at__isnull=False, outcome__in=Outcome.values),
                name="response_applied_has_outcome",
            ),
        ]
        indexes = [
            models.Index(fields=["received_at"], condition=Q(applied_at__isnull=True), name="response_unapplied"),
            models.Index(fields=["received_at"], name="response_received_at"),
            models.Index(fields=["decision", "received_at"], name="response_decision"),
            models.Index(fields=["outcome", "received_at"], name="response_outcome"),
            models.Index(fields=["transaction_id"], name="response_transaction_id"),
            models.Index(fields=["reference_number"], name="response_reference_number"),
        ]
        triggers = [
            never_deleted(),
            pgtrigger.ReadOnly(
                name="evidence_stays",
                fields=[
                    "fingerprint",
                    "transaction_uuid",
                    "transaction_id",
                    "decision",
                    "reason_code",
                    "message",
                    "transaction_type",
                    "reference_number",
                    "amount",
                    "currency",
                    "auth_amount",
                    "brought_token",
                    "token_is_unusable",
                    "is_ambiguous",
                    "signed_at",
                    "recorded_by",
                    "received_at",
                ],
            ),
            pgtrigger.ReadOnly(name="sealed_stays", fields=_SEALED),
        ]

    def __str__(self) -> str:
        return f"{self.decision} {self.reason_code} for {self.transaction_uuid}"
