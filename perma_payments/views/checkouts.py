"""The routes to which a customer's browser brings a message from Perma.cc.

``/subscribe/``, ``/purchase/``, ``/change/`` and ``/update/`` answer with the page that takes the customer to
CyberSource, ``/cancel-request/`` with the way back to Perma.cc. ``/billing/`` leads to the portal, and so does
``/update/`` for Perma.cc's client of 2026, which has no pages of its own for what the portal does.
"""

from django.conf import settings
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.utils import timezone

from ..perma.messages import (
    BillingMessage,
    CancelRequestMessage,
    ChangeMessage,
    PurchaseMessage,
    SubscribeMessage,
    UpdateMessage,
)
from ..services.cancellation import request_cancellation
from ..services.checkouts import begin
from . import pages
from .incoming import carried_by_browser, open_message
from .portal import lead_to_portal
from .tokens import Purpose


@carried_by_browser(get=pages.not_opened_directly)
def subscribe(request: HttpRequest) -> HttpResponse:
    """A customer chose a plan."""
    message, opened = open_message(request, SubscribeMessage)
    try:
        form = begin.subscribe(message, nonce=opened.nonce, now=timezone.now())
    except begin.AlreadySubscribed:
        return pages.already_subscribed(request)
    return pages.checkout(request, form)


@carried_by_browser(get=pages.not_opened_directly)
def purchase(request: HttpRequest) -> HttpResponse:
    """A customer chose a number of bonus links."""
    message, opened = open_message(request, PurchaseMessage)
    return pages.checkout(request, begin.purchase(message, nonce=opened.nonce, now=timezone.now()))


@carried_by_browser()
def change(request: HttpRequest) -> HttpResponse:
    """A customer chose another plan."""
    message, opened = open_message(request, ChangeMessage)
    return pages.checkout(request, begin.change(message, nonce=opened.nonce, now=timezone.now()))


@carried_by_browser()
def update(request: HttpRequest) -> HttpResponse:
    """A customer wants to replace the card (2024), or to do anything about the subscription (2026)."""
    message, opened = open_message(request, UpdateMessage)
    if settings.UPDATE_LEADS_TO == "page":
        return lead_to_portal(message.customer, Purpose.MANAGE)
    return pages.card_update(request, begin.update(message, nonce=opened.nonce, now=timezone.now()))


@carried_by_browser()
def billing(request: HttpRequest) -> HttpResponse:
    """A customer wants to see payments and receipts, perhaps without ever having paid."""
    message, _ = open_message(request, BillingMessage)
    return lead_to_portal(message.customer, Purpose.BILLING)


@carried_by_browser()
def cancel_request(request: HttpRequest) -> HttpResponse:
    """A customer wants the subscription to end. Perma.cc will show that the request is on record."""
    message, opened = open_message(request, CancelRequestMessage)
    request_cancellation(message.customer, nonce=opened.nonce, now=timezone.now())
    return HttpResponseRedirect(settings.PERMA_SUBSCRIPTION_PAGE)
