"""Requests of every kind that the service answers: valid ones, damaged at some of their layers."""

import base64
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from datetime import timedelta
from random import Random
from typing import Any
from urllib.parse import quote, urlencode

from django.utils import timezone

from perma_payments.billing.customers import Customer
from perma_payments.views import tokens
from perma_payments.views.tokens import Purpose

from .. import business_center, cyber_source, perma_cc
from ..conftest import FORM
from . import damage
from .dice import Dice


@dataclass(frozen=True, kw_only=True)
class World:
    """What there is when a case begins, and when it has ended."""

    customers: list[Customer]
    forms: list[Mapping[str, str]]  # signed forms of checkouts
    answered: Mapping[str, str]  # a response that has been received already
    references: list[str]
    purchases: list[int]
    payments: list[str]
    session: str  # of someone who may do what billing staff may
    pages: list[str]  # of the admin


@dataclass(frozen=True, kw_only=True)
class Request:
    """A request, and what is known about it.

    ``is_forged`` says that its sender lacks the key, the secret, or the session that it takes, so it must do
    nothing. ``follow`` is called with the Location of a redirect, for the request to send next.
    """

    method: str
    path: str
    body: bytes = b""
    content_type: str = FORM
    query: str = ""
    environ: Mapping[str, str] = field(default_factory=dict)
    customer: Customer
    is_forged: bool = False
    follow: "Callable[[str], Request] | None" = None


CSRF = "abcdefghijklmnopqrstuvwxyzABCDEF"


# --- Layers that all kinds have in common -------------------------------------------------------------


def form_body(fields: Mapping[str, str], dice: Dice) -> bytes:
    pairs = list(fields.items())

    def again(pairs: list[tuple[str, str]], own: Random) -> list[tuple[str, str]]:
        name, value = own.choice([*pairs, ("utf8", "✓")])
        return [*pairs, (name, own.choice([value, *damage.ODD_TEXTS]))]

    pairs = dice.damage(pairs, [again, lambda pairs, own: own.sample(pairs, len(pairs))], often=0.1)
    body = urlencode(pairs, errors="surrogatepass").encode()
    return dice.damage(
        body,
        [
            damage.some_bytes,
            damage.some_bytes,
            lambda body, own: body + own.choice([b"&", b"%", b"%00", b"&%ff=%ff", b";x=y", b"\x00", b"&" * 600]),
            lambda body, own: body.replace(b"%", b"%25"),
            lambda body, own: body.replace(b"=", b"%3D"),
            lambda body, own: body.replace(b"&", own.choice([b";", b"&&", b"&amp;"])),
            lambda body, own: body + b"&x=" + b"x" * own.choice([1000, 270_000]),
            lambda body, own: damage.another_encoding(body.decode(), own),
        ],
        often=0.12,
    )


def multipart(fields: Mapping[str, str | bytes], file: str = "", boundary: str = "boundary") -> bytes:
    """A multipart form, in which the field ``file`` is a file."""
    parts = []
    for name, value in fields.items():
        data = value if isinstance(value, bytes) else value.encode("utf-8", "surrogatepass")
        head = f'--{boundary}\r\nContent-Disposition: form-data; name="{name}"'
        head += '; filename="report.csv"\r\nContent-Type: text/csv' if name == file else ""
        parts.append(head.encode("utf-8", "surrogatepass") + b"\r\n\r\n" + data + b"\r\n")
    return b"".join([*parts, f"--{boundary}--\r\n".encode()])


MULTIPART = "multipart/form-data; boundary=boundary"
CONTENT_TYPES = [
    "",
    "text/plain",
    "text/plain; charset=utf-7",
    "application/json",
    MULTIPART,
    f"{MULTIPART}; charset=utf-7",
    f"{FORM}; charset=utf-7",
    f"{FORM}; charset=utf-16",
    f"{FORM}; charset=no-such",
    f"{FORM}; charset*=utf-8''a%00",
    f"{FORM.upper()}; charset=UTF-8",
    "multipart/form-data",
    "multipart/mixed; boundary=x",
    "\x00",
    ";",
    FORM + ",text/plain",
]
HEADERS = [
    ("HTTP_ACCEPT", "text/html"),
    ("HTTP_SEC_FETCH_MODE", "navigate"),
    ("HTTP_HOST", "evil.example"),
    ("HTTP_HOST", "localhost:99999999"),
    ("HTTP_X_FORWARDED_FOR", "x, \x00, ::"),
    ("HTTP_X_FORWARDED_PROTO", "https"),
    ("HTTP_X_HTTP_METHOD_OVERRIDE", "DELETE"),
    ("HTTP_ACCEPT_ENCODING", "gzip, \x00"),
    ("HTTP_ACCEPT_LANGUAGE", "x" * 5000),
    ("HTTP_COOKIE", "sessionid=\x00; csrftoken=\xe9; messages=x"),
    ("HTTP_REFERER", "http://[::1"),
    ("HTTP_ORIGIN", "null"),
    ("HTTP_IF_MODIFIED_SINCE", "x"),
    ("HTTP_TRANSFER_ENCODING", "chunked"),
    ("HTTP_RANGE", "bytes=0-1,-9"),
    ("CONTENT_LENGTH", "999999999999"),
    ("CONTENT_LENGTH", "3"),
]
METHODS = ["GET", "HEAD", "PUT", "DELETE", "OPTIONS", "PATCH", "TRACE", "post", "X" * 90]


