"""``/purchase/``, ``/acknowledge-purchase/`` and ``/purchase-history/``: bonus links."""

import logging
from functools import partial

from django.http import HttpRequest, HttpResponse, JsonResponse
from django.utils import timezone

from ..perma import replies
from ..perma.messages import AcknowledgePurchaseMessage, PurchaseHistoryMessage, PurchaseMessage
from ..services.checkouts import purchase as purchases
from . import pages
from .incoming import carried_by_browser, client_is_waiting, from_perma_servers, open_message, sealed
from .middleware import time_limit

logger = logging.getLogger(__name__)


@carried_by_browser(get=pages.nothing_here)
def purchase(request: HttpRequest) -> HttpResponse:
    """Answer with the page that takes the customer to CyberSource."""
    message, opened = open_message(request, PurchaseMessage)
    return pages.checkout(request, purchases.purchase(message, nonce=opened.nonce, now=timezone.now()))


class Acknowledged(JsonResponse):
    """The 200 to the one acknowledgement that counts; once it has left, nothing is in doubt any more."""

    def __init__(self, unanswered_id: int) -> None:
        super().__init__({"status": "ok"})
        self._unanswered_id = unanswered_id

    def close(self) -> None:
        """See Django's HttpResponse: the web server calls this when it has sent the response."""
        purchases.answered(self._unanswered_id)
        super().close()


# What is left, of the two seconds that the client waits, is for the way there and back.
@from_perma_servers
@time_limit(1.7)
def acknowledge_purchase(request: HttpRequest) -> HttpResponse:
    """Answer 200 to the one acknowledgement that counts, in time, and 400 to any other."""
    message, _ = open_message(request, AcknowledgePurchaseMessage)
    is_awaited = partial(client_is_waiting, request)
    try:
        unanswered_id = purchases.acknowledge_purchase(
            message.purchase_pk, is_awaited=is_awaited, now=timezone.now()
        )
    except purchases.NotAcknowledgeable as refusal:
        logger.warning("%s: refused: unknown, unpaid, or acknowledged before: %s", request.path, refusal)
        return JsonResponse({"status": "refused"}, status=400)
    except purchases.GaveUp as refusal:
        logger.warning("%s: not recorded, as nobody waits for the answer: %s", request.path, refusal)
        return JsonResponse({"status": "too late"}, status=503)
    if not is_awaited():
        logger.error("%s: recorded, and perhaps not answered: purchase %s", request.path, message.purchase_pk)
        return JsonResponse({"status": "too late"}, status=503)
    return Acknowledged(unanswered_id)


@from_perma_servers
def purchase_history(request: HttpRequest) -> HttpResponse:
    """Answer with the customer's paid purchases, sealed."""
    message, opened = open_message(request, PurchaseHistoryMessage)
    reply = replies.purchase_history(
        message.customer, purchases=purchases.paid_purchases(message.customer), now=timezone.now()
    )
    return sealed(reply, opened)
