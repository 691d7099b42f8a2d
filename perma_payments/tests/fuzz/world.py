"""The service with some records. What a case did is looked at, then undone, so each finds them as they were."""

import json
import logging
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from decimal import Decimal
from io import BytesIO
from typing import Any
from urllib.parse import urlencode

from django.conf import settings
from django.contrib import admin
from django.contrib.auth.models import Group, User
from django.core.cache import cache
from django.core.signals import request_finished, request_started
from django.db import close_old_connections, connection, transaction
from django.test import Client
from django.urls import NoReverseMatch, URLPattern, reverse
from django.utils import timezone

from perma_payments.billing.customers import Customer, CustomerType
from perma_payments.billing.transactions import Kind
from perma_payments.logs import NoValuesFormatter
from perma_payments.models import Purchase, ReferenceNumber
from perma_payments.services.status_reports.plan import plan_report
from perma_payments.views.wsgi_request import Application

from .. import business_center, cyber_source, perma_cc, records
from ..conftest import FORM
from ..views.traces import MARKER
from .cases import Request, World


def build() -> World:
    """Customers in most states, and checkouts of every kind, answered or not."""
    now = timezone.now()
    customers = [Customer(kind, pk) for pk in (7, 8, 9, 10) for kind in CustomerType]
    r7, i7, r8, i8, r9, i9, r10, _ = customers
    standing = records.standing_agreement(r7, reference_number="PERMA-0000-0001")
    scheduled = {"scheduled_rate": Decimal("10.00"), "scheduled_link_limit": "10"}
    agreements = [
        standing,
        records.standing_agreement(i7, scheduled_from=now + timedelta(days=9), **scheduled),
        records.standing_agreement(r8, cancellation_requested_at=now),
        records.standing_agreement(i8, status="Hold"),
        records.standing_agreement(r9, status="Canceled"),
    ]
    pending = [records.agreement(i9), records.agreement(r10, status="Rejected")]
    purchases = [records.purchase(r7), records.paid_purchase(i7), records.paid_purchase(r8, acknowledged_at=now)]
    outgoing = [
        *[records.outgoing(Kind.SUBSCRIBE, each) for each in pending],
        *[records.outgoing(Kind.CHANGE, each) for each in agreements[:3]],
        *[records.outgoing(Kind.UPDATE, each) for each in agreements],
        *[records.outgoing(Kind.PURCHASE, each) for each in purchases],
    ]
    answered = records.outgoing(Kind.UPDATE, standing)
    response = cyber_source.response(records.form(answered))
    assert Client().post("/cybersource-callback/", urlencode(response), content_type=FORM).status_code == 200
    staff = User.objects.create_user("staff", password="x", is_staff=True)
    staff.groups.set(Group.objects.all())
    plan_report(business_center.report((standing, "HOLD")), by=staff, now=now)
    client = Client()
    client.force_login(staff)
    return World(
        customers=customers,
        forms=[records.form(each) for each in [*outgoing, answered]],
        answered=response,
        references=[each.reference_number for each in [*agreements, *pending]] + [ReferenceNumber.issue()],
        purchases=[*Purchase.objects.values_list("pk", flat=True), 10**6],
        payments=["x", *[str(each.transaction_uuid) for each in outgoing[-3:]]],
        session=client.cookies["sessionid"].value,
        pages=pages(),
    )


def pages() -> list[str]:
    """The admin's addresses, with 1 for each id in them."""
    found = [reverse("admin:index"), reverse("admin:search"), reverse("admin:customer", args=["Registrar", 7])]
    for model in admin.site._registry:
        for pattern in admin.site._registry[model].get_urls():
            if isinstance(pattern, URLPattern) and pattern.name:
                try:
                    found.append(reverse(f"admin:{pattern.name}", args=[1] * len(pattern.pattern.converters)))
                except NoReverseMatch:  # named as other sites name it
                    continue
    return found


# --- Sending ----------------------------------------------------------------------------------------------


@dataclass
class Done:
    """What became of a case."""

    statuses: list[int] = field(default_factory=list)
    wrong: list[str] = field(default_factory=list)
    wrote: bool = False
    log: str = ""


class Log(logging.Handler):
    """What the service logs, as it writes it."""

    def __init__(self) -> None:
        super().__init__()
        self.lines: list[str] = []
        self.setFormatter(NoValuesFormatter("{levelname} {name}: {message}", style="{"))

    def emit(self, record: logging.LogRecord) -> None:
        self.lines.append(self.format(record))


@contextmanager
def one_connection() -> Iterator[None]:
    """Requests leave the database connection open, which they close, as it has not committed yet."""
    for signal in (request_started, request_finished):
        signal.disconnect(close_old_connections)
    try:
        yield
    finally:
        for signal in (request_started, request_finished):
            signal.connect(close_old_connections)


@contextmanager
def logged() -> Iterator[Log]:
    """The log alone, without whatever else collects it: a long run would fill the memory."""
    root, log = logging.getLogger(), Log()
    others, root.handlers = root.handlers, [log]
    try:
        yield log
    finally:
        root.handlers = others


