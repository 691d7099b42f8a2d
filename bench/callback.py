"""How many of CyberSource's responses are accepted per second:  python -m bench.callback

Distinct ACCEPTs, each with its own checkout and customer, and the same ones delivered again, with one client and
with eight; and GET /subscribe/, a page that needs no database, for comparison.
"""

import argparse
import time
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar
from urllib.parse import urlencode

from .world import databases, seconds, services, use_django

T = TypeVar("T")


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(prog="python -m bench.callback", description="The rate of callbacks.")
    parser.add_argument("--callbacks", type=int, default=400, help="how many callbacks each figure is taken from")
    number = parser.parse_args().callbacks
    with databases("perma_payments") as (url,):
        use_django(url)
        with services(url, threads=8) as (port,):
            rates = {clients: measure(port, clients, number) for clients in (1, 8)}
        check(2 * number)
    report(rates)


def measure(port: int, clients: int, number: int) -> dict[str, float]:
    """Answers per second, by kind of request."""

    def call_back(body: str) -> None:
        seconds(port, "POST", "/cybersource-callback/", body)

    def get(_: int) -> None:
        seconds(port, "GET", "/subscribe/")

    bodies = accepts(number, first_customer=1 + clients * number)
    rate(get, range(50), clients)  # Warms up.
    return {
        "page": rate(get, range(number), clients),
        "distinct": rate(call_back, bodies, clients),
        "again": rate(call_back, bodies, clients),
    }


def accepts(number: int, *, first_customer: int) -> list[str]:
    """Responses to checkouts that are in the database, unanswered."""
    from perma_payments.billing.customers import Customer, CustomerType
    from perma_payments.billing.transactions import Kind
    from perma_payments.tests import cyber_source, records

    customers = [Customer(CustomerType.REGISTRAR, first_customer + index) for index in range(number)]
    checkouts = [records.outgoing(Kind.SUBSCRIBE, records.agreement(customer)) for customer in customers]
    return [urlencode(cyber_source.response(records.form(checkout))) for checkout in checkouts]


def rate(call: Callable[[T], None], arguments: Iterable[T], clients: int) -> float:
    """How many calls per second so many clients make, each with the next argument."""
    arguments = list(arguments)
    with ThreadPoolExecutor(clients) as pool:
        start = time.perf_counter()
        list(pool.map(call, arguments))
        return len(arguments) / (time.perf_counter() - start)


def check(expected: int) -> None:
    """See that every response took effect, once: what is fast but wrong is not worth measuring."""
    from perma_payments.models import Response, StaffTask, SubscriptionAgreement

    found = (
        Response.objects.filter(outcome="took effect").count(),
        Response.objects.count(),
        SubscriptionAgreement.objects.filter(status="Current").count(),
        StaffTask.objects.count(),
    )
    if found != (expected, expected, expected, 0):
        raise SystemExit(f"Responses that took effect, responses, subscriptions, tasks: {found}.")


def report(rates: dict[int, dict[str, float]]) -> None:
    """Print the rates and their ratios."""
    print(
        f"{'':12}{'GET, no database':>18}{'distinct ACCEPTs':>18}{'delivered again':>18}"
        f"{'distinct/again':>16}{'distinct/GET':>14}"
    )
    for clients, found in rates.items():
        page, distinct, again = (found[name] for name in ("page", "distinct", "again"))
        print(
            f"{clients} client{'s' if clients > 1 else ' '}   {page:16.0f}/s{distinct:16.0f}/s{again:16.0f}/s"
            f"{distinct / again:16.2f}{distinct / page:14.2f}"
        )
    print(
        "8 to 1      "
        + "".join(f"{rates[8][name] / rates[1][name]:18.2f}" for name in ("page", "distinct", "again"))
    )


if __name__ == "__main__":
    main()
