"""Corrections by hand: a form with a reason, a look at what Perma.cc will see, and then it is done."""

import hashlib
from collections.abc import Callable
from datetime import UTC, datetime
from functools import partial
from typing import Any

from django import forms
from django.contrib import messages
from django.contrib.auth.models import User
from django.core.exceptions import PermissionDenied
from django.db import OperationalError
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect
from django.template.response import TemplateResponse
from django.urls import URLPattern, path, reverse
from django.utils import timezone

from ..billing.coverage import midnight
from ..billing.customers import Customer
from ..billing.statuses import PurchaseStatus, Status
from ..billing.transactions import Kind
from ..models import Outcome, Purchase, Response, SubscriptionAgreement
from ..models.fields import choices
from ..postgres.problems import is_locked
from ..services import corrections
from .read_only import LedgerAdmin, PurchaseAdmin, ResponseAdmin, SubscriptionAgreementAdmin


class ReasonForm(forms.Form):
    """What every correction asks for."""

    reason = forms.CharField(
        max_length=1000,
        widget=forms.Textarea(attrs={"rows": 3, "cols": 60}),
        help_text="For whoever looks at the history: who asked for it, and why. No personal data, please.",
    )


class SeenForm(ReasonForm):
    """What a correction of a row that may change meanwhile asks for."""

    # Its updated_at, when the form was opened.
    seen = forms.CharField(widget=forms.HiddenInput)

    def clean_seen(self) -> datetime:
        """As the time that it is."""
        try:
            return datetime.fromisoformat(self.cleaned_data["seen"])
        except ValueError:
            raise forms.ValidationError("Please open this page anew.") from None


class AgreementForm(SeenForm):
    """The status and the date of a subscription."""

    status = forms.ChoiceField(choices=choices(Status))
    covered_until = forms.DateField(
        label="Paid for until",
        required=False,
        widget=forms.DateInput(attrs={"type": "date"}),
        help_text="The date of the first charge that has not been paid: what is paid for ends as that day begins "
        "(UTC). While a subscription is Current, Perma.cc is told the date of its next charge instead.",
    )
    field_order = ("status", "covered_until", "reason")


class PurchaseForm(SeenForm):
    """Whether Perma.cc has credited a purchase."""

    credited = forms.ChoiceField(
        label="The links",
        choices=[
            ("yes", "are credited: do not offer them again"),
            ("no", "are not credited: offer them to Perma.cc again"),
        ],
    )
    field_order = ("credited", "reason")


class ResponseForm(ReasonForm):
    """The transaction that a response belongs to."""

    transaction_uuid = forms.UUIDField(label="Our transaction's uuid")
    field_order = ("transaction_uuid", "reason")


