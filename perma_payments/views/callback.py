"""``/cybersource-callback/``: CyberSource answers a checkout, from its server or by the customer's browser."""
import logging

from django.http import HttpRequest, HttpResponse
from django.utils import timezone
from django.views.decorators.csrf import csrf_exempt
from django_ratelimit.core import get_usage

from ..cybersource.callback import CallbackRefused
from ..services.receive_callback import receive_callback
from .forms import BadForm, posted_fields
from .incoming import method_not_allowed_for_machines

logger = logging.getLogger(__name__)

# Anyone can POST rubbish here, as fast as they like: the log shows the first refusals of each minute,
# and every hundredth after that, with their number.
LOGGED_PER_MINUTE = 10


@csrf_exempt
def cybersource_callback(request: HttpRequest) -> HttpResponse:
    """Answer 200 as soon as a signed response is kept, 400 to anything else."""
    if request.method != "POST":
        return method_not_allowed_for_machines(["POST"])
    try:
        pairs = posted_fields(request)
        receive_callback(request.body, pairs, now=timezone.now())
    except (BadForm, CallbackRefused) as refusal:
        _warn(request, refusal)
        return HttpResponse("refused\n", status=400, content_type="text/plain")
    return HttpResponse("received\n", content_type="text/plain")


def _warn(request: HttpRequest, refusal: Exception) -> None:
    usage = get_usage(
        request, group="refused callbacks", key=lambda group, request: "all",
        rate=f"{LOGGED_PER_MINUTE}/m", increment=True,
    )
    count = usage["count"] if usage else 1
    if count <= LOGGED_PER_MINUTE or count % 100 == 0:
        logger.warning("callback refused (%s in this minute): %s", count, refusal)
