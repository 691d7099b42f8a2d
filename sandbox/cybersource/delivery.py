"""Brings signed responses to the merchant, Perma Payments: by CyberSource's server, and by the browser.

The server POSTs `application/x-www-form-urlencoded` in UTF-8, waits for 10 seconds, follows no redirect and does
not try again (cybersource.md §5).
"""

import http.client
import threading
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from time import sleep

import requests
import urllib3

from ..config import Config
from ..traffic import CALLBACK, RETURN, TrafficLog
from .checkouts import Answer, Result
from .form import AcceptedForm
from .outcomes import DECLINE, DUPLICATE, CheckoutOutcome
from .register import Register
from .response import Entered, build_response, carried_by_browser

TIMEOUT_SECONDS = 10
BODY_CHARACTERS = 200

Fields = list[tuple[str, str]]


def deliver(url: str, fields: Fields) -> Answer:
    """POST `fields` to `url` once. Never raises for what the other side does."""
    try:
        with requests.Session() as session:
            # A proxy named by the environment is not for servers on this machine.
            session.trust_env = False
            response = session.post(url, data=fields, timeout=TIMEOUT_SECONDS, allow_redirects=False, stream=True)
            start = next(response.iter_content(4 * BODY_CHARACTERS), b"")
    except requests.Timeout:
        return Answer(None, "", f"no answer within {TIMEOUT_SECONDS} seconds")
    except (OSError, http.client.HTTPException, urllib3.exceptions.HTTPError) as error:
        return Answer(None, "", f"could not be reached ({type(error).__name__})")
    return Answer(response.status_code, start.decode("utf-8", "replace")[:BODY_CHARACTERS], None)


@dataclass(frozen=True, kw_only=True)
class DeliveryOptions:
    """How often the server delivers the response, after how many seconds, and whether a DECLINE with a
    transaction_id of its own comes first."""

    times: int = 1
    delay: int = 0
    declined_first: bool = False


class ResponseSender:
    """Sends signed responses to Perma Payments and notes each in the traffic log.

    `return_url` is what the profile has as receipt page and as cancel page: there the customer's browser carries
    the last response (cybersource.md §5.1).
    """

    def __init__(
        self, config: Config, traffic: TrafficLog, register: Register, clock: Callable[[], datetime]
    ) -> None:
        self._url = f"{config.payments_url}/cybersource-callback/"
        self.return_url = f"{config.payments_url}/return/"
        self._keys = config.cs_keys
        self._traffic = traffic
        self._register = register
        self._clock = clock

    def send(self, form: AcceptedForm, result: Result, entered: Entered | None, options: DeliveryOptions) -> None:
        """Deliver the response to a finished submission; immediately, or later in a thread."""
        was_attempted = entered is not None and result.outcome is not DUPLICATE
        outcomes = [DECLINE] if options.declined_first and was_attempted else []
        outcomes.append(result.outcome)
        result.expected = len(outcomes) * options.times
        result.delay = options.delay
        secret = self._keys[form.access_key]
        responses = [
            (outcome, build_response(form, outcome, entered, secret=secret, now=self._clock()))
            for outcome in outcomes
        ]
        for outcome, fields in responses:
            # What has happened has happened, even if Perma Payments never hears of it.
            if outcome.is_approval:
                self._register.note(form, dict(fields))
        self._give_to_browser(responses[-1][1], secret, result)
        if options.delay:
            threading.Thread(target=self._deliver_all, daemon=True, args=(responses, result, options)).start()
        else:
            self._deliver_all(responses, result, options)

    def _give_to_browser(self, fields: Fields, secret: str, result: Result) -> None:
        result.to_carry = carried_by_browser(fields, secret=secret, now=self._clock())
        self._traffic.add(
            RETURN,
            f"CyberSource gave the customer's browser {result.outcome.decision} to carry",
            url=self.return_url,
            fields=[list(pair) for pair in result.to_carry],
        )

    def _deliver_all(
        self, responses: list[tuple[CheckoutOutcome, Fields]], result: Result, options: DeliveryOptions
    ) -> None:
        sleep(options.delay)
        for outcome, fields in responses:
            for _ in range(options.times):
                result.answers.append((outcome.decision, self._deliver(outcome, fields)))

    def _deliver(self, outcome: CheckoutOutcome, fields: Fields) -> Answer:
        answer = deliver(self._url, fields)
        reason = f" {outcome.reason_code}" if outcome.reason_code else ""
        self._traffic.add(
            CALLBACK,
            f"CyberSource reported {outcome.decision}{reason}: Perma Payments "
            + (answer.problem or f"answered {answer.status}"),
            url=self._url,
            fields=[list(pair) for pair in fields],
            status=answer.status,
            body=answer.body,
            problem=answer.problem,
        )
        return answer
