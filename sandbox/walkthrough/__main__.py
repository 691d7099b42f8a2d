"""Walk: see the package."""

from __future__ import annotations

import argparse
import random
import sys
from collections.abc import Callable, Iterable, Sequence

import requests

from . import altering, buying, returning, subscribing
from .visit import Report, StepFailed, Visit

STEPS: list[Callable[[Visit], None]] = [
    subscribing.begin,
    subscribing.registrar_picks_a_plan,
    subscribing.registrar_pays,
    subscribing.registrar_has_a_subscription,
    subscribing.registrar_subscribes_again,
    subscribing.individual_clicks_twice,
    subscribing.individual_pays,
    subscribing.individual_sends_the_message_again,
    subscribing.card_is_declined,
    subscribing.own_form_comes_back,
    subscribing.response_comes_again,
    altering.registrar_gets_a_new_token,
    altering.nothing_to_modify,
    altering.addresses_are_opened,
    altering.member_subscribes,
    altering.member_upgrades,
    altering.upgrade_is_declined,
    altering.member_downgrades,
    altering.member_updates_the_card,
    buying.member_buys_links,
    buying.purchase_is_left_unpaid,
    altering.member_cancels,
    altering.staff_get_one_mail,
    altering.cancelled_is_not_altered,
    returning.subscriber_leaves,
    returning.subscribers_browser_is_first,
    returning.card_updates_come_to_nothing,
    returning.changes_come_back,
    returning.purchases_come_back,
    returning.nothing_unsigned_is_believed,
]


def walk(visit: Visit, steps: Iterable[Callable[[Visit], None]] = STEPS) -> Report:
    """Take the steps; one that cannot go on counts as a failed check.

    Raises requests.RequestException where the sandbox or Perma Payments does not answer at all.
    """
    for step in steps:
        try:
            step(visit)
        except StepFailed as problem:
            visit.report.check(False, str(problem))
    return visit.report


def main(arguments: Sequence[str] | None = None) -> int:
    """Walk and print; the result is the exit status."""
    parser = argparse.ArgumentParser(
        prog="python -m sandbox.walkthrough", description="A customer's visit from end to end."
    )
    parser.add_argument("--sandbox", default="http://127.0.0.1:8001", help="address of the sandbox")
    parser.add_argument("--payments", help="address of Perma Payments; else the one that the sandbox sends to")
    parser.add_argument("--number", type=int, help="number of the customers; else a random one")
    options = parser.parse_args(arguments)
    visit = Visit(
        sandbox=options.sandbox.rstrip("/"),
        payments=options.payments and options.payments.rstrip("/"),
        number=options.number or random.randrange(1000, 900_000_000),
    )
    try:
        report = walk(visit)
    except requests.RequestException as error:
        url = error.request.url if error.request is not None else options.sandbox
        print(f"The walkthrough stopped: no usable answer from {url} ({type(error).__name__}).", file=sys.stderr)
        return 1
    print(f"The walkthrough is over: {report.passed} checks passed, {report.failed} failed.")
    return 1 if report.failed else 0


if __name__ == "__main__":
    sys.exit(main())
