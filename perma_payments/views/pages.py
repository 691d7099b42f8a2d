"""The pages that people see, apart from the admin. Each says what happened, and what to do now."""

from collections.abc import Sequence
from typing import Any

from django.conf import settings
from django.http import HttpRequest, HttpResponse
from django.middleware.csrf import REASON_BAD_ORIGIN, REASON_NO_CSRF_COOKIE
from django.shortcuts import render
from django.views.decorators.csrf import csrf_exempt

from ..cybersource.checkout import SignedForm


@csrf_exempt
def index(request: HttpRequest) -> HttpResponse:
    """``/``: what this site is. It needs no database."""
    if request.method not in ("GET", "HEAD"):
        return method_not_allowed(request, ["GET", "HEAD"])
    return _page(request, "index.html")


def checkout(request: HttpRequest, form: SignedForm) -> HttpResponse:
    """The page whose form submits itself to CyberSource."""
    return _page(request, "checkout.html", form=form)


def card_update(request: HttpRequest, form: SignedForm) -> HttpResponse:
    """The same, where nothing is paid: the card or the address is replaced."""
    return _page(request, "card_update.html", form=form)


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


def expired(request: HttpRequest) -> HttpResponse:
    """The page that the message came from is too old, or its message is used up."""
    return _page(request, "expired.html", status=400)


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
    """Django's view for forms that may be forged; only the admin has any. Django logs the reason."""
    if reason == REASON_NO_CSRF_COOKIE:
        why = "cookie"
    elif reason.startswith(REASON_BAD_ORIGIN.partition("%s")[0]):
        why = "origin"
    else:
        why = "old"
    return _page(
        request,
        "csrf_failed.html",
        status=403,
        why=why,
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
    response = _page(request, "trouble.html", status=503)
    response["Retry-After"] = "30"
    return response


def _page(request: HttpRequest, template: str, *, status: int = 200, **context: Any) -> HttpResponse:
    context |= {"perma_url": settings.PERMA_SUBSCRIPTION_PAGE, "contact_email": settings.CONTACT_EMAIL}
    # Without the request, so that no context processor touches the session or the database.
    response = render(None, f"perma_payments/{template}", context, status=status)
    response["Cache-Control"] = "no-store"
    return response
