"""``/subscribe/``: a customer chose a plan."""

from django.http import HttpRequest, HttpResponse
from django.utils import timezone

from ..perma.messages import SubscribeMessage
from ..services.checkouts.subscribe import AlreadySubscribed, subscribe as begin_subscription
from . import pages
from .incoming import carried_by_browser, open_message


@carried_by_browser(get=pages.nothing_here)
def subscribe(request: HttpRequest) -> HttpResponse:
    """Answer with the page that takes the customer to CyberSource."""
    message, opened = open_message(request, SubscribeMessage)
    try:
        form = begin_subscription(message, nonce=opened.nonce, now=timezone.now())
    except AlreadySubscribed:
        return pages.already_subscribed(request)
    return pages.checkout(request, form)