class Correctable(LedgerAdmin):
    """A table whose rows staff with ``permission`` may correct, at ``…/<id>/correct/``, by what ``asks``."""

    permission: str
    asks: type[ReasonForm]

    def get_urls(self) -> list[URLPattern]:
        """The page of the correction, besides Django's pages."""
        name = f"perma_payments_{self.opts.model_name}_correct"
        correct = path("<int:pk>/correct/", self.admin_site.admin_view(self.correct), name=name)
        return [correct, *super().get_urls()]

    def change_view(
        self, request: HttpRequest, object_id: str, form_url: str = "", extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        """The row's page, with a way to the correction for those who may."""
        subject = self.get_object(request, object_id) if self.may_correct(request) else None
        context = {"correct_url": "../correct/"} if subject is not None and self.can_be_corrected(subject) else {}
        return super().change_view(request, object_id, form_url, {**(extra_context or {}), **context})

    def can_be_corrected(self, subject: Any) -> bool:
        """Whether there is anything about this row that could be corrected."""
        return True

    def may_correct(self, request: HttpRequest) -> bool:
        """Whether whoever is logged in may correct rows of this table."""
        return request.user.has_perm(f"perma_payments.{self.permission}") and self.has_view_permission(request)

    def correct(self, request: HttpRequest, pk: int) -> HttpResponse:
        """Ask for the correction and its reason; show what Perma.cc would be told; do it.

        What was shown is what is done: it is confirmed in a form that has no more to fill in.
        """
        if not self.may_correct(request):
            raise PermissionDenied
        subject = self.model._default_manager.filter(pk=pk).first()
        if subject is None:
            raise Http404
        form = self.asks(request.POST) if request.method == "POST" else self.asks(initial=self.as_it_is(subject))
        context: dict[str, Any] = {}
        if form.is_valid() and "edit" not in request.POST:
            assert isinstance(request.user, User)  # nobody else has a permission
            correction = partial(self.apply, pk, form.cleaned_data, request.user)
            try:
                context = self._outlook(subject, form, correction)
                if "confirm" in request.POST and request.POST.get("looked_at") == context["looked_at"]:
                    correction()
                    messages.success(request, "Corrected.")
                    return HttpResponseRedirect(
                        reverse(f"admin:perma_payments_{self.opts.model_name}_change", args=[pk])
                    )
                if "confirm" in request.POST:
                    messages.warning(
                        request, "Not corrected yet: what follows from it has changed. Please look again."
                    )
            except corrections.CannotCorrect as problem:
                form.add_error(None, f"Not corrected: {problem}")
            except OperationalError as error:
                if not is_locked(error):
                    raise
                form.add_error(None, "Not corrected: someone else is at it. Please try again in a minute.")
        return TemplateResponse(
            request,
            "perma_payments/admin/correct.html",
            {
                **self.admin_site.each_context(request),
                **context,
                "title": f"Correct {subject}",
                "opts": self.opts,
                "subject": subject,
                "form": form,
            },
        )

    def _outlook(self, subject: Any, form: ReasonForm, correction: Callable[[], None]) -> dict[str, Any]:
        """What is to be confirmed, and what Perma.cc and staff are told now and would be told then."""
        now = timezone.now()
        customer = self.customer_of(subject, form.cleaned_data)
        response = subject if isinstance(subject, Response) else None
        told = _in_words(corrections.told_of(customer, response, now=now))
        then = _in_words(corrections.told_after(correction, customer, response, now=now))
        outlook = [(name, told[name], then[name]) for name in told]
        answers = [(field.label, _answer(field)) for field in form.visible_fields()]
        return {
            "answers": answers,
            "customer": customer,
            "outlook": outlook,
            # Only what was looked at is confirmed.
            "looked_at": hashlib.sha256(repr((answers, outlook)).encode()).hexdigest(),
        }

    def as_it_is(self, subject: Any) -> dict[str, Any]:
        """What the form shows first."""
        raise NotImplementedError

    def customer_of(self, subject: Any, data: dict[str, Any]) -> Customer:
        """Of whom Perma.cc would be told something else. Raises CannotCorrect."""
        customer: Customer = subject.customer
        return customer

    def apply(self, pk: int, data: dict[str, Any], by: User) -> None:
        """Do it. Raises CannotCorrect."""
        raise NotImplementedError


class CorrectableAgreement(Correctable, SubscriptionAgreementAdmin):
    """Subscriptions: status and date."""

    permission = "correct_agreement"
    asks = AgreementForm

    def as_it_is(self, subject: SubscriptionAgreement) -> dict[str, Any]:
        """See Correctable."""
        checkout = subject.transactions.filter(kind=Kind.SUBSCRIBE).first()
        covered_until = (
            subject.covered_until.date()
            if subject.covered_until
            # What the checkout would have paid for.
            else (checkout and checkout.recurring_start_date)
        )
        return {"status": subject.status, "covered_until": covered_until, "seen": subject.updated_at.isoformat()}

    def apply(self, pk: int, data: dict[str, Any], by: User) -> None:
        """See Correctable."""
        corrections.correct_agreement(
            pk,
            Status(data["status"]),
            data["covered_until"] and midnight(data["covered_until"]),
            seen=data["seen"],
            by=by,
            reason=data["reason"],
            now=timezone.now(),
        )


class CorrectablePurchase(Correctable, PurchaseAdmin):
    """Purchases: credited or not."""

    permission = "correct_purchase"
    asks = PurchaseForm

    def can_be_corrected(self, subject: Purchase) -> bool:
        """See Correctable."""
        return subject.status == PurchaseStatus.PAID

    def as_it_is(self, subject: Purchase) -> dict[str, Any]:
        """See Correctable."""
        return {"credited": "no" if subject.acknowledged_at else "yes", "seen": subject.updated_at.isoformat()}

    def apply(self, pk: int, data: dict[str, Any], by: User) -> None:
        """See Correctable."""
        corrections.correct_purchase(
            pk,
            credited=data["credited"] == "yes",
            seen=data["seen"],
            by=by,
            reason=data["reason"],
            now=timezone.now(),
        )


class CorrectableResponse(Correctable, ResponseAdmin):
    """Responses: which transaction one belongs to."""

    permission = "correct_response"
    asks = ResponseForm

    def can_be_corrected(self, subject: Response) -> bool:
        """See Correctable."""
        return subject.outcome == Outcome.UNMATCHED

    def as_it_is(self, subject: Response) -> dict[str, Any]:
        """See Correctable."""
        return {"transaction_uuid": subject.transaction_uuid}

    def customer_of(self, subject: Response, data: dict[str, Any]) -> Customer:
        """See Correctable: whose transaction it would be linked to."""
        return corrections.transaction_with(data["transaction_uuid"]).customer

    def apply(self, pk: int, data: dict[str, Any], by: User) -> None:
        """See Correctable."""
        corrections.match_response(pk, data["transaction_uuid"], by=by, reason=data["reason"], now=timezone.now())


def _in_words(told: corrections.Told) -> dict[str, str]:
    """What Perma.cc is told, by names that are always the same."""
    subscription = told.subscription
    links = ", ".join(f"{purchase.link_quantity} (purchase {purchase.id})" for purchase in told.purchases)
    return {
        "Subscription": subscription.reference_number if subscription else "none",
        "Status": subscription.status if subscription else "–",
        "Rate": f"${subscription.rate:,.2f} {subscription.frequency}" if subscription else "–",
        "Link limit": subscription.link_limit if subscription else "–",
        "Paid through": f"{subscription.paid_through.astimezone(UTC):%Y-%m-%d %H:%M} UTC" if subscription else "–",
        "Links to be credited": links or "none",
        "Open tasks for staff": "; ".join(told.tasks) or "none",
    }


def _answer(field: forms.BoundField) -> str:
    """What was filled in, as it was shown."""
    value = str(field.value() or "none")
    offered: Any = field.field.choices if isinstance(field.field, forms.ChoiceField) else []
    return str(dict(offered).get(value, value))
