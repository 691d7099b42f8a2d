"""``/update/``: a customer wants to replace the card or the billing address."""

from django.http import HttpRequest, HttpResponse
from django.utils import timezone

from ..perma.messages import UpdateMessage
from ..services.checkouts.modifiable import NothingToModify
from ..services.checkouts.update import update as begin_update
from . import pages
from .incoming import carried_by_browser, open_message


@carried_by_browser(get=None)
def update(request: HttpRequest) -> HttpResponse:
    """Answer with the page that takes the customer to CyberSource."""
    message, opened = open_message(request, UpdateMessage)
    try:
        form = begin_update(message, nonce=opened.nonce, now=timezone.now())
    except NothingToModify:
        return pages.nothing_to_modify(request)
    return pages.card_update(request, form)
