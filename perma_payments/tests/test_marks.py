"""A drill: recognizable marks are sent in, wherever a person or a secret could be, and then looked for everywhere.

The service runs as it does on a server: Gunicorn, the scheduler, PostgreSQL and a mail server, each a process or a
port of its own. ``-s`` prints the figures.
"""

import base64
import re
import secrets
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import quote, quote_plus

import pytest
import requests
from bs4 import BeautifulSoup
from django.contrib import admin
from django.contrib.auth.models import User
from django.contrib.sessions.models import Session
from django.db import DataError, connection, transaction
from django.test import Client
from django.urls import reverse
from django_otp.plugins.otp_totp.models import TOTPDevice

from devtools.processes import eventually as wait_until
from perma_payments.admin.login import second_factors
from perma_payments.billing.transactions import Kind
from perma_payments.models import OutgoingTransaction, StaffTask, StatusReport, SubscriptionAgreement

from . import cyber_source, perma_cc, postgres_log, records
from .mail_server import Mailbox
from .test_faults import Service, serve, service, url_of_test_database  # noqa: F401 (fixtures)
from .test_scheduler_process import scheduler

LETTERS = "bcdfghjkmnpqrstvwxz"

# Addresses of the admin that have no page, or one that is always refused.
ONLY_POSTED = {"finish", "withdraw", "reopen", "claim", "release", "confirm", "discard", "undo", "add", "delete"}


# --- Marks ------------------------------------------------------------------------------------------


def word() -> str:
    """Ten letters that are in no word, no id and no other mark."""
    return "".join(secrets.choice(LETTERS) for _ in range(10)).capitalize()


def digits(count: int) -> str:
    return str(secrets.randbelow(9 * 10 ** (count - 1)) + 10 ** (count - 1))


@dataclass
class Marks:
    """What was made, by what it stands for."""

    made: dict[str, str] = field(default_factory=dict)

    def __call__(self, what: str, text: str) -> str:
        name = what
        number = 1
        while name in self.made:
            number += 1
            name = f"{what} {number}"
        self.made[name] = text
        return text

    def name(self, what: str = "name") -> str:
        return self(what, f"{word()} {word()}")

    def email(self) -> str:
        return self("email", f"{word()}@{word()}.example")

    def number(self, what: str, count: int) -> str:
        return self(what, digits(count))

    def found_in(self, texts: Iterable[str]) -> dict[str, set[str]]:
        """The marks that are in the texts, whole or in pieces, in small letters, percent-encoded or in base 64."""
        text = "\n".join(texts)
        small = text.lower()
        found: dict[str, set[str]] = {}
        for name, mark in self.made.items():
            spellings = {mark.lower(), quote(mark, safe="").lower(), quote_plus(mark).lower()}
            spellings |= {piece.lower() for piece in re.findall(r"[A-Za-z]{8,}|[0-9]{8,}", mark)}
            spellings |= {mark.lower().encode().hex()}
            hits = {each for each in spellings if each in small} | {each for each in _base64(mark) if each in text}
            if hits:
                found[name] = hits
        return found


