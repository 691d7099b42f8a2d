"""Incoming requests: forms, and the messages from Perma.cc in them, which are opened, read or refused here."""

import select
import socket
from collections.abc import Callable
from functools import wraps
from typing import TypeVar
from urllib.parse import parse_qsl

from django.conf import settings
from django.core.exceptions import RequestDataTooBig
from django.http import HttpRequest, HttpResponse, JsonResponse, UnreadablePostError
from django.utils import timezone
from django.views.decorators.csrf import csrf_exempt

from ..models import Ring
from ..perma import messages
from ..perma.box import Opened, Refusal
from ..perma.messages import ChangeMessage, Message, PurchaseMessage, Stale, SubscribeMessage, WrongValue
from ..services import key_uses
from ..services.checkouts.begin import CheckoutsFrozen
from ..services.checkouts.modifiable import NothingToModify
from ..services.checkouts.used_messages import MessageUsedUp
from ..services.restore import freshness_of_checkouts
from . import pages
from .limits import count_page_view, count_refusal, stop_flood
from .refusals import record_refusal

M = TypeVar("M", bound=Message)
View = Callable[[HttpRequest], HttpResponse]

FORM = "application/x-www-form-urlencoded"


class BadForm(Exception):
    """A POST that is not a form. Its text is for our log and holds no payload."""


def posted_fields(request: HttpRequest) -> list[tuple[str, str]]:
    """Return the (name, value) pairs of a POSTed form: every repetition, in order, percent-decoded as UTF-8.

    Raises BadForm for another content type, more than 500 fields, or a body that broke off.
    """
    if request.content_type != FORM:
        raise BadForm("not a form")
    try:
        body = request.body
    except UnreadablePostError:
        raise BadForm("the body broke off") from None
    except RequestDataTooBig:
        raise BadForm("the body is too long") from None
    try:
        return parse_qsl(
            body.decode("utf-8", "replace"),
            keep_blank_values=True,
            errors="replace",
            max_num_fields=settings.DATA_UPLOAD_MAX_NUMBER_FIELDS,
        )
    except ValueError:
        raise BadForm("too many fields") from None


def open_message(request: HttpRequest, message_class: type[M]) -> tuple[M, Opened]:
    """Open and read the message of a POST. Raises BadForm or a Refusal. Other form fields are ignored."""
    values = [value for name, value in posted_fields(request) if name == "encrypted_data"]
    if len(values) != 1:
        raise BadForm(f"encrypted_data came {len(values)} times")
    opened = settings.PERMA_KEYS.open(values[0])
    now = timezone.now()
    freshness = settings.PERMA_FRESHNESS
    if issubclass(message_class, SubscribeMessage | ChangeMessage | PurchaseMessage):
        freshness = freshness_of_checkouts(freshness, now=now)
    message = messages.read(message_class, opened.plaintext, now=now, freshness=freshness)
    key_uses.note(Ring.OURS, opened.keys.ours, now=now)
    key_uses.note(Ring.PERMAS, opened.keys.permas, now=now)
    return message, opened


def sealed(reply: bytes, opened: Opened) -> HttpResponse:
    """The reply to a message from Perma.cc's servers, sealed with the keys that the message came with."""
    return JsonResponse({"encrypted_data": settings.PERMA_KEYS.seal(reply, keys=opened.keys)})


def carried_by_browser(*, get: View | None = None) -> Callable[[View], View]:
    """Make a view a route for messages that the customer's browser carries.

    ``get`` answers GET, if the route has a page for it. Refusals become pages in plain words.
    """

    def decorate(view: View) -> View:
        @csrf_exempt
        @wraps(view)
        def route(request: HttpRequest) -> HttpResponse:
            if get and request.method == "GET":
                count_page_view(request)
                return get(request)
            if request.method != "POST":
                return pages.method_not_allowed(request, ["GET", "POST"] if get else ["POST"])
            stop_flood(request)
            try:
                return view(request)
            except NothingToModify:
                return pages.nothing_to_modify(request)
            except CheckoutsFrozen:
                return pages.frozen(request)
            except (BadForm, Refusal, MessageUsedUp) as refusal:
                record_refusal(request, refusal)
                count_refusal(request)
                match refusal:
                    case Stale():
                        return pages.expired(request)
                    case MessageUsedUp():
                        return pages.expired(request, not_charged=refusal.not_charged)
                    case WrongValue():
                        return pages.out_of_date(request)
                    case _:
                        return pages.refused(request)

        return route

    return decorate


def from_perma_servers(view: View) -> View:
    """Make a view a route for messages from Perma.cc's servers. Refusals become a 400 without a reason.

    A person whose browser was sent here by mistake (perma-2026.md §2) gets a page, and nothing is done.
    """

    @csrf_exempt
    @wraps(view)
    def route(request: HttpRequest) -> HttpResponse:
        if is_browser(request):
            if request.method != "POST":
                return pages.method_not_allowed(request, ["POST"])
            record_refusal(request, BadForm("a browser carried it"))
            return pages.refused(request)
        if request.method != "POST":
            return method_not_allowed_for_machines(["POST"])
        try:
            return view(request)
        except (BadForm, Refusal) as refusal:
            record_refusal(request, refusal)
            return JsonResponse({"status": "refused"}, status=400)

    return route


def is_browser(request: HttpRequest) -> bool:
    """Whether a person's browser opens a page with this request.

    Current browsers send Sec-Fetch-Mode, at least over HTTPS, and no script can set it; all of them ask for HTML.
    Perma.cc's servers do neither.
    """
    return is_navigation(request) or "text/html" in request.META.get("HTTP_ACCEPT", "")


def is_navigation(request: HttpRequest) -> bool:
    """Whether a browser says that a person opens a page with this request."""
    # Not request.headers, which makes a copy of all headers first.
    return request.META.get("HTTP_SEC_FETCH_MODE") == "navigate"


def client_is_waiting(request: HttpRequest) -> bool:
    """Whether the client still waits for the answer, as far as the web server lets us see.

    A client that gave up has closed its connection, and a proxy in front (nginx) closes its own with it. A request
    that had to wait for a worker can be read long after that.
    """
    connection = request.META.get("gunicorn.socket")
    if connection is None:
        return True
    poll = select.poll()
    poll.register(connection, select.POLLIN)
    try:
        return not poll.poll(0) or connection.recv(1, socket.MSG_PEEK) != b""
    except ValueError:
        return True  # An encrypted connection cannot be looked into.
    except OSError:
        return False


def method_not_allowed_for_machines(allowed: list[str]) -> HttpResponse:
    """A 405 for a program."""
    return JsonResponse({"status": "method not allowed"}, status=405, headers={"Allow": ", ".join(allowed)})
