"""What Perma.cc's servers call: ``/subscription/``, ``/purchase-history/``, ``/acknowledge-purchase/``."""

import logging
from functools import partial

from django.http import HttpRequest, HttpResponse, JsonResponse
from django.utils import timezone

from ..perma import replies
from ..perma.messages import AcknowledgePurchaseMessage, PurchaseHistoryMessage, SubscriptionMessage
from ..postgres.time_limits import time_limit
from ..request_log import note
from ..services import acknowledgement
from ..services.perma_queries import paid_purchases, status_of
from .incoming import client_is_waiting, from_perma_servers, open_message, sealed
from .refusals import record_refusal

logger = logging.getLogger(__name__)

# In seconds. The client waits for two; the rest is for the network.
ACKNOWLEDGEMENT_LIMIT = 1.7


@from_perma_servers
def subscription(request: HttpRequest) -> HttpResponse:
    """Answer with the customer's standing subscription and the purchase to credit next, sealed."""
    message, opened = open_message(request, SubscriptionMessage)
    now = timezone.now()
    status = status_of(message.customer, now=now)
    note(status.subscription.status if status.subscription else "none")
    reply = replies.subscription_status(
        message.customer, subscription=status.subscription, purchases=status.offered, now=now
    )
    return sealed(reply, opened)


@from_perma_servers
def purchase_history(request: HttpRequest) -> HttpResponse:
    """Answer with the customer's paid purchases, sealed."""
    message, opened = open_message(request, PurchaseHistoryMessage)
    purchases = paid_purchases(message.customer)
    return sealed(replies.purchase_history(message.customer, purchases=purchases, now=timezone.now()), opened)


@from_perma_servers
@time_limit(ACKNOWLEDGEMENT_LIMIT)
def acknowledge_purchase(request: HttpRequest) -> HttpResponse:
    """Answer 200 to the one acknowledgement that counts, in time, and 400 to any other."""
    message, _ = open_message(request, AcknowledgePurchaseMessage)
    is_awaited = partial(client_is_waiting, request)
    try:
        unanswered_id = acknowledgement.acknowledge_purchase(
            message.purchase_pk, is_awaited=is_awaited, now=timezone.now()
        )
    except acknowledgement.NotAcknowledgeable as refusal:
        record_refusal(request, refusal)
        return JsonResponse({"status": "refused"}, status=400)
    except acknowledgement.GaveUp as refusal:
        logger.warning("%s: not recorded, as the client no longer waits: %s", request.path, refusal)
        return JsonResponse({"status": "too late"}, status=503)
    if not is_awaited():
        logger.error("%s: recorded, but perhaps not answered: purchase %s", request.path, message.purchase_pk)
        return JsonResponse({"status": "too late"}, status=503)
    note("acknowledged")
    return Acknowledged(unanswered_id)


class Acknowledged(JsonResponse):
    """The 200 to the one acknowledgement that counts. Once it has left, nothing is in doubt anymore."""

    def __init__(self, unanswered_id: int) -> None:
        super().__init__({"status": "ok"})
        self._unanswered_id = unanswered_id

    def close(self) -> None:
        """Django's hook: the web server calls it when it has sent the response."""
        acknowledgement.confirm_answered(self._unanswered_id)
        super().close()