def _base64(mark: str) -> Iterator[str]:
    """What base 64 makes of a mark alone, wherever in a longer text it begins."""
    for before in range(3):
        whole = b"\0" * before + mark.encode()
        encoded = base64.b64encode(whole).decode()
        yield encoded[-(before * -4 // 3) : len(whole) * 4 // 3]


def personal(marks: Marks) -> dict[str, str]:
    """The fields of a response that are about a person or a card, also of kinds that are not known."""
    person = {
        "req_bill_to_forename": marks.name("forename"),
        "req_bill_to_surname": marks.name("surname"),
        "req_bill_to_email": marks.email(),
        "req_bill_to_phone": marks.number("phone", 10),
        "req_bill_to_company_name": marks.name("company"),
        "req_bill_to_address_line1": marks("street", f"{digits(3)} {word()} Street"),
        "req_bill_to_address_city": marks.name("city"),
        "req_ship_to_surname": marks.name("surname"),
        "req_card_number": marks.number("card number", 16),
        "req_card_expiry_date": marks("expiry", f"11-{digits(8)}"),
        "req_customer_ip_address": marks("address", f"2001:db8:{digits(4)}:{digits(4)}::{digits(4)}"),
        "req_device_fingerprint_id": marks("device", word() * 3),
        "req_consumer_id": marks.email(),
        "request_token": marks("request token", word() * 4),
        "auth_code": marks("authorization code", word()),
        "decision_early_return": marks.name("unknown field"),
        "payer_authentication_xid": marks.name("unknown field"),
        "never_heard_of": marks.name("unknown field"),
    }
    everything = " | ".join(person.values())
    return {**person, "message": f"Invalid data: {everything}"[:255]}


def headers(marks: Marks) -> dict[str, str]:
    return {
        "User-Agent": marks("user agent", f"{word()}/{digits(4)}"),
        "Referer": f"https://{marks('referrer', word())}.example/?name={marks('query', word())}",
        "X-Forwarded-For": marks("forwarded", f"2001:db8:{digits(4)}:{digits(4)}::{digits(4)}"),
        "X-Request-ID": marks("request id", word()),
        "Cookie": f"{marks('cookie', word())}={marks('cookie', word())}",
        "Authorization": f"Basic {base64.b64encode(marks('authorization', word()).encode()).decode()}",
        "Accept-Language": marks("language", word()),
    }


# --- Places -----------------------------------------------------------------------------------------


def cells() -> Iterator[tuple[str, str]]:
    """Every value of every column of every table, as the column's name and text."""
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT table_name FROM information_schema.tables"
            " WHERE table_schema = current_schema() AND table_type = 'BASE TABLE'"
        )
        for (table,) in cursor.fetchall():
            cursor.execute(f'SELECT * FROM "{table}"')
            columns = [column.name for column in cursor.description]
            for row in cursor.fetchall():
                for column, value in zip(columns, row, strict=True):
                    text = bytes(value).decode("latin-1") if isinstance(value, memoryview) else str(value)
                    yield f"{table}.{column}", text
    for session in Session.objects.all():
        yield "django_session, decoded", str(session.get_decoded())


def tables_with(marks: Marks) -> dict[str, dict[str, set[str]]]:
    """The columns that have marks, and which."""
    by_column: dict[str, list[str]] = {}
    for column, text in cells():
        by_column.setdefault(column, []).append(text)
    return {column: hits for column, texts in by_column.items() if (hits := marks.found_in(texts))}


def texts_of(mailbox: Mailbox) -> Iterator[str]:
    for mail in mailbox.mails:
        yield mail.as_string()
        yield str(mail.get_content())


def admin_pages(client: Client) -> Iterator[tuple[str, str]]:
    """The address and the text of every page and every CSV that the admin has about every row."""
    urls = [reverse("admin:index"), reverse("admin:search"), reverse("admin:help")]
    for model, table in admin.site._registry.items():
        prefix = f"{model._meta.app_label}_{model._meta.model_name}_"
        for pattern in table.get_urls():
            if pattern.name is None:
                continue
            if pattern.name.removeprefix(prefix) in ONLY_POSTED:
                continue
            rows = list(model._default_manager.all()) if pattern.pattern.converters else [None]
            urls += [reverse(f"admin:{pattern.name}", args=[row.pk] if row else []) for row in rows]
        assert reverse(f"admin:{prefix}changelist") in urls
    urls.append(reverse("admin:customer", args=["Registrar", 7]))
    for url in urls:
        response = client.get(url)
        content = b"".join(response.streaming_content) if response.streaming else response.content
        yield url, content.decode()


class Staff:
    """A member of staff at a browser."""

    def __init__(self, service: Service, client: Client) -> None:
        self.service = service
        self.session = requests.Session()
        self.session.trust_env = False
        self.session.cookies.set("sessionid", client.cookies["sessionid"].value)

    def fill_in(self, path: str, *, to: str = "", files: Any = None, **fields: str) -> requests.Response:
        """Open a page, and send its form, to another address if one is given."""
        page = BeautifulSoup(self.session.get(f"{self.service.url}{path}", timeout=30).text, "html.parser")
        token = page.find("input", {"name": "csrfmiddlewaretoken"})
        assert token is not None, path
        hidden = {each["name"]: each.get("value", "") for each in page.select("input[type=hidden][name]")}
        return self.session.post(
            f"{self.service.url}{to or path}",
            data={**hidden, **fields},
            files=files,
            headers={"Referer": self.service.url},
            timeout=30,
        )


# --- The drill --------------------------------------------------------------------------------------


@pytest.mark.django_db(transaction=True)
def test_no_mark_of_a_person_or_a_secret_is_left_anywhere(service: Service, mailbox, settings, client):
    postgres = postgres_log.reading_from_now()
    strangers, secret_ones, notes, typed = Marks(), Marks(), Marks(), Marks()
    client.force_login(an_account(secret_ones))
    staff = Staff(service, client)

    with scheduler(settings) as clock:
        from_perma(service, strangers)
        agreement = from_cybersource(service, strangers, secret_ones)
        from_reports(staff, agreement, strangers)
        from_logins(service, strangers)
        from_staff(staff, strangers, notes)
        wait_until(lambda: not StaffTask.objects.filter(notified_at=None).exists(), 20)
        in_postgres = typed("typed", word())
        with pytest.raises(DataError), transaction.atomic(), connection.cursor() as cursor:
            cursor.execute("SELECT CAST(%s AS integer)", [in_postgres])
        logs = {"web": service.log(), "scheduler": clock.printed(), "PostgreSQL": postgres()}

    pages = dict(admin_pages(client))
    columns = tables_with(strangers)
    places = {
        **{f"log of {name}": strangers.found_in([log]) for name, log in logs.items()},
        "mails": strangers.found_in(texts_of(mailbox)),
        **{url: strangers.found_in([text]) for url, text in pages.items()},
    }
    print(
        f"\n{len(strangers.made)} marks of people, {len(secret_ones.made)} secrets; {len(pages)} pages, "
        f"{len(mailbox.mails)} mails, {sum(map(len, logs.values())):,} characters of logs;",
        f"found {sum(map(len, columns.values())) + sum(map(len, places.values()))}",
    )
    assert columns == {}
    assert {place: hits for place, hits in places.items() if hits} == {}

    # What was meant to be kept is found, so anything else would have been.
    assert {column: set(hits) for column, hits in tables_with(secret_ones).items()} == {
        "perma_payments_subscriptionagreement.payment_token": {"token"},
        "auth_user.password": {"hash"},
        "otp_totp_totpdevice.key": {"key of the app"},
        "otp_static_statictoken.token": {"recovery code"},
    }
    assert secret_ones.found_in([*logs.values(), *texts_of(mailbox), *pages.values()]) == {}
    assert {"perma_payments_stafftask.note", "perma_payments_stafftaskevent.note"} <= set(tables_with(notes))
    assert sum(bool(notes.found_in([text])) for text in pages.values()) >= 2
    assert notes.found_in([*logs.values(), *texts_of(mailbox)]) == {}
    # A statement that fails is what PostgreSQL logs.
    assert typed.found_in([logs["PostgreSQL"]])
    assert f"for transaction {agreement.transactions.get()}" in logs["web"]
    assert f"staff task {StaffTask.objects.earliest('id').pk} mailed" in logs["scheduler"]
    assert agreement.reference_number in "".join(texts_of(mailbox))


def an_account(secret_ones: Marks) -> User:
    """A superuser with a second factor."""
    user = User.objects.create_superuser("root", "root@staff.example", "x")
    codes = second_factors.add(user).recovery_codes
    secret_ones("hash", user.password.rpartition("$")[2])
    secret_ones("key of the app", TOTPDevice.objects.get().key)
    secret_ones("recovery code", codes[0].replace("-", "").replace(" ", ""))
    return user


def from_perma(service: Service, marks: Marks) -> None:
    """Messages with names in them, also wrong ones, and requests that are none."""
    for route in ("subscribe", "change", "update", "cancel-request", "subscription", "purchase"):
        for changes in (
            {"customer_name": marks.name("customer_name")},
            {"customer_email": marks.email()},
            {"customer_type": marks.name("customer_type")},
            {"customer_pk": marks.name("customer_pk")},
            {"amount": marks.name("amount"), "recurring_frequency": marks.name("frequency")},
            {marks("unknown key", word()): marks.name("unknown value")},
        ):
            service.post(route, perma_cc.form(route, **changes))
    service.post("subscribe", {"encrypted_data": marks("no box", word())})
    service.post("subscribe", {marks("unknown key", word()): marks.name("unknown value")})
    service.post("subscribe", {"encrypted_data": perma_cc.seal(marks.name("no JSON").encode())})
    portal = service.post("billing", perma_cc.form("billing", customer_pk=7, email=marks.email()))
    assert portal.status_code < 500
    sent = headers(marks)
    # The path and the host are not looked for: which address was asked for is what logs are for.
    for path in ("/nothing/", f"/?name={marks('query', word())}", "/portal/", "/return/"):
        answer = requests.get(f"{service.url}{path}", headers=sent, timeout=30, allow_redirects=False)
        assert answer.status_code < 500


def from_cybersource(service: Service, marks: Marks, tokens: Marks) -> SubscriptionAgreement:
    """Responses of every decision, with and without a right signature. Returns what was paid for."""

    person, sent = personal(marks), headers(marks)

    def deliver(form: dict[str, str], decision: str, **changes: Any) -> requests.Response:
        fields = cyber_source.response(form, decision, **{**person, **changes})
        return requests.post(f"{service.url}/cybersource-callback/", data=fields, headers=sent, timeout=30)

    outgoing = records.outgoing(Kind.SUBSCRIBE)
    form = records.form(outgoing)
    token = tokens.number("token", 22)
    for decision in ("DECLINE", "ERROR", "CANCEL", "ACCEPT", "REVIEW"):
        with_token = {"payment_token": token} if decision == "ACCEPT" else {"payment_token": ...}
        assert deliver(form, decision, **with_token).status_code == 200
        unsigned = {marks("unknown key", word()): marks.name("unsigned"), "utf8": marks.name("unsigned")}
        assert deliver(form, decision, payment_token=..., unsigned=unsigned).status_code == 200
    for wrong in (
        {"secret": "0" * 64},
        {"req_access_key": marks("access key", word())},
        {"req_profile_id": marks.name("profile")},
        {"signed_field_names": f"decision,{marks('signed name', word())}"},
        {marks("no name", f"{word()} {word()}"): "x"},
    ):
        assert deliver(form, "ACCEPT", **wrong).status_code == 400
    bought = records.form(records.outgoing(Kind.PURCHASE))
    for odd in (
        {"reason_code": marks.name("reason_code")},
        {"decision": marks.name("decision")},
        {"transaction_id": marks.name("transaction_id")},
        {"auth_amount": marks.name("auth_amount")},
        {"req_reference_number": marks.name("reference")},
        {"req_transaction_uuid": marks.name("uuid")},
        {"payment_token": f"{marks.name('token')}"},
        {"signed_date_time": marks.name("time")},
    ):
        assert deliver(bought, odd.pop("decision", "ACCEPT"), **odd).status_code == 200
    fields = cyber_source.response(bought, **person)
    assert service.post("return", fields).status_code in (302, 303)
    agreement = outgoing.agreement
    assert agreement is not None
    agreement.refresh_from_db()
    assert agreement.payment_token == token
    return agreement


def from_reports(staff: Staff, agreement: SubscriptionAgreement, marks: Marks) -> None:
    """Status reports with customers' names: a right one, shifted ones, and files that are none."""
    header = "Subscription ID,Merchant Reference Code,Customer Name,Amount,Currency,Status,Frequency"
    number = agreement.reference_number

    def rows() -> Iterator[str]:
        name, token = marks.name, marks.number
        yield f'{token("id", 22)},{number},"{name()}",45.00,USD,HOLD,monthly'
        yield f"{token('id', 22)},{number},{name()},45.00,USD,{name()},monthly"  # a name for a status
        yield f"{token('id', 22)},PERMA-0000-0000,{name()},45.00,USD,{marks('status', word())},monthly"
        yield f"{marks('id', word() * 3)},{name()},{number},{name()},USD,CURRENT,{name()}"  # shifted
        yield f"{name()},{token('id', 22)},{number},45.00,{name()},CANCELED,{name()}"
        yield f"{name()},{word()},{name()},CURRENT"  # too few cells
        yield f'{token("id", 22)},{number},"{name()},45.00,USD,HOLD,monthly'  # a quote that never ends
        yield f"{token('id', 22)},{marks('reference', word() + digits(4))},{name()},1,USD,CURRENT,monthly"

    files = ["\n".join([header, *rows()]), f"{marks.name()},Status\n{marks.name()},x", f"%PDF-{marks.name()}"]
    files.append("\n".join([f"Prepared by {marks.name()}", f"Status,Status,{marks.name()}", marks.name()]))
    for text in files:
        name = f"{marks('file name', word())}.csv"
        page = staff.fill_in("/admin/perma_payments/statusreport/upload/", files={"report": (name, text)})
        assert page.status_code == 200
    report = StatusReport.objects.get()
    assert report.unread_rows


def from_logins(service: Service, marks: Marks) -> None:
    """Failed logins, and requests for a new password."""
    stranger = requests.Session()
    for path, fields in (
        ("/admin/login/", {"username": marks.name("username"), "password": marks.name("password")}),
        ("/admin/login/", {"username": "root", "password": marks.name("password")}),
        ("/admin/password_reset/", {"email": marks.email()}),
    ):
        page = BeautifulSoup(stranger.get(f"{service.url}{path}", timeout=30).text, "html.parser")
        token = page.find("input", {"name": "csrfmiddlewaretoken"})["value"]  # type: ignore[index]
        data = {**fields, "csrfmiddlewaretoken": token}
        answer = stranger.post(f"{service.url}{path}", data=data, headers={"Referer": service.url}, timeout=30)
        assert answer.status_code == 200
    # A form that is kept over the login, and is then lost.
    stranger.post(f"{service.url}/admin/perma_payments/stafftask/1/finish/", data={"note": marks.name("unsent")})


def from_staff(staff: Staff, marks: Marks, notes: Marks) -> None:
    """Searches for names, what is pasted from the Business Center, and notes, which are kept."""
    for query in ("search/?q={}", "perma_payments/response/?q={}", "perma_payments/response/?decision={}"):
        path = f"/admin/{query.format(quote_plus(marks.name('search')))}"
        assert staff.session.get(f"{staff.service.url}{path}", timeout=30).status_code == 200
    unpaid = OutgoingTransaction.objects.exclude(responses__decision="ACCEPT").filter(kind=Kind.PURCHASE).first()
    unpaid = unpaid or records.outgoing(Kind.PURCHASE)
    table = (
        "Request ID,Merchant Reference Number,Last Name,First Name,Amount,Currency,Date and Time\n"
        f"{digits(22)},{unpaid.reference_number},{marks.name()},{marks.name()},15.00,USD,Dec 01 2026 06:26:15 PM"
    )
    path = f"/admin/perma_payments/outgoingtransaction/{unpaid.pk}/correct/"
    assert staff.fill_in(path, pasted=table, reason="Found it.").status_code == 200
    assert staff.fill_in(path, pasted=marks.name("pasted"), reason="Found it.").status_code == 200
    task = StaffTask.objects.filter(done_at=None).earliest("id")
    path = f"/admin/perma_payments/stafftask/{task.pk}/"
    assert staff.fill_in(f"{path}change/", to=f"{path}finish/", note=notes.name("note")).status_code == 200
