"""``/subscription/``: Perma.cc asks for a customer's status."""

from django.http import HttpRequest, HttpResponse
from django.utils import timezone

from ..perma import replies
from ..perma.messages import SubscriptionMessage
from ..services.perma_queries import offered_purchases, standing_subscription
from .incoming import from_perma_servers, open_message, sealed


@from_perma_servers
def subscription(request: HttpRequest) -> HttpResponse:
    """Answer with the customer's standing subscription and the purchase to credit next, sealed."""
    message, opened = open_message(request, SubscriptionMessage)
    now = timezone.now()
    reply = replies.subscription_status(
        message.customer,
        subscription=standing_subscription(message.customer, now=now),
        purchases=offered_purchases(message.customer),
        now=now,
    )
    return sealed(reply, opened)
