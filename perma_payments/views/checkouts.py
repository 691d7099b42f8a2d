"""The routes to which a customer's browser brings a message from Perma.cc.

``/subscribe/``, ``/purchase/``, ``/change/`` and ``/update/`` answer with the page that takes the customer to
CyberSource, ``/cancel-request/`` with the way back to Perma.cc.
"""

from django.conf import settings
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.utils import timezone

from ..perma.messages import CancelRequestMessage, ChangeMessage, PurchaseMessage, SubscribeMessage, UpdateMessage
from ..services.cancellation import request_cancellation
from ..services.checkouts import begin
from . import pages
from .incoming import carried_by_browser, open_message


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
    """A customer wants to replace the card or the billing address."""
    message, opened = open_message(request, UpdateMessage)
    return pages.card_update(request, begin.update(message, nonce=opened.nonce, now=timezone.now()))


@carried_by_browser()
def cancel_request(request: HttpRequest) -> HttpResponse:
    """A customer wants the subscription to end. Perma.cc will show that the request is on record."""
    message, opened = open_message(request, CancelRequestMessage)
    request_cancellation(message, nonce=opened.nonce, now=timezone.now())
    return HttpResponseRedirect(settings.PERMA_SUBSCRIPTION_PAGE)