class Fuzzed:
    """The service, which is sent one request after the other."""

    def __init__(self, world: World, log: Log) -> None:
        self.world, self._log, self._application = world, log, Application()
        self._as_it_was = self._rows()

    def try_case(self, request: Request) -> Done:
        """Send a request, look at what it did, and undo that."""
        done = Done()
        self._log.lines.clear()
        cache.clear()
        with transaction.atomic():
            # Work that is to be committed for itself may be part of this.
            connection.atomic_blocks[-1]._from_testcase = True
            before = self._has_written()
            assert not before
            self._send_in_turn(request, done)
            done.wrote = self._has_written()
            if done.wrote and (request.is_forged or request.method in ("GET", "HEAD") or done.statuses[0] >= 400):
                if self._rows() != self._as_it_was:
                    done.wrong.append("it changed something, and must not")
            elif done.wrote and not done.wrong:
                self._check_replies(request.customer, done)
            transaction.set_rollback(True)
        self._check_log(request, done)
        return done

    def _send_in_turn(self, request: Request, done: Done) -> None:
        try:
            status, location, _ = self._send(request)
            done.statuses.append(status)
            if request.follow and status == 302 and re.search(r"/statusreport/\d+/change/$", location):
                done.statuses.append(self._send(request.follow(location))[0])
                if done.statuses[-1] not in (200, 302):
                    done.wrong.append("a report that was taken has no page")
        except Exception as error:  # past everything that turns errors into pages
            done.statuses.append(500)
            done.wrong.append(f"{type(error).__name__} left the application")
        if max(done.statuses) >= 500:
            done.wrong.append("a 5xx")

    def _send(self, request: Request) -> tuple[int, str, bytes]:
        """The status, the Location and the body of the answer."""
        environ: dict[str, Any] = {
            "REQUEST_METHOD": request.method,
            "SCRIPT_NAME": "",
            # As WSGI has it: bytes as if they were Latin-1.
            "PATH_INFO": request.path.encode("utf-8", "surrogatepass").decode("latin-1"),
            "QUERY_STRING": request.query.encode("utf-8", "surrogatepass").decode("latin-1"),
            "CONTENT_TYPE": request.content_type,
            "CONTENT_LENGTH": str(len(request.body)),
            "REMOTE_ADDR": "192.0.2.1",
            "SERVER_NAME": "localhost",
            "SERVER_PORT": "80",
            "SERVER_PROTOCOL": "HTTP/1.1",
            "HTTP_HOST": "localhost",
            "wsgi.version": (1, 0),
            "wsgi.url_scheme": "http",
            "wsgi.input": BytesIO(request.body),
            "wsgi.input_terminated": True,
            "wsgi.errors": BytesIO(),
            "wsgi.multithread": False,
            "wsgi.multiprocess": True,
            "wsgi.run_once": False,
            **request.environ,
        }
        answer: list[tuple[int, str]] = []

        def start_response(status: str, headers: list[tuple[str, str]]) -> None:
            answer.append((int(status[:3]), dict(headers).get("Location", "")))

        response = self._application(environ, start_response)
        body = b"".join(response)
        response.close()
        return *answer[-1], body

    # --- Looking ----------------------------------------------------------------------------------------

    def _has_written(self) -> bool:
        """Whether the case's transaction has changed, or even locked, a row: PostgreSQL numbers only those."""
        with connection.cursor() as cursor:
            cursor.execute("SELECT pg_current_xact_id_if_assigned() IS NOT NULL")
            (wrote,) = cursor.fetchone()
        return bool(wrote)

    def _rows(self) -> list[tuple[str, int, str]]:
        """Each table's name, number of rows, and digest of them."""
        with connection.cursor() as cursor:
            cursor.execute("SELECT tablename FROM pg_tables WHERE schemaname = current_schema() ORDER BY 1")
            tables = [name for (name,) in cursor.fetchall()]
            cursor.execute(
                " UNION ALL ".join(
                    f"SELECT '{name}', count(*), coalesce(md5(string_agg(t::text, '|' ORDER BY t::text)), '')"
                    f' FROM "{name}" t'
                    for name in tables
                )
            )
            return list(cursor.fetchall())

    def _check_replies(self, customer: Customer, done: Done) -> None:
        about = {"customer_pk": customer.pk, "customer_type": str(customer.type)}
        for route in ("subscription", "purchase-history"):
            form = urlencode(perma_cc.form(route, **about)).encode()
            status, _, body = self._send(Request(method="POST", path=f"/{route}/", body=form, customer=customer))
            if status != 200:
                done.wrong.append(f"then /{route}/ answers {status}")
                return
            try:
                perma_cc.check_reply(perma_cc.open_reply(json.loads(body)))
            except Exception as error:
                done.wrong.append(f"then no client can read /{route}/: {error!r}")

    def _check_log(self, request: Request, done: Done) -> None:
        done.log = text = "\n".join(self._log.lines)
        if "Traceback" in text or "  File " in text or "CRITICAL" in text or "ERROR perma_payments" in text:
            done.wrong.append("the log reports an error")
        posted = {MARKER, str(settings.SECRET_KEY), self.world.session, records.TOKEN, business_center.TOKEN}
        told = [value for value in posted if value in text]
        told += set(cyber_source.personal_data_in([text])) - {"US", "MA", "001"}
        if told:
            done.wrong.append(f"the log tells {told}")
