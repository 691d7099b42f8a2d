"""The yardstick: the least that a web server can do to answer ``/subscription/`` over the same two boxes.

No framework, no settings, no time limits, no log; one connection for each thread, two plain queries in one
statement. ``gunicorn bench.bare:application --worker-class gthread`` runs it in as many threads as the service.
"""

import base64
import json
import os
import threading
import time
from collections.abc import Callable, Iterable
from typing import Any
from urllib.parse import parse_qs

import psycopg2
from nacl.public import Box, PrivateKey, PublicKey

from perma_payments.tests.perma_cc import PERMA_PAYMENTS_SECRET, PERMA_PUBLIC

BOX = Box(PrivateKey(PERMA_PAYMENTS_SECRET), PublicKey(PERMA_PUBLIC))
SQL = """
SELECT agreement.*, purchase.* FROM (SELECT 1) AS one
LEFT JOIN (
    SELECT status, reference_number, current_rate, current_frequency, current_link_limit, covered_until
    FROM perma_payments_subscriptionagreement
    WHERE customer_type = %(customer_type)s AND customer_pk = %(customer_pk)s
        AND (status IN ('Current', 'Hold') OR status = 'Canceled' AND covered_until >= now())
    ORDER BY status = 'Canceled', created_at, id LIMIT 1
) AS agreement ON TRUE
LEFT JOIN (
    SELECT id, link_quantity FROM perma_payments_purchase
    WHERE customer_type = %(customer_type)s AND customer_pk = %(customer_pk)s
        AND status = 'Paid' AND acknowledged_at IS NULL
    ORDER BY id LIMIT 1
) AS purchase ON TRUE
"""

_local = threading.local()


def application(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
    """Answer a POST of a sealed message about a customer, and any GET with nothing. See PEP 3333."""
    if environ["REQUEST_METHOD"] == "GET":
        start_response("200 OK", [("Content-Length", "0")])
        return []
    body = environ["wsgi.input"].read(int(environ["CONTENT_LENGTH"]))
    message = json.loads(BOX.decrypt(base64.b64decode(parse_qs(body.decode())["encrypted_data"][0])))
    if not hasattr(_local, "connection"):
        _local.connection = psycopg2.connect(os.environ["DATABASE_URL"])
        _local.connection.autocommit = True
    with _local.connection.cursor() as cursor:
        cursor.execute(SQL, message)
        status, number, rate, frequency, limit, until, purchase, links = cursor.fetchone()
    reply = {
        "timestamp": time.time(),
        "customer_pk": message["customer_pk"],
        "customer_type": message["customer_type"],
        "subscription": {
            "status": status,
            "reference_number": number,
            "rate": str(rate),
            "frequency": frequency,
            "link_limit": limit,
            "paid_through": str(until),
        },
        "purchases": [{"id": purchase, "link_quantity": links}],
    }
    sealed = base64.b64encode(BOX.encrypt(json.dumps(reply).encode())).decode()
    answer = json.dumps({"encrypted_data": sealed}).encode()
    start_response("200 OK", [("Content-Type", "application/json"), ("Content-Length", str(len(answer)))])
    return [answer]