def transport(request: Request, dice: Dice) -> Request:
    """Damage everything around the body."""

    def path(request: Request, own: Random) -> Request:
        old = request.path
        others = [
            old[:-1],
            old + "/",
            "/" + old,
            old.upper(),
            old + "\x00",
            old + "x/",
            old + "é",
            old + "..",
            old + ";x",
        ]
        return replace(request, path=own.choice(others))

    def header(request: Request, own: Random) -> Request:
        name, value = own.choice(HEADERS)
        return replace(request, environ={**request.environ, name: value})

    return dice.damage(
        request,
        [
            header,
            header,
            lambda request, own: replace(request, content_type=own.choice(CONTENT_TYPES)),
            lambda request, own: replace(request, content_type=own.choice(CONTENT_TYPES)),
            lambda request, own: replace(request, method=own.choice(METHODS)),
            path,
            lambda request, own: replace(
                request, query=own.choice(["token=x", "%ff=%ff", "a" * 3000, "x=+2AA-", "&&="])
            ),
        ],
        often=0.2,
    )


# --- Perma.cc's messages ------------------------------------------------------------------------------


def message(world: World, dice: Dice) -> Request:
    own = dice.random
    route = own.choice(list(ROUTES))
    customer = own.choice(world.customers)
    fields: dict[str, Any] = perma_cc.fields(route, now=timezone.now() - timedelta(seconds=own.choice([0, 0, 60])))
    if "customer_pk" in fields:
        fields |= {"customer_pk": customer.pk, "customer_type": str(customer.type)}
    if "purchase_pk" in fields:
        fields["purchase_pk"] = own.choice(world.purchases)
    others = perma_cc.fields(own.choice(list(ROUTES)))
    fields = dice.damage(fields, [*damage.FIELDS, lambda fields, own: others])
    fields = dice.damage(fields, damage.FIELDS, often=0.05)
    text = dice.damage(damage.as_json(fields), damage.JSON, often=0.15)
    box = base64.b64decode(perma_cc.seal(text, nonce=own.randbytes(24)))
    bad_box = dice.damage(box, damage.BOX, often=0.1)
    encrypted = dice.damage(base64.b64encode(bad_box).decode(), damage.BASE64, often=0.1)
    form = dice.damage({"encrypted_data": encrypted}, [damage.one_field_more, damage.one_field_less], often=0.1)
    request = Request(
        method="POST",
        path=f"/{route}/",
        body=form_body(damage.texts(form), dice),
        customer=customer,
        is_forged=bad_box != box,
    )
    return transport(request, dice)


ROUTES = (
    "subscribe",
    "change",
    "update",
    "billing",
    "cancel-request",
    "purchase",
    "subscription",
    "purchase-history",
    "acknowledge-purchase",
)


# --- CyberSource's responses --------------------------------------------------------------------------


def callback(world: World, dice: Dice) -> Request:
    own = dice.random
    form = own.choice(world.forms)
    decision = own.choice(["ACCEPT", "ACCEPT", "REVIEW", "DECLINE", "ERROR", "CANCEL", "OTHER"])
    fields: dict[str, Any] = cyber_source.response(
        form, decision, transaction_id=str(own.randrange(10**21, 10**22))
    )
    if own.random() < 0.2:
        fields = dict(world.answered)
    signed = {name: value for name, value in fields.items() if name != "signature"}
    # What CyberSource would sign, however odd it is.
    signed = dice.damage(
        signed, [damage.odd_text, damage.nearly_the_same, damage.one_field_less, damage.one_field_more]
    )
    signed = damage.texts(dice.damage(signed, [damage.odd_text, damage.nearly_the_same], often=0.1))
    names = signed.get("signed_field_names", "").split(",")
    games: list[Callable[[list[str], Random], list[str]]] = [
        lambda names, own: own.sample(names, len(names)),
        lambda names, own: names[: own.randrange(len(names) + 1)],
        lambda names, own: [*names, own.choice([*names, "", "signature", "absent", "é", "a=b", "decision "])],
        lambda names, own: [name.upper() for name in names],
        lambda names, own: sorted(name for name in names if name != own.choice(names)),
    ]
    names = dice.damage(names, games, often=0.08)
    signed["signed_field_names"] = ",".join(names)
    posted = {**signed, "signature": signature(signed)}
    sent = dice.damage(posted, damage.SIGNATURE, often=0.3)
    sent = dice.damage(
        sent, [lambda sent, own: {**sent, "signature": signature(sent, "d0ffee00" * 32)}], often=0.04
    )
    forged = sent != posted
    sent = dice.damage(sent, [damage.one_field_more], often=0.1)
    path = own.choice(["/cybersource-callback/", "/cybersource-callback/", "/return/"])
    request = Request(
        method="POST",
        path=path,
        body=form_body(damage.texts(sent), dice),
        customer=own.choice(world.customers),
        is_forged=forged,
    )
    return transport(request, dice)


