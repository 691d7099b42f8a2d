"""``/cybersource-callback/``: CyberSource's server answers a checkout."""

from django.http import HttpRequest, HttpResponse
from django.utils import timezone
from django.views.decorators.csrf import csrf_exempt

from ..cybersource.callback import CallbackRefused
from ..services.callbacks.receive import receive_callback
from .customer_return import lead_back
from .forms import BadForm, posted_fields
from .incoming import method_not_allowed_for_machines
from .middleware import time_limit
from .refusals import log_some


# More than all its parts may take (services/receive_callback.py), and less than CyberSource waits.
@csrf_exempt
@time_limit(8)
def cybersource_callback(request: HttpRequest) -> HttpResponse:
    """Answer 200 as soon as a signed response is kept, 400 to anything else.

    A customer whose browser comes here, because CyberSource's profile still says so, is led back to Perma.cc.
    Only a browser says that it navigates, and no script can make it; CyberSource's server always gets its 200.
    """
    if request.method != "POST":
        return method_not_allowed_for_machines(["POST"])
    if request.headers.get("Sec-Fetch-Mode") == "navigate":
        return lead_back(request)
    try:
        pairs = posted_fields(request)
        receive_callback(request.body, pairs, now=timezone.now())
    except (BadForm, CallbackRefused) as refusal:
        log_some(request, "callback", refusal)
        return HttpResponse("refused\n", status=400, content_type="text/plain")
    return HttpResponse("received\n", content_type="text/plain")
