"""``/purchase/``, ``/acknowledge-purchase/`` and ``/purchase-history/``: bonus links."""
import logging

from django.http import HttpRequest, HttpResponse, JsonResponse
from django.utils import timezone

from ..perma import replies
from ..perma.messages import AcknowledgePurchaseMessage, PurchaseHistoryMessage, PurchaseMessage
from ..services import purchase as purchases
from . import pages
from .incoming import carried_by_browser, from_perma_servers, open_message, sealed

logger = logging.getLogger(__name__)


@carried_by_browser(get=pages.nothing_here)
def purchase(request: HttpRequest) -> HttpResponse:
    """Answer with the page that takes the customer to CyberSource."""
    message, opened = open_message(request, PurchaseMessage)
    return pages.checkout(request, purchases.purchase(message, nonce=opened.nonce, now=timezone.now()))


@from_perma_servers
def acknowledge_purchase(request: HttpRequest) -> HttpResponse:
    """Answer 200 to the one acknowledgement that counts, 400 to any other."""
    message, _ = open_message(request, AcknowledgePurchaseMessage)
    try:
        purchases.acknowledge_purchase(message.purchase_pk, now=timezone.now())
    except purchases.NotAcknowledgeable as refusal:
        logger.warning("%s: refused: unknown, unpaid, or acknowledged before: %s", request.path, refusal)
        return JsonResponse({"status": "refused"}, status=400)
    return JsonResponse({"status": "ok"})


@from_perma_servers
def purchase_history(request: HttpRequest) -> HttpResponse:
    """Answer with the customer's paid purchases, sealed."""
    message, opened = open_message(request, PurchaseHistoryMessage)
    reply = replies.purchase_history(
        message.customer, purchases=purchases.paid_purchases(message.customer), now=timezone.now()
    )
    return sealed(reply, opened)
