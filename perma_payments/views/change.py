"""``/change/``: a customer chose another plan."""

from django.http import HttpRequest, HttpResponse
from django.utils import timezone

from ..perma.messages import ChangeMessage
from ..services.checkouts.change import change as begin_change
from ..services.checkouts.modifiable import NothingToModify
from . import pages
from .incoming import carried_by_browser, open_message


@carried_by_browser(get=None)
def change(request: HttpRequest) -> HttpResponse:
    """Answer with the page that takes the customer to CyberSource."""
    message, opened = open_message(request, ChangeMessage)
    try:
        form = begin_change(message, nonce=opened.nonce, now=timezone.now())
    except NothingToModify:
        return pages.nothing_to_modify(request)
    return pages.checkout(request, form)
