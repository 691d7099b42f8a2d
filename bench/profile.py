"""Where the time of a call goes:  python -m bench.profile

In this process, without a web server: the service is called as Gunicorn calls it. After each half of a millisecond
of processor time, the layer that is at work counts. All other time is spent waiting for PostgreSQL, and its disk.
"""

import signal
import time
from collections import Counter
from functools import partial
from itertools import islice
from types import FrameType
from typing import Any

from django.test import RequestFactory

from .calls import CALLBACK, STATUS, SUBSCRIBE, Customers, payments, subscriptions
from .world import FORM, HOST, databases, use_django

EVERY = 0.0005
# By the innermost function that is in one of these places.
LAYERS = {
    "/perma_payments/views/": "views",
    "/perma_payments/postgres/": "connection (postgres/)",
    "/perma_payments/models/": "models",
    "/perma_payments/perma/": "Perma.cc's protocol",
    "/perma_payments/cybersource/": "CyberSource's protocol",
    "/perma_payments/services/": "services, billing",
    "/perma_payments/billing/": "services, billing",
    "/perma_payments/": "logs, metrics, the rest",
    "/nacl/": "boxes (PyNaCl)",
    "/logging/": "logs, metrics, the rest",
    "/prometheus_client/": "logs, metrics, the rest",
    "/pghistory/": "history (django-pghistory)",
    "/pgtrigger/": "history (django-pghistory)",
    "/django/db/backends/": "connection (Django)",
    "/django/db/": "ORM (Django)",
    "/django/template": "templates (Django)",
    "/django/": "requests (Django)",
}
WAITING = "waiting for PostgreSQL"


def environ(request: bytes) -> dict[str, Any]:
    """What a web server makes of a request that posts a form."""
    head, _, body = request.partition(b"\r\n\r\n")
    return RequestFactory().generic("POST", head.split()[1].decode(), body, FORM, HTTP_HOST=HOST).environ


def call(request: dict[str, Any], application: Any) -> bytes:
    """Call the service as a web server would. Raises SystemExit if the answer is not a 200."""
    told: list[str] = []
    answer = application(request, lambda status, headers, error=None: told.append(status))
    try:
        body = b"".join(answer)
    finally:
        answer.close()
    if told != ["200 OK"]:
        raise SystemExit(f"{request['PATH_INFO']} was answered with {told}.")
    return body


def profile(requests: list[bytes], application: Any) -> tuple[dict[str, float], list[bytes]]:
    """The microseconds that an average call spends in each layer, and the answers."""
    samples: Counter[str] = Counter()

    def look(number: int, frame: FrameType | None) -> None:
        samples[_layer(frame)] += 1

    prepared = list(map(environ, requests))
    signal.signal(signal.SIGPROF, look)
    began, worked = time.perf_counter(), time.process_time()
    signal.setitimer(signal.ITIMER_PROF, EVERY, EVERY)
    answers = [call(request, application) for request in prepared]
    signal.setitimer(signal.ITIMER_PROF, 0)
    worked, took = time.process_time() - worked, time.perf_counter() - began
    per_call = 1e6 / len(requests)
    found = {layer: worked * per_call * count / samples.total() for layer, count in samples.most_common()}
    return {WAITING: (took - worked) * per_call, **found}, answers


def _layer(frame: FrameType | None) -> str:
    while frame is not None:
        for place, layer in LAYERS.items():
            if place in frame.f_code.co_filename:
                return layer
        frame = frame.f_back
    return "the rest"


def main() -> None:
    """Measure and print."""
    with databases("perma_payments", durable=True) as (url,):
        use_django(url)
        from perma_payments.tests import records
        from perma_payments.wsgi import application

        records.standing_agreement()
        records.paid_purchase()
        of_journey = {}
        run = partial(profile, application=application)
        for number in (300, 3_000):  # The first warm up.
            of_journey[STATUS], _ = run(list(islice(Customers(url, at_most=1).about(STATUS), number)))
            of_journey[SUBSCRIBE], pages = run(list(islice(subscriptions(), number)))
            of_journey[CALLBACK], _ = run(payments(pages))
    for journey, layers in of_journey.items():
        total = sum(layers.values())
        print(f"\n{journey}: {total:.0f} µs, of which {total - layers[WAITING]:.0f} µs are work")
        for layer, microseconds in layers.items():
            print(f"  {layer:28}{microseconds:6.0f} µs{microseconds / total:5.0%}")


if __name__ == "__main__":
    main()
