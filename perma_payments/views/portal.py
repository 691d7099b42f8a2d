"""The portal: what the customer in front of the browser can see of a subscription and payments, and do about them.

``/update/`` (where UPDATE_LEADS_TO says so) and ``/billing/`` lead here with a token (tokens.py). Opening a page
begins nothing, so pages can be reloaded, and opened twice. Each action is a POST with a token of its own, which
counts once, and with Django's protection against forgery.
"""

from collections.abc import Callable
from functools import wraps
from urllib.parse import urlencode
from uuid import UUID

from django.conf import settings
from django.http import HttpRequest, HttpResponse
from django.middleware.csrf import get_token
from django.urls import reverse
from django.utils import timezone

from ..billing.customers import Customer
from ..billing.transactions import Kind
from ..perma.messages import UpdateMessage
from ..perma.returns import Ending, address
from ..services.cancellation import TooLateToKeep, request_cancellation, take_cancellation_back
from ..services.checkouts import begin
from ..services.checkouts.modifiable import NothingToModify
from ..services.checkouts.used_messages import MessageUsedUp
from ..services.portal import PortalSubscription, payment_of, payments_of, pending_subscription, subscription_of
from . import pages, tokens
from .limits import count_page_view, count_refusal, stop_flood
from .refusals import record_refusal
from .tokens import Purpose, Token, TokenRefused

TokenView = Callable[[HttpRequest, Token], HttpResponse]
View = Callable[[HttpRequest], HttpResponse]


def lead_to_portal(customer: Customer, purpose: Purpose) -> HttpResponse:
    """Answer the message that opens the portal."""
    return _see_portal(tokens.begin(customer, purpose, now=timezone.now()))


def _portal_view(method: str, *purposes: Purpose) -> Callable[[TokenView], View]:
    """Make a view a page (GET) or an action (POST) of the portal, for tokens with one of these purposes."""
    allowed = ["GET", "HEAD"] if method == "GET" else [method]

    def decorate(view: TokenView) -> View:
        @wraps(view)
        def route(request: HttpRequest) -> HttpResponse:
            if request.method not in allowed:
                return pages.method_not_allowed(request, allowed)
            if method == "GET":
                count_page_view(request)
            else:
                stop_flood(request)
            text = (request.POST if method == "POST" else request.GET).get("token", "")
            try:
                token = tokens.read(text, *purposes, now=timezone.now())
            except TokenRefused as refusal:
                record_refusal(request, refusal)
                count_refusal(request)
                return pages.portal_expired(request)
            try:
                return view(request, token)
            except NothingToModify:
                return pages.nothing_to_modify(request)
            except begin.CheckoutsFrozen:
                return pages.frozen(request)
            except MessageUsedUp as refusal:
                record_refusal(request, refusal)
                count_refusal(request)
                return pages.portal_used_up(request, portal_url=_portal_url(token.sign(Purpose.MANAGE)))

        return route

    return decorate


# --- Pages ------------------------------------------------------------------------------------------


@_portal_view("GET", Purpose.MANAGE, Purpose.BILLING)
def portal(request: HttpRequest, token: Token) -> HttpResponse:
    """The subscription, what can be done about it, and the payments so far."""
    now = timezone.now()
    subscription = subscription_of(token.customer, now=now)
    notice = _notice(request.GET.get("done", ""), subscription)
    return pages.portal(
        request,
        subscription=subscription,
        pending=None if subscription else pending_subscription(token.customer, now=now),
        payments=payments_of(token.customer),
        may_manage=token.purpose is Purpose.MANAGE,
        notice=notice,
        way_back=address(settings.PERMA_RETURN_PAGE, Kind.UPDATE, Ending.SUCCESS) if notice else None,
        **_tokens(request, token, Purpose.UPDATE_CARD, Purpose.KEEP),
    )


@_portal_view("GET", Purpose.MANAGE)
def cancel_page(request: HttpRequest, token: Token) -> HttpResponse:
    """What canceling means, and the button that confirms it."""
    subscription = subscription_of(token.customer, now=timezone.now())
    if subscription is None or not subscription.can_cancel:
        return _see_portal(token.sign(Purpose.MANAGE))
    return pages.portal_cancel(request, subscription=subscription, **_tokens(request, token, Purpose.CANCEL))


@_portal_view("GET", Purpose.MANAGE, Purpose.BILLING)
def receipt(request: HttpRequest, token: Token) -> HttpResponse:
    """A receipt for one payment, to print."""
    try:
        payment = payment_of(token.customer, UUID(request.GET.get("payment", "")))
    except ValueError:
        payment = None
    if payment is None or payment.is_held:
        return pages.not_found(request)
    return pages.portal_receipt(request, payment=payment, customer=token.customer, **_tokens(request, token))


# --- Actions ----------------------------------------------------------------------------------------


@_portal_view("POST", Purpose.UPDATE_CARD)
def update_card(request: HttpRequest, token: Token) -> HttpResponse:
    """On to CyberSource's page, where the card is replaced."""
    message = UpdateMessage(customer=token.customer)
    return pages.card_update(request, begin.update(message, nonce=token.nonce, now=timezone.now()))


@_portal_view("POST", Purpose.CANCEL)
def cancel(request: HttpRequest, token: Token) -> HttpResponse:
    """Request the cancellation that the customer has confirmed."""
    request_cancellation(token.customer, nonce=token.nonce, now=timezone.now())
    return _see_portal(token.sign(Purpose.MANAGE), done=token.purpose)


@_portal_view("POST", Purpose.KEEP)
def keep(request: HttpRequest, token: Token) -> HttpResponse:
    """Take a requested cancellation back."""
    try:
        take_cancellation_back(token.customer, nonce=token.nonce, now=timezone.now())
    except TooLateToKeep:
        return pages.too_late_to_keep(request)
    return _see_portal(token.sign(Purpose.MANAGE), done=token.purpose)


def _notice(done: str, subscription: PortalSubscription | None) -> str:
    """Say what was just done, as the page's address claims, if that is how things are."""
    is_canceling = subscription is not None and subscription.is_canceling
    match done:
        case Purpose.CANCEL if is_canceling:
            return "We have received your request to cancel."
        case Purpose.KEEP if subscription is not None and subscription.can_cancel:
            return "Your subscription continues. Your request to cancel it has been withdrawn."
        case _:
            return ""


def _tokens(request: HttpRequest, token: Token, *purposes: Purpose) -> dict[str, str]:
    """For a template: what its links and forms have to carry. Only who may manage gets tokens for actions."""
    context = {"token": token.sign(token.purpose)}
    if token.purpose is Purpose.MANAGE and purposes:
        context["csrf_token"] = get_token(request)
        context |= {f"{purpose.name.lower()}_token": token.sign(purpose) for purpose in purposes}
    return context


def _see_portal(token: str, **query: str) -> HttpResponse:
    return pages.see_other(_portal_url(token, **query))


def _portal_url(token: str, **query: str) -> str:
    return f"{reverse('portal')}?{urlencode({'token': token, **query})}"
