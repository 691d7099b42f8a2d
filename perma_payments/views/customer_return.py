"""``/return/``: CyberSource's receipt and cancel pages post the signed response here, in the customer's browser.

It is the same response that CyberSource's server posts to ``/cybersource-callback/``, and is treated the same;
whichever comes first is applied. But a person waits: whatever was posted, the answer leads back to Perma.cc.
"""

import logging

from django.conf import settings
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.utils import timezone
from django.views.decorators.csrf import csrf_exempt

from ..billing.transactions import Kind
from ..cybersource.callback import CallbackRefused
from ..perma.returns import address
from ..postgres.problems import describe
from ..services.callbacks.ending import ending_of
from ..services.callbacks.receive import receive_callback
from . import pages
from .forms import BadForm, posted_fields
from .middleware import time_limit
from .refusals import log_some

logger = logging.getLogger(__name__)


class SeeOther(HttpResponseRedirect):
    """Tells a browser to go on with a GET, whatever it has sent."""

    status_code = 303


# As for the callback (services/receive_callback.py).
@csrf_exempt
@time_limit(8)
def customer_return(request: HttpRequest) -> HttpResponse:
    """Answer by sending the customer back to Perma.cc, with what is known to be true of the checkout."""
    if request.method == "POST":
        return lead_back(request)
    if request.method in ("GET", "HEAD"):
        return _see_other(settings.PERMA_RETURN_PAGE)
    return pages.method_not_allowed(request, ["GET", "HEAD", "POST"])


def lead_back(request: HttpRequest) -> HttpResponse:
    """Take in the response that a browser has posted, if it is one, and send the customer back to Perma.cc."""
    page: str = settings.PERMA_RETURN_PAGE
    try:
        pairs = posted_fields(request)
        response = receive_callback(request.body, pairs, now=timezone.now())
        ending = ending_of(response)
        if ending is not None and response.outgoing is not None:
            page = address(page, Kind(response.outgoing.kind), ending)
    except (BadForm, CallbackRefused) as refusal:
        log_some(request, "return", refusal)
    except Exception as error:  # whatever it is, the customer must not lose the way
        logger.error("%s: a customer was sent back without a word: %s", request.path, describe(error))
    return _see_other(page)


def _see_other(page: str) -> HttpResponse:
    return SeeOther(page, headers={"Cache-Control": "no-store"})
