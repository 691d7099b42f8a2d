"""What the service's callers wait for: how many calls it answers per second, and how that changes as it grows."""

import html
import itertools
import re
import statistics
from collections.abc import Iterator
from contextlib import ExitStack
from typing import Any
from urllib.parse import urlencode

import psycopg2

from perma_payments.tests import cyber_source, perma_cc

from .fill import fill
from .load import Load, call, post
from .world import databases, web_server

STATUS, SUBSCRIBE, CALLBACK = "/subscription/", "/subscribe/", "/cybersource-callback/"
BARE = "bare function"
# Customers whom no database knows have numbers from here on.
_new_customers = itertools.count(10_000_000)


class Customers:
    """Requests about the customers of a filled database. Each is sent once, except status calls."""

    def __init__(self, database_url: str, *, at_most: int) -> None:
        with psycopg2.connect(database_url) as connection, connection.cursor() as cursor:
            cursor.execute(
                """
                SELECT customer_type, customer_pk FROM perma_payments_subscriptionagreement
                WHERE status IN ('Current', 'Hold') AND cancellation_requested_at IS NULL
                ORDER BY sha256(reference_number::bytea) LIMIT %s
                """,
                [at_most],
            )
            self.standing = [{"customer_type": type_, "customer_pk": pk} for type_, pk in cursor]
        connection.close()

    def about(self, path: str) -> Iterator[bytes]:
        """The route's messages about customers who have a subscription, one after the other."""
        for customer in itertools.cycle(self.standing):
            yield post(path, urlencode(perma_cc.form(path.strip("/"), **customer)))


def subscriptions() -> Iterator[bytes]:
    """Messages of new customers who subscribe."""
    for number in _new_customers:
        yield post(SUBSCRIBE, urlencode(perma_cc.form("subscribe", customer_pk=number)))


def payments(pages: list[bytes]) -> list[bytes]:
    """CyberSource's responses to the forms on these pages: all are paid."""
    return [post(CALLBACK, urlencode(cyber_source.response(_form_on(page)))) for page in pages]


def _form_on(page: bytes) -> dict[str, str]:
    fields = re.findall(r'<input type="hidden" name="([^"]+)" value="([^"]*)">', page.decode())
    return {name: html.unescape(value) for name, value in fields}


# --- How much -------------------------------------------------------------------------------------------


def throughput(*, rounds: int, seconds: float) -> dict[str, dict[int, Load]]:
    """The load that the service and the yardstick carry, by what is called and the number of clients.

    Of each round's figures, the median counts. The disk is waited for, as in production.
    """
    found: dict[str, dict[int, list[Load]]] = {}
    with databases("perma_payments", durable=True) as (url,):
        fill(url, agreements=1_000)
        customers = Customers(url, at_most=200)
        # The yardstick stays the same whatever is done to the service: on Gunicorn's own worker with threads.
        with web_server(url) as service, web_server(url, "--worker-class=gthread", app="bench.bare") as bare:

            def measure(name: str, port: int, requests: Any, clients: int, *, counts: bool = True) -> list[bytes]:
                # Made before the time starts.
                prepared = list(itertools.islice(requests, int(4_000 * seconds)))
                load, answers = call(port, prepared, clients=clients, seconds=seconds)
                if counts:
                    found.setdefault(name, {}).setdefault(clients, []).append(load)
                return answers

            for number in range(rounds + 1):
                for clients in (1, 8, 32):
                    for name, port in ((BARE, bare), (STATUS, service)):
                        few = list(itertools.islice(customers.about(STATUS), 200))
                        measure(name, port, itertools.cycle(few), clients, counts=number > 0)
                for clients in (1, 8):
                    pages = measure(SUBSCRIBE, service, subscriptions(), clients, counts=number > 0)
                    measure(CALLBACK, service, payments(pages), clients, counts=number > 0)
        _check(url)
    return {
        name: {clients: _median(loads) for clients, loads in by_clients.items()}
        for name, by_clients in found.items()
    }


def _median(loads: list[Load]) -> Load:
    return Load(
        statistics.median(each.per_second for each in loads),
        statistics.median(each.median for each in loads),
        statistics.median(each.p99 for each in loads),
    )


def _check(database_url: str) -> None:
    """See that each payment took effect, once: what is fast but wrong is not worth measuring."""
    with psycopg2.connect(database_url) as connection, connection.cursor() as cursor:
        cursor.execute(
            """
            SELECT count(*) FILTER (WHERE outcome <> 'took effect'), count(*),
                (SELECT count(*) FROM perma_payments_subscriptionagreement
                 WHERE customer_pk >= 10000000 AND status = 'Current')
            FROM perma_payments_response JOIN perma_payments_outgoingtransaction AS outgoing
                ON outgoing.id = outgoing_id JOIN perma_payments_subscriptionagreement AS agreement
                ON agreement.id = agreement_id WHERE customer_pk >= 10000000
            """
        )
        (without_effect, responses, current) = cursor.fetchall()[0]
    connection.close()
    if without_effect or responses != current:
        raise SystemExit(f"{responses} payments, {without_effect} without effect: {current} are Current.")


# --- How long, in a small database and in a large one -------------------------------------------------


def by_size(urls: dict[int, str], *, calls: int) -> dict[str, dict[int, Load]]:
    """What each journey takes one client, by its path and the number of agreements in a filled database.

    The databases take turns, so that all meet the same conditions.
    """
    warming_up = calls // 10
    with ExitStack() as running:
        ports = {size: running.enter_context(web_server(url)) for size, url in urls.items()}
        requests = {size: _requests(url, at_most=calls) for size, url in urls.items()}
        rounds = [
            {size: _one_of_each(port, requests[size]) for size, port in ports.items()}
            for _ in range(warming_up + calls)
        ][warming_up:]
    paths = rounds[0][min(urls)]
    times = {path: {size: [each[size][path] for each in rounds] for size in urls} for path in paths}
    return {
        path: {size: Load.of(each, seconds=sum(each) / 1000) for size, each in by_size.items()}
        for path, by_size in times.items()
    }


def _requests(database_url: str, *, at_most: int) -> dict[str, Iterator[bytes]]:
    customers = Customers(database_url, at_most=at_most)
    return {
        path: customers.about(path)
        for path in (STATUS, "/purchase-history/", "/change/", "/purchase/", "/update/")
    }


def _one_of_each(port: int, requests: dict[str, Iterator[bytes]]) -> dict[str, float]:
    """The milliseconds that one call of each kind takes."""
    times: dict[str, float] = {}

    def measure(path: str, request: bytes) -> bytes:
        load, (answer,) = call(port, [request])
        times[path] = load.median
        return answer

    for path, of_path in requests.items():
        measure(path, next(of_path))
    page = measure(SUBSCRIBE, next(subscriptions()))
    measure(CALLBACK, payments([page])[0])
    return times
