"""The pages that people see, apart from the admin. Each says what happened, and what to do now."""

from collections.abc import Sequence
from typing import Any

from django.conf import settings
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.middleware.csrf import REASON_BAD_ORIGIN, REASON_NO_CSRF_COOKIE, get_token
from django.shortcuts import render
from django.urls import reverse
from django.views.decorators.csrf import csrf_exempt

from ..cybersource.checkout import SignedForm
from ..request_log import note
from ..unsent import unsent_of
from .limits import count_page_view
from .tokens import LIFETIME


@csrf_exempt
def index(request: HttpRequest) -> HttpResponse:
    """``/``: what this site is. It needs no database."""
    if request.method not in ("GET", "HEAD"):
        return method_not_allowed(request, ["GET", "HEAD"])
    count_page_view(request)
    return _page(request, "index.html")


def checkout(request: HttpRequest, form: SignedForm) -> HttpResponse:
    """The page whose form submits itself to CyberSource."""
    return _page(request, "checkout.html", form=form)


def card_update(request: HttpRequest, form: SignedForm) -> HttpResponse:
    """The same, where nothing is paid: the card or the address is replaced."""
    return _page(request, "card_update.html", form=form)


def portal(request: HttpRequest, **context: Any) -> HttpResponse:
    """The customer's subscription and payments."""
    return _page(request, "portal.html", **context)


def portal_cancel(request: HttpRequest, **context: Any) -> HttpResponse:
    """What canceling means, to be confirmed."""
    return _page(request, "portal_cancel.html", **context)


def portal_receipt(request: HttpRequest, **context: Any) -> HttpResponse:
    """A receipt for one payment."""
    return _page(request, "portal_receipt.html", **context)


def portal_expired(request: HttpRequest) -> HttpResponse:
    """The portal was open for too long, or its address was damaged."""
    return _page(request, "portal_expired.html", status=400, minutes=LIFETIME.seconds // 60)


def portal_used_up(request: HttpRequest, *, portal_url: str) -> HttpResponse:
    """A button of the portal was used before, and what it began has ended."""
    return _page(request, "portal_used_up.html", status=400, portal_url=portal_url)


def too_late_to_keep(request: HttpRequest) -> HttpResponse:
    """The customer wants to keep a subscription that staff have canceled already."""
    return _page(request, "too_late_to_keep.html")


def nothing_to_modify(request: HttpRequest) -> HttpResponse:
    """The customer has no subscription that could be changed, updated or canceled."""
    return _page(request, "nothing_to_modify.html")


def already_subscribed(request: HttpRequest) -> HttpResponse:
    """The customer has a subscription already."""
    return _page(request, "already_subscribed.html")


def frozen(request: HttpRequest) -> HttpResponse:
    """Checkouts are frozen. Why is not for customers."""
    return _page(request, "frozen.html")


def not_opened_directly(request: HttpRequest) -> HttpResponse:
    """A page that only a form of Perma.cc's leads to was reloaded or bookmarked."""
    return _page(request, "not_opened_directly.html")


def expired(request: HttpRequest, *, not_charged: bool = False) -> HttpResponse:
    """The page that the message came from is too old, or its message is used up.

    ``not_charged`` says that it was used for a payment that was declined or given up.
    """
    return _page(request, "expired.html", status=400, not_charged=not_charged)


def out_of_date(request: HttpRequest) -> HttpResponse:
    """A page of Perma.cc's asked for an impossible amount or date."""
    return _page(request, "out_of_date.html", status=400)


def refused(request: HttpRequest, exception: Exception | None = None) -> HttpResponse:
    """Not a message of Perma.cc's, or not one for this route. Also Django's handler for 400."""
    return _page(request, "refused.html", status=400)


def method_not_allowed(request: HttpRequest, allowed: Sequence[str]) -> HttpResponse:
    """The route does not allow the request's method."""
    response = _page(request, "not_opened_directly.html", status=405)
    response["Allow"] = ", ".join(allowed)
    return response


def forbidden(request: HttpRequest, exception: Exception | None = None) -> HttpResponse:
    """Django's handler for 403."""
    return _page(request, "forbidden.html", status=403)


def csrf_failed(request: HttpRequest, reason: str = "") -> HttpResponse:
    """Django's view for forms that may be forged: the portal's and the admin's. Django logs the reason."""
    if request.path.startswith(reverse("portal")):
        return _page(request, "portal_csrf_failed.html", status=403)
    if reason == REASON_NO_CSRF_COOKIE:
        why = "cookie"
    elif reason.startswith(REASON_BAD_ORIGIN.partition("%s")[0]):
        why = "origin"
    else:
        why = "old"
    # Django has checked the origin before the token: the form is known to come from a page of ours.
    comes_from_us = why == "old" and "Origin" in request.headers
    return _page(
        request,
        "csrf_failed.html",
        status=403,
        why=why,
        unsent=unsent_of(request) if comes_from_us else None,
        csrf_token=get_token(request),
        developer_emails=settings.DEVELOPER_EMAILS,
        staff_url=f"{settings.PAYMENTS_URL}/{settings.ADMIN_URL}",
    )


def not_found(request: HttpRequest, exception: Exception | None = None) -> HttpResponse:
    """Django's handler for 404."""
    return _page(request, "not_found.html", status=404)


def server_error(request: HttpRequest) -> HttpResponse:
    """Django's handler for 500."""
    return _page(request, "trouble.html", status=500)


def unavailable(request: HttpRequest) -> HttpResponse:
    """The database is unavailable."""
    canceling = request.path in (reverse("cancel_request"), reverse("portal_cancel"), reverse("portal_keep"))
    response = _page(request, "trouble.html", status=503, canceling=canceling)
    response["Retry-After"] = "30"
    return response


def too_many(request: HttpRequest, *, seconds: int) -> HttpResponse:
    """Too many requests came from the address of this one."""
    response = _page(request, "too_many.html", status=429)
    response["Retry-After"] = str(seconds)
    return response


class _SeeOther(HttpResponseRedirect):
    status_code = 303


def see_other(url: str) -> HttpResponse:
    """Tell a browser to continue with a GET, whatever method it used."""
    return _SeeOther(url, headers={"Cache-Control": "no-store"})


def _page(request: HttpRequest, template: str, *, status: int = 200, **context: Any) -> HttpResponse:
    context |= {"perma_url": settings.PERMA_RETURN_PAGE, "contact_email": settings.CONTACT_EMAIL}
    # Without the request, so that no context processor touches the session or the database.
    response = render(None, f"perma_payments/{template}", context, status=status)
    response["Cache-Control"] = "no-store"
    note(template.removesuffix(".html"))
    return response
