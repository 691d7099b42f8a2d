"""Perma.cc's server-to-server calls to Perma Payments.

Answers are read as the real client reads them (perma.md §1 and §3.1). Some wrong answers would crash that client;
here they raise Unavailable with a reason, so that a developer sees what is wrong.
"""

import http.client
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from typing import Any, TypeVar

import requests
import urllib3

from ..traffic import ACKNOWLEDGE_CALL, HISTORY_CALL, STATUS_CALL, TrafficLog
from .box import BoxError, PermaBox, strict_json
from .clients import PermaClient
from .messages import acknowledge_message, customer_message
from .replies import HistoricPurchase, StatusReply, read_history_reply, read_status_reply
from .store import Customer

Reply = TypeVar("Reply")

# Where it is set, it replaces the clients' own time-outs: a machine that runs tests may be busy.
TIMEOUT_SECONDS: float | None = None
MAX_REPLY_BYTES = 1_000_000


class Unavailable(Exception):
    """Perma Payments gave no answer that Perma.cc can use; the text says why.

    `status` is the answer's HTTP status and `opened` what was in its box, if they are known.
    """

    def __init__(self, reason: str, *, status: int | None = None, opened: dict[str, Any] | None = None) -> None:
        super().__init__(reason)
        self.status = status
        self.opened = opened


class PaymentsClient:
    """Makes the calls, and notes each in the traffic. Thread-safe. `clock` gives the time in UTC.

    Each call raises Unavailable if the client cannot use the answer.
    """

    def __init__(
        self,
        *,
        payments_url: str,
        perma_client: PermaClient,
        box: PermaBox,
        traffic: TrafficLog,
        clock: Callable[[], datetime],
    ) -> None:
        self._url = payments_url
        self._perma_client = perma_client
        self._box = box
        self._clock = clock
        self._traffic = traffic

    def status_of(self, customer: Customer) -> StatusReply:
        """Ask for a customer's status."""
        read = partial(read_status_reply, perma_client=self._perma_client)
        return self._ask(STATUS_CALL, "/subscription/", customer, "the status", read)

    def history_of(self, customer: Customer) -> list[HistoricPurchase]:
        """Ask for everything that a customer has bought."""
        return self._ask(HISTORY_CALL, "/purchase-history/", customer, "the purchases", read_history_reply)

    def acknowledge(self, purchase_id: int) -> None:
        """Tell Perma Payments that a purchase is being credited. Only the answer's status counts: any 2xx."""
        message = acknowledge_message(purchase_id, self._clock())
        with self._noted(
            ACKNOWLEDGE_CALL, "/acknowledge-purchase/", message, f"Perma.cc acknowledged purchase {purchase_id}"
        ) as call:
            status, body = self._post(call)
            call.reply = _json_or_none(body)
            if not 200 <= status < 300:
                raise Unavailable(f"it answered {status}", status=status)

    def _ask(
        self,
        kind: str,
        path: str,
        customer: Customer,
        what: str,
        read: Callable[[dict[str, Any], Customer, datetime], Reply],
    ) -> Reply:
        """Make a call about a customer; `read` reads the opened reply."""
        message = customer_message(customer, self._clock())
        with self._noted(
            kind, path, message, f"Perma.cc asked for {what} of {customer.customer_type} {customer.pk}"
        ) as call:
            opened = call.reply = self._open(*self._post(call))
            try:
                return read(opened, customer, self._clock())
            except ValueError as error:
                raise Unavailable(
                    f"its reply cannot be read: {error}", status=call.status, opened=opened
                ) from None

    @contextmanager
    def _noted(self, kind: str, path: str, message: dict[str, Any], summary: str) -> Iterator["_Call"]:
        """Note a call in the traffic, however it ends."""
        call = _Call(self._url + path, message)
        problem = None
        try:
            yield call
        except Unavailable as error:
            problem = str(error)
            raise
        finally:
            self._traffic.add(
                kind,
                f"{summary}: {problem or 'answered'}",
                url=call.url,
                sent=message,
                status=call.status,
                reply=call.reply,
                problem=problem,
            )

    def _post(self, call: "_Call") -> tuple[int, bytes]:
        """POST a call's sealed message; return the status and body of the answer."""
        sealed = self._box.seal(call.message)
        timeout = TIMEOUT_SECONDS or self._perma_client.timeout_seconds
        try:
            with requests.Session() as session:
                # A proxy named by the environment is not for servers on this machine.
                session.trust_env = False
                response = session.post(
                    call.url, data={"encrypted_data": sealed}, timeout=timeout, allow_redirects=False, stream=True
                )
                call.status = response.status_code
                body = bytearray()
                for chunk in response.iter_content(65536):
                    body += chunk
                    if len(body) > MAX_REPLY_BYTES:
                        raise Unavailable("its answer is too long", status=call.status)
        except requests.Timeout:
            raise Unavailable(f"no answer within {timeout:g} seconds") from None
        except (OSError, http.client.HTTPException, urllib3.exceptions.HTTPError) as error:
            raise Unavailable(f"it could not be reached ({type(error).__name__})") from None
        return call.status, bytes(body)

    def _open(self, status: int, body: bytes) -> dict[str, Any]:
        if status >= 400:
            raise Unavailable(f"it answered {status}", status=status)
        if status != 200:
            raise Unavailable(
                f"it answered {status}; the client expects 200, and would follow a redirect with a GET",
                status=status,
            )
        try:
            answer = strict_json(body)
        except ValueError:
            raise Unavailable("it answered 200 with something that is not JSON", status=status) from None
        if not isinstance(answer, dict) or not isinstance(answer.get("encrypted_data"), str):
            raise Unavailable("it answered 200 with JSON that has no encrypted_data", status=status)
        try:
            return self._box.open(answer["encrypted_data"])
        except BoxError as error:
            raise Unavailable(f"its reply cannot be opened: {error}", status=status) from None


@dataclass
class _Call:
    """One call, as far as it has come."""

    url: str
    message: dict[str, Any]
    status: int | None = None
    reply: Any = None


def _json_or_none(body: bytes) -> Any:
    try:
        return strict_json(body)
    except ValueError:
        return None
