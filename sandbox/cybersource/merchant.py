"""Reporting finished submissions to the merchant, which is Perma Payments."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from time import sleep

from ..config import Config
from ..traffic import CALLBACK, RETURN, TrafficLog
from .checkouts import Result
from .delivery import Answer, deliver
from .form import Order
from .outcomes import DECLINE, DUPLICATE, Outcome
from .register import Register
from .response import Entered, build_response, carried_by_browser


@dataclass(frozen=True, kw_only=True)
class DeliveryOptions:
    """How the response is delivered: how often, after how many seconds, and whether a DECLINE
    with a transaction_id of its own goes before it."""

    times: int = 1
    delay: int = 0
    declined_first: bool = False


class Merchant:
    """Sends signed responses to Perma Payments and notes each in the traffic log.

    `return_url` is what the profile has as receipt and as cancel page: the customer's browser is
    given the last response to carry there (cybersource.md §5.1).
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

    def report(self, order: Order, result: Result, entered: Entered | None, options: DeliveryOptions) -> None:
        """Deliver the response to a finished submission; at once, or later in a thread."""
        was_attempted = entered is not None and result.outcome is not DUPLICATE
        outcomes = [DECLINE] if options.declined_first and was_attempted else []
        outcomes.append(result.outcome)
        result.expected = len(outcomes) * options.times
        result.delay = options.delay
        responses = []
        for outcome in outcomes:
            fields = build_response(
                order, outcome, entered, secret=self._keys[order.access_key], now=self._clock()
            )
            responses.append((outcome, fields))
            # What has happened has happened, even if Perma Payments never hears of it.
            if outcome.is_approval:
                self._register.note(order, dict(fields))
        self._give_to_browser(responses[-1][1], order, result)
        if options.delay:
            threading.Thread(target=self._deliver_all, daemon=True, args=(responses, result, options)).start()
        else:
            self._deliver_all(responses, result, options)

    def _give_to_browser(self, fields: list[tuple[str, str]], order: Order, result: Result) -> None:
        result.to_carry = carried_by_browser(fields, secret=self._keys[order.access_key], now=self._clock())
        self._traffic.add(
            RETURN,
            f"CyberSource gave the customer's browser {result.outcome.decision} to carry",
            url=self.return_url,
            fields=[list(pair) for pair in result.to_carry],
        )

    def _deliver_all(
        self, responses: list[tuple[Outcome, list[tuple[str, str]]]], result: Result, options: DeliveryOptions
    ) -> None:
        sleep(options.delay)
        for outcome, fields in responses:
            for _ in range(options.times):
                result.answers.append((outcome.decision, self._deliver(outcome, fields)))

    def _deliver(self, outcome: Outcome, fields: list[tuple[str, str]]) -> Answer:
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
