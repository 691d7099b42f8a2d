"""Freezes of checkouts: the list of them, and the switch."""

from typing import Any

from django import forms
from django.conf import settings
from django.contrib import admin, messages
from django.contrib.auth.models import User
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.template.response import TemplateResponse
from django.urls import URLPattern, path, reverse
from django.utils import timezone

from ..models import CheckoutFreeze
from ..services.freeze import AlreadyFrozen, NotFrozen, begin_freeze, end_freeze
from .base import ReadOnlyAdmin
from .columns import moment
from .corrections import ReasonForm


class SwitchForm(ReasonForm):
    """``ends`` is the freeze that the page offered to end; without one, it offered to begin one."""

    ends = forms.IntegerField(required=False, widget=forms.HiddenInput)


@admin.register(CheckoutFreeze)
class CheckoutFreezeAdmin(ReadOnlyAdmin):
    list_display = (
        moment("began_at", "began"),
        "reason",
        moment("ended_at", "ended"),
        "began_by",
        "ended_by",
        "end_reason",
    )
    csv_columns = ("began_at", "began_by", "reason", "ended_at", "ended_by", "end_reason")
    list_select_related = ("began_by", "ended_by")
    ordering = ("-began_at",)
    change_list_template = "perma_payments/admin/freezes.html"
    change_form_template = "perma_payments/admin/record.html"

    def get_urls(self) -> list[URLPattern]:
        view = self.admin_site.admin_view(self.switch)
        return [path("switch/", view, name="perma_payments_checkoutfreeze_switch"), *super().get_urls()]

    def changelist_view(self, request: HttpRequest, extra_context: dict[str, Any] | None = None) -> HttpResponse:
        """The list, with a link to the switch for those who may use it."""
        context = {"may_switch": _may_switch(request), "freeze": CheckoutFreeze.objects.in_force().first()}
        return super().changelist_view(request, {**(extra_context or {}), **context})

    def switch(self, request: HttpRequest) -> HttpResponse:
        """Freeze checkouts, or end the freeze that is in force."""
        if not _may_switch(request):
            raise PermissionDenied
        freeze = CheckoutFreeze.objects.in_force().select_related("began_by").first()
        form = SwitchForm(request.POST or None, initial={"ends": freeze and freeze.pk})
        if form.is_valid():
            _switch(request, **form.cleaned_data)
            return HttpResponseRedirect(reverse("admin:perma_payments_checkoutfreeze_changelist"))
        context = {
            **self.admin_site.each_context(request),
            "title": "Resume checkouts" if freeze else "Freeze checkouts",
            "opts": self.opts,
            "freeze": freeze,
            "form": form,
            "frozen_by_setting": settings.CHECKOUTS_FROZEN,
            "developer_emails": settings.DEVELOPER_EMAILS,
        }
        return TemplateResponse(request, "perma_payments/admin/freeze.html", context)


def _may_switch(request: HttpRequest) -> bool:
    permissions = ("perma_payments.view_checkoutfreeze", "perma_payments.freeze_checkouts")
    return all(request.user.has_perm(permission) for permission in permissions)


def _switch(request: HttpRequest, *, reason: str, ends: int | None) -> None:
    """Do what the page offered, and say what came of it."""
    assert isinstance(request.user, User)  # anonymous users have no permissions
    now = timezone.now()
    try:
        if ends is None:
            begin_freeze(by=request.user, reason=reason, now=now)
            messages.success(request, "Checkouts are frozen. Customers see that payments are paused.")
            return
        end_freeze(ends, by=request.user, reason=reason, now=now)
    except AlreadyFrozen:
        messages.warning(request, "Nothing was changed: someone else had already frozen checkouts.")
    except NotFrozen:
        messages.warning(request, "Nothing was changed: someone else had already ended this freeze.")
    else:
        if settings.CHECKOUTS_FROZEN:
            messages.warning(
                request, "This freeze has ended, but checkouts stay frozen by the setting CHECKOUTS_FROZEN."
            )
        else:
            messages.success(request, "Checkouts have resumed. Customers can pay again.")