def signature(fields: Mapping[str, str], secret: str = cyber_source.SECRET) -> str:
    try:
        return cyber_source.sign(fields, secret)
    except UnicodeEncodeError:  # half a character cannot be signed
        return "A" * 43 + "="


def own_form(world: World, dice: Dice) -> Request:
    """Our own signed form, sent back by the customer who has it."""
    own = dice.random
    form = own.choice(world.forms)
    echo = {f"req_{name}": value for name, value in form.items()}
    response = {"decision": "ACCEPT", "message": "x", "reason_code": "100", "transaction_id": "7"}
    fields = own.choice([dict(form), {**form, **response}, {**form, **echo, **response}, {**echo, **response}])
    fields = damage.texts(dice.damage(fields, damage.FIELDS, often=0.5))
    path = own.choice(["/cybersource-callback/", "/return/", *[f"/{route}/" for route in ROUTES]])
    request = Request(
        method="POST",
        path=path,
        body=form_body(fields, dice),
        customer=own.choice(world.customers),
        is_forged=True,
    )
    return transport(request, dice)


# --- The portal -----------------------------------------------------------------------------------------

PAGES = {"": Purpose.MANAGE, "cancel/": Purpose.MANAGE, "receipt/": Purpose.BILLING}
ACTIONS = {"update-card/": Purpose.UPDATE_CARD, "cancel/confirm/": Purpose.CANCEL, "keep/": Purpose.KEEP}


def portal(world: World, dice: Dice) -> Request:
    own = dice.random
    customer = own.choice(world.customers)
    page, purpose = own.choice(list({**PAGES, **ACTIONS}.items()))
    begun = timezone.now() - timedelta(minutes=own.choice([0, 0, 0, 0, 45]))
    purpose = dice.damage(purpose, [lambda purpose, own: own.choice(list(Purpose))], often=0.1)
    good = tokens.begin(customer, purpose, now=begun)
    token = dice.damage(good, [damage.some_characters, lambda token, own: own.choice(damage.ODD_TEXTS)])
    fields = {"token": token, "payment": own.choice(world.payments), "done": own.choice(["", "cancel", "keep"])}
    fields = damage.texts(dice.damage(fields, damage.FIELDS, often=0.1))
    request = Request(
        method="GET" if page in PAGES else "POST",
        path=f"/portal/{page}",
        customer=customer,
        is_forged=token != good,
    )
    if request.method == "GET":
        query = dice.damage(urlencode(fields, errors="surrogatepass"), [damage.some_characters], often=0.1)
        query = quote(query, safe="%&=+", errors="surrogatepass")
        return transport(replace(request, query=query, content_type=""), dice)
    return with_csrf(request, fields, dice)


def with_csrf(request: Request, fields: Mapping[str, str], dice: Dice, cookie: str = "") -> Request:
    """A form of ours as a browser sends it: with Django's token, unless that is damaged, too."""
    own = dice.random
    sent = dice.damage(CSRF, [damage.some_characters, lambda token, own: ""], often=0.08)
    fields = {**fields, "csrfmiddlewaretoken": sent}
    request = replace(
        request, environ={"HTTP_COOKIE": f"csrftoken={CSRF}{cookie}"}, is_forged=request.is_forged or sent != CSRF
    )
    if own.random() < 0.3:
        charset = own.choice(["", "", "; charset=utf-7", "; charset=utf-16", "; charset=latin-1"])
        body = dice.damage(
            multipart(fields),
            [
                damage.some_bytes,
                lambda body, own: body.replace(
                    b"name=", own.choice([b"name*=x''", b"name*=utf-7''%2B2AA-", b"x*=idna''%41;name="])
                ),
            ],
            often=0.2,
        )
        request = replace(request, body=body, content_type=MULTIPART + charset)
    else:
        request = replace(request, body=form_body(fields, dice))
    return transport(request, dice)


# --- Staff ----------------------------------------------------------------------------------------------


