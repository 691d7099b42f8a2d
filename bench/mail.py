"""Whether a mail server that hangs makes anyone wait:  python -m bench.mail

Two services as in production (two workers, four threads, a scheduler), each with a database of its own. The
mail server of one takes mail; that of the other takes connections and never speaks. In turns, six customers
cancel and eight payments are held for review, all at once; each opens a task that staff are mailed. Meanwhile
Perma.cc keeps asking for statuses.
"""

import argparse
import time
from collections import defaultdict
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from threading import Event, Thread
from types import SimpleNamespace
from urllib.parse import urlencode

from devtools.processes import leashed
from perma_payments.tests import perma_cc
from perma_payments.tests.mail_server import Mailbox, hanging_mail_server, mail_server

from .world import HOST, databases, environment, median_and_99th, seconds, use_django, web_server

CANCELLATIONS, CALLBACKS, STATUS_CLIENTS = 6, 8, 2
Times = dict[str, list[float]]


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(prog="python -m bench.mail", description="Requests beside a mail server.")
    parser.add_argument("--rounds", type=int, default=12, help="how often so many cancel and pay at once")
    rounds = parser.parse_args().rounds
    good, dead = SimpleNamespace(), SimpleNamespace()
    with (
        databases("good", "dead") as (good_url, dead_url),
        mail_server(good) as mailbox,
        hanging_mail_server(dead),
        service(good_url, good.EMAIL_PORT) as good_port,
        service(dead_url, dead.EMAIL_PORT) as dead_port,
    ):
        use_django(good_url)
        times: dict[str, Times] = {"good": defaultdict(list), "dead": defaultdict(list)}
        with watched(mailbox, times["good"]) as began:
            for _ in range(rounds):
                for name, url, port in (("good", good_url, good_port), ("dead", dead_url, dead_port)):
                    measure(url, port, times[name], began if name == "good" else {})
            time.sleep(2)
    report(times, len(mailbox.mails), rounds)


@contextmanager
def service(database_url: str, mail_port: int) -> Iterator[int]:
    """The port of a web server that has a scheduler beside it."""
    mail = {"EMAIL_HOST": HOST, "EMAIL_PORT": str(mail_port), "DAILY_REPORT_TIME": "23:59"}
    env = environment(database_url) | mail
    with (
        web_server(env, workers=2, threads=4) as port,
        leashed("The scheduler", "manage.py", "run_scheduler", env=env),
    ):
        yield port


def measure(database_url: str, port: int, times: Times, began: dict[str, float]) -> None:
    """Let customers cancel and pay, all at once, while statuses are asked for; add the seconds of each answer."""
    cancellations, callbacks = prepare(database_url)
    status = urlencode(perma_cc.form("subscription", customer_pk=1))
    done = Event()

    def ask() -> None:
        while not done.is_set():
            times["status"].append(seconds(port, "POST", "/subscription/", status))

    def cancel(reference_number: str, body: str) -> None:
        began[reference_number] = time.perf_counter()
        times["cancellation"].append(seconds(port, "POST", "/cancel-request/", body))

    def call_back(body: str) -> None:
        times["callback"].append(seconds(port, "POST", "/cybersource-callback/", body))

    with ThreadPoolExecutor(STATUS_CLIENTS + CANCELLATIONS + CALLBACKS) as pool:
        asking = [pool.submit(ask) for _ in range(STATUS_CLIENTS)]
        time.sleep(0.5)
        calls = [pool.submit(cancel, *each) for each in cancellations] + [
            pool.submit(call_back, each) for each in callbacks
        ]
        for call in calls:
            call.result()
        time.sleep(0.5)
        done.set()
        for each in asking:
            each.result()


def prepare(database_url: str) -> tuple[list[tuple[str, str]], list[str]]:
    """What to post: cancellations, with their reference numbers, and payments that are held for review."""
    import dj_database_url
    from django.db import connection

    from perma_payments.billing.customers import Customer, CustomerType
    from perma_payments.billing.transactions import Kind
    from perma_payments.models import ReferenceNumber
    from perma_payments.tests import cyber_source, records

    connection.close()
    connection.settings_dict["NAME"] = dj_database_url.parse(database_url)["NAME"]
    first = 2 + ReferenceNumber.objects.count()
    cancellations, callbacks = [], []
    for pk in range(first, first + CANCELLATIONS):
        agreement = records.standing_agreement(Customer(CustomerType.REGISTRAR, pk))
        body = urlencode(perma_cc.form("cancel-request", customer_pk=pk))
        cancellations.append((agreement.reference_number, body))
    for pk in range(first + CANCELLATIONS, first + CANCELLATIONS + CALLBACKS):
        checkout = records.outgoing(Kind.SUBSCRIBE, records.agreement(Customer(CustomerType.REGISTRAR, pk)))
        callbacks.append(urlencode(cyber_source.response(records.form(checkout), "REVIEW")))
    connection.close()
    return cancellations, callbacks


@contextmanager
def watched(mailbox: Mailbox, times: Times) -> Iterator[dict[str, float]]:
    """Take the time from the request to the mail, by reference numbers and when their requests began."""
    began: dict[str, float] = {}
    done = Event()

    def watch() -> None:
        seen = 0
        while not done.wait(0.002):
            for subject in mailbox.subjects[seen:]:
                seen += 1
                start = began.get(subject.split()[-1])
                if start is not None:
                    times["mail"].append(time.perf_counter() - start)

    thread = Thread(target=watch)
    thread.start()
    try:
        yield began
    finally:
        done.set()
        thread.join()


def report(times: dict[str, Times], mails: int, rounds: int) -> None:
    """Print the times."""
    labels = {
        "status": "POST /subscription/",
        "cancellation": "POST /cancel-request/",
        "callback": "POST /cybersource-callback/, REVIEW",
        "mail": "from a cancellation to its mail",
    }
    print(f"{'':38}{'mail server that takes mail':>34}{'mail server that never speaks':>34}")
    print(f"{'':38}" + f"{'number':>10}{'median':>12}{'99th':>12}" * 2)
    for what, label in labels.items():
        print(f"{label:38}", end="")
        for name in ("good", "dead"):
            if found := times[name][what]:
                median, last = median_and_99th(found)
                print(f"{len(found):10}{median * 1000:9.1f} ms{last * 1000:9.1f} ms", end="")
        print()
    print(f"Mails: {mails} of {rounds * (CANCELLATIONS + CALLBACKS)}.")


if __name__ == "__main__":
    main()
