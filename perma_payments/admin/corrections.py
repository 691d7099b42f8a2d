"""Corrections by hand: a form that asks for a reason, then a preview of what Perma.cc and staff will see."""

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from typing import Any

from django import forms
from django.contrib import messages
from django.contrib.admin import ModelAdmin
from django.contrib.auth.models import User
from django.core.exceptions import PermissionDenied
from django.db import OperationalError
from django.db.models import Model
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.shortcuts import get_object_or_404
from django.template.response import TemplateResponse
from django.urls import URLPattern, path, reverse
from django.utils import timezone

from ..billing.customers import Customer
from ..models import Response
from ..perma.replies import Subscription
from ..postgres.problems import is_locked
from ..services.corrections import CannotCorrect, Snapshot, snapshot_after, snapshot_of


class ReasonForm(forms.Form):
    """What every correction asks for. Its other fields are arguments of Correction.apply."""

    reason = forms.CharField(
        max_length=1000,
        widget=forms.Textarea(attrs={"rows": 3, "cols": 60}),
        help_text="Who asked for it, and why? The history keeps this, so please don't include personal data.",
    )


class RowForm(ReasonForm):
    """For a row that someone else may change meanwhile: ``seen`` is its updated_at when the form was opened."""

    seen = forms.CharField(widget=forms.HiddenInput)

    def clean_seen(self) -> datetime:
        try:
            return datetime.fromisoformat(self.cleaned_data["seen"])
        except ValueError:
            raise forms.ValidationError("Please start over.") from None


@dataclass(frozen=True)
class Correction:
    """What staff may correct in a model's rows, on the page ``…/<pk>/correct/``."""

    permission: str
    form: type[ReasonForm]
    # The form's values as they are on record.
    current: Callable[[Any], dict[str, Any]]
    # Called with the row's pk, the form's data, ``by`` and ``now``. May raise CannotCorrect.
    apply: Callable[..., object]
    is_possible: Callable[[Any], bool] = lambda row: True
    label: str = "Correct"
    # What a person calls the row.
    title_of: Callable[[Any], str] = str
    # The row whose page shows what was corrected.
    shown_by: Callable[[Any], Model] = lambda row: row
    # The customer for whom Perma.cc will see something else. May raise CannotCorrect.
    customer_of: Callable[[Any, dict[str, Any]], Customer] = lambda row, data: row.customer

    def path(self, model_admin: "ModelAdmin[Any]") -> URLPattern:
        name = f"perma_payments_{model_admin.opts.model_name}_correct"
        view = model_admin.admin_site.admin_view(partial(correct_view, self, model_admin))
        return path("<int:pk>/correct/", view, name=name)

    def may_correct(self, model_admin: "ModelAdmin[Any]", request: HttpRequest) -> bool:
        is_permitted = request.user.has_perm(f"perma_payments.{self.permission}")
        return is_permitted and model_admin.has_view_permission(request)


def correct_view(
    correction: Correction, model_admin: "ModelAdmin[Any]", request: HttpRequest, pk: int
) -> HttpResponse:
    """Ask for the values and a reason; preview the effects; apply the correction.

    The preview's form is filled in and hidden, so what is confirmed is what was previewed.
    """
    if not correction.may_correct(model_admin, request):
        raise PermissionDenied
    row: Any = get_object_or_404(model_admin.model, pk=pk)
    if request.method == "POST":
        form = correction.form(request.POST)
    else:
        # A link may fill in what it knows.
        given = {name: value for name, value in request.GET.items() if name in correction.form.base_fields}
        form = correction.form(initial={**correction.current(row), **given})
        if "seen" in form.fields:
            form.initial["seen"] = row.updated_at.isoformat()
    preview: dict[str, Any] = {}
    if form.is_valid() and "edit" not in request.POST:
        assert isinstance(request.user, User)  # anonymous users have no permissions
        now = timezone.now()
        apply = partial(correction.apply, pk, **form.cleaned_data, by=request.user, now=now)
        try:
            preview = _preview(correction, row, form, apply, now)
            if "confirm" in request.POST and request.POST.get("previewed") == preview["digest"]:
                apply()
                messages.success(request, "Corrected.")
                shown_by = correction.shown_by(row)
                name = f"perma_payments_{shown_by._meta.model_name}_change"
                return HttpResponseRedirect(reverse(f"admin:{name}", args=[shown_by.pk]))
            if "confirm" in request.POST:
                messages.warning(request, "Not corrected yet: the effects have changed. Please check them again.")
        except CannotCorrect as problem:
            form.add_error(None, f"Not corrected: {problem}")
        except OperationalError as error:
            if not is_locked(error):
                raise
            form.add_error(None, "Not corrected: someone else is changing it. Please try again in a minute.")
    row_title = correction.title_of(row)
    context = {
        **model_admin.admin_site.each_context(request),
        "title": f"{correction.label}: {row_title}",
        "label": correction.label,
        "opts": model_admin.opts,
        "row_title": row_title,
        "form": form,
        "preview": preview,
    }
    return TemplateResponse(request, "perma_payments/admin/correct.html", context)


def _preview(
    correction: Correction, row: Any, form: ReasonForm, apply: Callable[[], object], now: datetime
) -> dict[str, Any]:
    """The values to confirm, and what Perma.cc and staff see now and will see then."""
    customer = correction.customer_of(row, form.cleaned_data)
    response = row if isinstance(row, Response) else None
    before = _readable(snapshot_of(customer, response, now=now))
    after = _readable(snapshot_after(apply, customer, response, now=now))
    entered = [(field.label, _value(field)) for field in form.visible_fields() if field.name != "pasted"]
    effects = [(name, before[name], after[name]) for name in before]
    return {
        "customer": customer,
        "entered": entered,
        "effects": effects,
        "digest": hashlib.sha256(repr((entered, effects)).encode()).hexdigest(),
    }


def _readable(snapshot: Snapshot) -> dict[str, str]:
    """The same names for any snapshot, with values as text."""
    subscription = snapshot.subscription
    links = ", ".join(f"{purchase.link_quantity} (purchase {purchase.id})" for purchase in snapshot.purchases)
    return {
        "Subscription": subscription.reference_number if subscription else "none",
        "Status": subscription.status if subscription else "–",
        "Rate": f"${subscription.rate:,.2f} {subscription.frequency}" if subscription else "–",
        "Link limit": subscription.link_limit if subscription else "–",
        "Change scheduled": _pending_change(subscription),
        "Paid through": f"{subscription.paid_through.astimezone(UTC):%Y-%m-%d %H:%M} UTC" if subscription else "–",
        "Links to be credited": links or "none",
        "Open tasks for staff": "; ".join(snapshot.tasks) or "none",
    }


def _pending_change(subscription: Subscription | None) -> str:
    """A change that is scheduled: its rate and link limit are those told above."""
    pending = subscription and subscription.pending_change
    return f"from {pending.effective.astimezone(UTC):%Y-%m-%d %H:%M} UTC" if pending else "none"


def _value(field: forms.BoundField) -> str:
    """What was entered, as the form showed it."""
    value = str(field.value() or "none")
    choices: Any = field.field.choices if isinstance(field.field, forms.ChoiceField) else []
    return str(dict(choices).get(value, value))