def login(world: World, dice: Dice) -> Request:
    """Somebody without an account at the pages that need none."""
    own = dice.random
    path, fields = own.choice(
        [
            (
                "login/",
                {"username": "staff", "password": "wrong", "next": "/admin/", "code": "123456", "unsent": "x:y"},
            ),
            ("login/", {"username": "nobody", "password": "wrong", "next": "https://evil.example/"}),
            ("password_reset/", {"email": "nobody@perma.example"}),
            ("password_reset/MQ/set-password/", {"new_password1": "x" * 20, "new_password2": "x" * 20}),
            ("second-factor/", {"password": "x", "username": "staff"}),
            ("perma_payments/stafftask/1/finish/", {"note": "x"}),
            ("perma_payments/statusreport/upload/", {"report": "x"}),
        ]
    )
    fields = dice.damage(dict(fields), damage.FIELDS, often=0.5)
    fields = damage.texts(dice.damage(fields, damage.FIELDS, often=0.2))
    query = own.choice(
        ["", "invitation=x", "invitation=a:b", "invitation=%ED%A0%80:b", "next=//evil.example", "q=%00"]
    )
    request = Request(
        method=own.choice(["POST", "POST", "POST", "GET"]),
        path=f"/admin/{path}",
        query=query,
        customer=own.choice(world.customers),
    )
    return with_csrf(request, fields, dice)


def upload(world: World, dice: Dice) -> Request:
    """A status report from the Business Center, with its preview."""
    own = dice.random
    statuses = ["CURRENT", "Current", "HOLD", "CANCELED", "COMPLETED", "SUPERSEDED", "SUSPENDED", "ODD"]
    references = own.sample(world.references, own.randrange(1, len(world.references) + 1))
    rows = [(reference, own.choice(statuses)) for reference in references]
    data = business_center.report(
        *rows, made_on=own.choice(["Dec 02 2026", "", timezone.now().strftime("%b %d %Y")])
    )
    for often in (0.5, 0.4, 0.2):
        data = dice.damage(data, damage.CSV, often=often)
    fields: dict[str, str | bytes] = {"report": data, "csrfmiddlewaretoken": CSRF}
    body = dice.damage(multipart(fields, "report"), [damage.some_bytes], often=0.05)
    cookie = f"csrftoken={CSRF}; sessionid={world.session}"
    environ = {"HTTP_COOKIE": cookie}
    customer = own.choice(world.customers)
    revision = own.choice(["1", "1", "2", "x"])

    def preview(location: str) -> Request:
        act = own.choice(["", "", "confirm/", "discard/"])
        at = location.removesuffix("change/") + (act or "change/")
        fields = {"revision": revision, "csrfmiddlewaretoken": CSRF, "endings": own.choice(["", "1", "9" * 20])}
        checked = urlencode([*fields.items(), *[("checked", each) for each in CHECKS]])
        body = checked.encode() if act else b""
        method = "POST" if act else "GET"
        return Request(method=method, path=at, body=body, environ=environ, customer=customer)

    request = Request(
        method="POST",
        path="/admin/perma_payments/statusreport/upload/",
        body=body,
        content_type=MULTIPART,
        environ=environ,
        customer=customer,
        follow=preview,
    )
    return transport(request, dice)


CHECKS = (
    "same file",
    "unread rows",
    "short",
    "before last",
    "old",
    "from the future",
    "reactivated",
    "immediate ending",
    "many endings",
    "many changes",
    "missing",
)


def staff_page(world: World, dice: Dice) -> Request:
    """A page of the admin, with an odd address."""
    own = dice.random
    fields = {"q": "PERMA-0000-0001", "p": "1", "o": "1.-2", "status__exact": "Current", "_facets": "True"}
    fields |= {"created_at__gte": "2026-11-01", "all": "", "show": "Hold", "sort": "-customer"}
    fields = {name: value for name, value in fields.items() if own.random() < 0.4}
    fields = damage.texts(dice.damage(fields, damage.FIELDS, often=0.6))
    path = own.choice(world.pages)
    path = dice.damage(
        path, [lambda path, own: path.replace("1", own.choice(["0", "x", "9" * 30, "-1", "1_5F", "é"]))]
    )
    request = Request(
        method="GET",
        path=path,
        query=urlencode(fields, errors="surrogatepass"),
        content_type="",
        environ={"HTTP_COOKIE": f"csrftoken={CSRF}; sessionid={world.session}"},
        customer=own.choice(world.customers),
    )
    return transport(request, dice)


# How often each kind is made, of a hundred.
KINDS: dict[Callable[[World, Dice], Request], int] = {
    message: 40,
    callback: 25,
    own_form: 8,
    portal: 13,
    login: 9,
    upload: 2,
    staff_page: 3,
}


def make(world: World, dice: Dice) -> tuple[str, Request]:
    """A case: the name of its kind, and its request."""
    (kind,) = dice.random.choices(list(KINDS), list(KINDS.values()))
    return kind.__name__, kind(world, dice)
