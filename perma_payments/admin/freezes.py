"""Freezes of checkouts: the list, and the switch."""

from typing import Any

from django import forms
from django.conf import settings
from django.contrib import admin, messages
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.template.response import TemplateResponse
from django.urls import URLPattern, path, reverse
from django.utils import timezone

from ..models import CheckoutFreeze
from ..services.freeze import NothingToSwitch, current_freeze, freeze_checkouts, resume_checkouts
from .base import ReadOnlyAdmin
from .columns import moment


class SwitchForm(forms.Form):
    action = forms.ChoiceField(choices=[("freeze", "freeze"), ("resume", "resume")], widget=forms.HiddenInput)
    reason = forms.CharField(
        max_length=1000,
        widget=forms.Textarea(attrs={"rows": 3, "cols": 60}),
        help_text="The history keeps this, so please don't include personal data. Customers don't see it.",
    )


@admin.register(CheckoutFreeze)
class CheckoutFreezeAdmin(ReadOnlyAdmin):
    list_display = (
        moment("began_at", "began"),
        "began_by",
        "reason",
        moment("ended_at", "ended"),
        "ended_by",
        "reason_to_end",
    )
    list_select_related = ("began_by", "ended_by")
    ordering = ("-began_at",)
    change_list_template = "perma_payments/admin/freezes.html"

    def get_urls(self) -> list[URLPattern]:
        switch = self.admin_site.admin_view(self.switch)
        return [path("switch/", switch, name="perma_payments_checkoutfreeze_switch"), *super().get_urls()]

    def changelist_view(self, request: HttpRequest, extra_context: dict[str, Any] | None = None) -> HttpResponse:
        """The list, with the switch for those who may use it."""
        context = {"may_switch": _may_switch(request), "freeze": current_freeze()}
        return super().changelist_view(request, {**(extra_context or {}), **context})

    def switch(self, request: HttpRequest) -> HttpResponse:
        """Freeze or resume, with a reason. The form says which, so a page that is out of date changes nothing."""
        if not _may_switch(request):
            raise PermissionDenied
        freeze = current_freeze()
        action = "resume" if freeze else "freeze"
        form = SwitchForm(request.POST) if request.method == "POST" else SwitchForm(initial={"action": action})
        if form.is_valid():
            self._switch(request, form)
            return HttpResponseRedirect(reverse("admin:perma_payments_checkoutfreeze_changelist"))
        context = {
            **self.admin_site.each_context(request),
            "title": "Resume checkouts" if freeze else "Freeze checkouts",
            "form": form,
            "freeze": freeze,
            "by_setting": settings.CHECKOUTS_FROZEN,
            "opts": self.opts,
        }
        return TemplateResponse(request, "perma_payments/admin/freeze.html", context)

    def _switch(self, request: HttpRequest, form: SwitchForm) -> None:
        is_freeze = form.cleaned_data["action"] == "freeze"
        service = freeze_checkouts if is_freeze else resume_checkouts
        try:
            service(
                by=request.user,  # type: ignore[arg-type]
                reason=form.cleaned_data["reason"],
                now=timezone.now(),
            )
        except NothingToSwitch:
            state = "frozen" if is_freeze else "resumed"
            messages.warning(request, f"Nothing was changed: checkouts had already been {state}.")
        else:
            messages.success(request, "Checkouts are frozen." if is_freeze else "Checkouts are resumed.")


def _may_switch(request: HttpRequest) -> bool:
    return request.user.has_perm("perma_payments.freeze_checkouts")
