"""``/cancel-request/``: a customer wants the subscription to end."""

from django.conf import settings
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.utils import timezone

from ..perma.messages import CancelRequestMessage
from ..services.cancellation import request_cancellation
from ..services.checkouts.modifiable import NothingToModify
from . import pages
from .incoming import carried_by_browser, open_message


@carried_by_browser(get=None)
def cancel_request(request: HttpRequest) -> HttpResponse:
    """Answer by sending the customer back to Perma.cc, which will show that the request is on record."""
    message, opened = open_message(request, CancelRequestMessage)
    try:
        request_cancellation(message, nonce=opened.nonce, now=timezone.now())
    except NothingToModify:
        return pages.nothing_to_modify(request)
    return HttpResponseRedirect(settings.PERMA_SUBSCRIPTION_PAGE)
