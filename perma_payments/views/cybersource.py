"""The routes that receive CyberSource's responses, from its server and from the customer's browser.

Both bring the same signed response, and are treated the same; the first to arrive is applied.
``/cybersource-callback/`` answers a machine. At ``/return/``, where CyberSource's receipt and cancel pages post
it, a person waits: whatever was posted, the answer leads back to Perma.cc.
"""

import logging

from django.conf import settings
from django.http import HttpRequest, HttpResponse
from django.utils import timezone
from django.views.decorators.csrf import csrf_exempt

from ..billing.transactions import Kind
from ..cybersource.callback import CallbackRefused, UnknownKey
from ..logs import Alarm, alarm
from ..models import Response
from ..perma.returns import address
from ..postgres.problems import describe, why_unavailable
from ..postgres.time_limits import time_limit
from ..request_log import note
from ..services.callbacks.ending import ending_of
from ..services.callbacks.receive import receive_callback
from . import pages
from .incoming import BadForm, is_navigation, method_not_allowed_for_machines, posted_fields
from .limits import count_page_view, count_refusal
from .refusals import record_refusal

logger = logging.getLogger(__name__)

# In seconds: more than all parts of a callback may take (services/callbacks), and less than CyberSource waits.
LIMIT = 8


@csrf_exempt
@time_limit(LIMIT)
def cybersource_callback(request: HttpRequest) -> HttpResponse:
    """Answer 200 as soon as a signed response is kept, 400 to anything else.

    A customer whose browser comes here, because CyberSource's profile still says so, is led back to Perma.cc.
    Only browsers send Sec-Fetch-Mode, and no script can set it; CyberSource's server always gets its 200.
    """
    if request.method != "POST":
        return method_not_allowed_for_machines(["POST"])
    if is_navigation(request):
        return _lead_back(request, is_limited=False)
    try:
        _receive(request)
    except (BadForm, CallbackRefused) as refusal:
        _record(request, refusal)
        return HttpResponse("refused\n", status=400, content_type="text/plain")
    return HttpResponse("received\n", content_type="text/plain")


@csrf_exempt
@time_limit(LIMIT)
def customer_return(request: HttpRequest) -> HttpResponse:
    """Answer by sending the customer back to Perma.cc, with what is known to be true of the checkout."""
    if request.method == "POST":
        return _lead_back(request, is_limited=True)
    if request.method in ("GET", "HEAD"):
        count_page_view(request)
        return pages.see_other(settings.PERMA_RETURN_PAGE)
    return pages.method_not_allowed(request, ["GET", "HEAD", "POST"])


def _lead_back(request: HttpRequest, *, is_limited: bool) -> HttpResponse:
    """Receive the response that a browser has posted, if it is one, and send the customer back to Perma.cc.

    Where anything else counts against the address that it comes from, many of them raise TooManyRequests.
    """
    page: str = settings.PERMA_RETURN_PAGE
    try:
        response = _receive(request)
        ending = ending_of(response)
        if ending is not None and response.outgoing is not None:
            page = address(page, Kind(response.outgoing.kind), ending)
    except (BadForm, CallbackRefused) as refusal:
        _record(request, refusal)
        if is_limited:
            count_refusal(request)
    except Exception as error:  # whatever it is, the customer must get back
        logger.error(
            "%s: a customer was sent back without a message: %s",
            request.path,
            describe(error),
            exc_info=None if why_unavailable(error) else error,
        )
    return pages.see_other(page)


def _receive(request: HttpRequest) -> Response:
    """Receive what was posted. Raises BadForm and CallbackRefused."""
    pairs = posted_fields(request)
    response = receive_callback(request.body, pairs, now=timezone.now())
    note("received" if response.applied_at is None else "repeated")
    return response


def _record(request: HttpRequest, refusal: Exception) -> None:
    # The text of a CallbackRefused is one of a few, and names after a colon which fields it is about.
    reason = "" if isinstance(refusal, BadForm) else str(refusal).partition(":")[0]
    extra = alarm(Alarm.UNKNOWN_KEY) if isinstance(refusal, UnknownKey) else {}
    record_refusal(request, refusal, reason=reason, **extra)
