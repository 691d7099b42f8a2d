"""Setting up a second factor: a superuser invites, the invited person does the rest.

1. On the user's page in the admin, a superuser chooses *Second factor*, gives a reason, and gets a link. This ends
   whatever second factor there was.
2. The link asks for the account's password, then shows a QR code, and asks for a code of the app.
3. Recovery codes are shown, once. The person is logged in.
"""

import logging
from typing import Any
from urllib.parse import urlencode

import django_otp
import segno
from django import forms
from django.conf import settings
from django.contrib.admin import AdminSite
from django.contrib.admin.models import CHANGE, LogEntry
from django.contrib.auth import login
from django.contrib.auth.models import User
from django.core.exceptions import NON_FIELD_ERRORS, PermissionDenied
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.shortcuts import get_object_or_404
from django.template.response import TemplateResponse
from django.urls import reverse
from django.utils import timezone
from django.utils.cache import add_never_cache_headers
from django.utils.safestring import mark_safe

from ..corrections import ReasonForm
from . import second_factors
from .form import CodeField, PasswordForm

logger = logging.getLogger(__name__)


class CodeForm(forms.Form):
    code = CodeField(help_text="The six digits that the app shows now.")


def invite(site: AdminSite, request: HttpRequest, pk: int) -> HttpResponse:
    """Ask a superuser for a reason, and show the link of an invitation once."""
    if not (request.user.is_superuser and isinstance(request.user, User)):
        raise PermissionDenied
    user = get_object_or_404(User, pk=pk)
    form = ReasonForm(request.POST) if request.method == "POST" else ReasonForm()
    context: dict[str, Any] = {"invitee": user, "form": form, "has_one": second_factors.has_one(user)}
    if user.is_active and user.is_staff and form.is_valid():
        now = timezone.now()
        token = second_factors.invite(user, now=now)
        _record(user, by=request.user, what=f"Invited to set up a second factor: {form.cleaned_data['reason']}")
        context["link"] = f"{settings.PAYMENTS_URL}{reverse('admin:enroll')}?{urlencode({'invitation': token})}"
        context["ends"] = now + second_factors.INVITATION_LASTS
    return _page(site, request, "invite", f"Second factor of {user}", **context)


def enroll(site: AdminSite, request: HttpRequest) -> HttpResponse:
    """What the link of an invitation leads to."""
    app = second_factors.invited(request.GET.get("invitation", ""), now=timezone.now())
    if app is None:
        return _page(site, request, "invitation_over", "This link no longer works", status=400)
    if request.user != app.user:
        return _ask_for_password(site, request, app.user)
    form = CodeForm(request.POST) if request.method == "POST" else CodeForm()
    if form.is_valid():
        codes = second_factors.confirm(app, form.cleaned_data["code"])
        if codes is not None:
            _record(app.user, by=app.user, what="Set up a second factor.")
            request.session.cycle_key()
            django_otp.login(request, app)
            shown = [second_factors.grouped(code) for code in codes]
            return _page(site, request, "recovery_codes", "Keep your recovery codes", codes=shown)
        form.add_error(
            "code", "That isn't the code that the app shows now. Wait for the next one, then try again."
        )
    # Without inline styles, which our policy forbids.
    picture = segno.make_qr(app.config_url).svg_inline(scale=5, light="#fff", svgclass=None, lineclass=None)
    return _page(
        site,
        request,
        "enroll",
        "Set up your second factor",
        form=form,
        picture=mark_safe(picture),
        secret=second_factors.secret_of(app),
    )


def _ask_for_password(site: AdminSite, request: HttpRequest, user: User) -> HttpResponse:
    form = PasswordForm(request, user, data=request.POST if request.method == "POST" else None)
    if form.is_valid():
        login(request, user)
        return HttpResponseRedirect(request.get_full_path())
    is_over = form.has_error(NON_FIELD_ERRORS, "too_many_attempts")
    response = _page(
        site,
        request,
        "login",
        "Set up your second factor",
        status=429 if is_over else 200,
        form=form,
        app_path=request.get_full_path(),
        is_invited=True,
    )
    if is_over:
        response["Retry-After"] = "900"
    return response


def _record(user: User, *, by: User, what: str) -> None:
    """Add to the user's history in the admin."""
    LogEntry.objects.log_actions(by.pk, [user], CHANGE, what, single_object=True)
    logger.info("user %s, by user %s: second factor", user.pk, by.pk)


def _page(
    site: AdminSite, request: HttpRequest, template: str, title: str, *, status: int = 200, **context: Any
) -> HttpResponse:
    context |= {**site.each_context(request), "title": title}
    response = TemplateResponse(request, f"perma_payments/admin/{template}.html", context, status=status)
    add_never_cache_headers(response)
    return response
