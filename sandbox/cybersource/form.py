"""The strict check of a signed form that a merchant's page has posted.

Refused (CyberSource answers 403 with one generic page and tells nobody) is every form that is not
signed as it must be. Accepted is a form that is, even if some of its values are invalid: those are
answered with decision ERROR, reason 102, by the normal way (cybersource.md §1, §2, §3.1).
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime
from urllib.parse import parse_qsl

from .fields import invalid_fields, is_known, read_date
from .signature import is_signed

SALE = "sale"
CREATE = "sale,create_payment_token"
UPDATE = "update_payment_token"
SALE_AND_UPDATE = "sale,update_payment_token"
UPDATES = frozenset({UPDATE, SALE_AND_UPDATE})

# The guides also know `authorization…` and a bare `create_payment_token`. The former must be
# captured by other means, the latter charges nothing; the sandbox stands in for neither.
TYPES_BY_PATH: dict[str, frozenset[str]] = {
    "/pay": frozenset({SALE, CREATE, SALE_AND_UPDATE}),
    "/oneclick/pay": frozenset({SALE, SALE_AND_UPDATE}),
    "/token/create": frozenset(),
    "/token/update": frozenset({UPDATE}),
}

CLOCK_TOLERANCE_SECONDS = 15 * 60
MAX_FIELDS = 500

# All that must be in the form and covered by its signature. The 2024 guide no longer lists
# `unsigned_field_names`; those of 2017 and 2020 require it.
_ALWAYS_SIGNED = frozenset(
    {
        "access_key",
        "locale",
        "profile_id",
        "reference_number",
        "signed_date_time",
        "signed_field_names",
        "unsigned_field_names",
        "transaction_type",
        "transaction_uuid",
    }
)
_MONEY = frozenset({"amount", "currency"})
_TOKEN = frozenset({"payment_token", "allow_payment_token_update"})

# A plain update needs no amount and no currency: observed with a production system, although the
# guides list both as always required. A create needs the schedule: without one CyberSource would
# keep a token that never charges by itself.
_SIGNED_BY_TYPE: dict[str, frozenset[str]] = {
    SALE: _ALWAYS_SIGNED | _MONEY,
    CREATE: _ALWAYS_SIGNED | _MONEY | {"recurring_amount", "recurring_frequency"},
    UPDATE: _ALWAYS_SIGNED | _TOKEN,
    SALE_AND_UPDATE: _ALWAYS_SIGNED | _MONEY | _TOKEN,
}

# Fields that mean nothing for a type; a form that has them is accepted, with a note.
_SCHEDULE = frozenset(
    {
        "recurring_amount",
        "recurring_frequency",
        "recurring_start_date",
        "recurring_number_of_installments",
        "recurring_automatic_renew",
    }
)
_WITHOUT_MEANING: dict[str, frozenset[str]] = {
    SALE: _SCHEDULE | {"allow_payment_token_update"},
    CREATE: _TOKEN,
    UPDATE: frozenset({"transaction_reason"}),
    SALE_AND_UPDATE: frozenset({"transaction_reason", "skip_auto_auth"}),
}

_CUSTOMER_ENTERS = frozenset({"card_type", "card_number", "card_expiry_date", "card_cvn"})
# The form's own fields, which are about the message and not about the order.
_ENVELOPE = frozenset(
    {
        "access_key",
        "profile_id",
        "transaction_type",
        "signed_field_names",
        "unsigned_field_names",
        "signed_date_time",
        "signature",
    }
)

_FIELD_NAME = re.compile(r"[A-Za-z0-9_#-]+")


@dataclass(frozen=True, kw_only=True)
class Rules:
    """What a form is checked against; see Config for what each of them means."""

    profile_id: str
    keys: Mapping[str, str]
    strict_clock: bool
    token_update_on_pay: bool


@dataclass(frozen=True, kw_only=True)
class Order:
    """What an accepted form asks for.

    fields: every field posted but `signature`, by name, in the order they were posted.
    invalid_fields: names of fields with values that CyberSource would not take; normally none.
    notes: what a developer should know although the form is accepted.
    """

    path: str
    fields: Mapping[str, str]
    invalid_fields: tuple[str, ...]
    notes: tuple[str, ...]

    @property
    def access_key(self) -> str:
        """The key that the form is signed with, and its responses will be."""
        return self.fields["access_key"]

    @property
    def transaction_uuid(self) -> str:
        """With the access key, what CyberSource finds duplicates by."""
        return self.fields["transaction_uuid"]

    @property
    def transaction_type(self) -> str:
        """One of SALE, CREATE, UPDATE and SALE_AND_UPDATE."""
        return self.fields["transaction_type"]


@dataclass(frozen=True)
class Refusal:
    """Why a form is refused. The customer is never told; the traffic log is."""

    reason: str


def read_body(body: bytes) -> list[tuple[str, str]] | Refusal:
    """Read a body of `application/x-www-form-urlencoded` in UTF-8, repeated names and all."""
    try:
        return parse_qsl(
            body.decode("ascii"),
            keep_blank_values=True,
            strict_parsing=bool(body),
            encoding="utf-8",
            errors="strict",
            max_num_fields=MAX_FIELDS,
        )
    except ValueError:
        return Refusal(f"the body is not form data in UTF-8 with at most {MAX_FIELDS} fields")


def check_form(path: str, posted: list[tuple[str, str]], rules: Rules, now: datetime) -> Order | Refusal:
    """Check a form posted to `path`, in the order in which a mistake is easiest to understand.

    The result is an accepted Order, or the Refusal for the first rule that is broken.
    """
    fields = dict(posted)
    transaction_type = fields.get("transaction_type", "")
    reason = (
        _broken_names(posted)
        or _missing_fields(fields, transaction_type)
        or _unknown_account(fields, rules)
        or _wrong_signature(fields, rules)
        or _wrong_time(fields, rules, now)
        or _wrong_type(path, fields, rules)
    )
    if reason:
        return Refusal(reason)
    required = _SIGNED_BY_TYPE[transaction_type] - _ENVELOPE
    order_fields = {name: value for name, value in posted if name != "signature"}
    return Order(
        path=path,
        fields=order_fields,
        invalid_fields=invalid_fields({n: v for n, v in order_fields.items() if n not in _ENVELOPE}, required),
        notes=tuple(_notes(fields, transaction_type, now.date())),
    )


def _list_of(names: str) -> list[str]:
    return names.split(",") if names else []


def _quoted(names: list[str]) -> str:
    return ", ".join(repr(name) for name in sorted(names))


def _broken_names(posted: list[tuple[str, str]]) -> str | None:
    """Every name but `signature` must be posted once and be in exactly one of the two lists."""
    names = [name for name, _ in posted]
    fields = dict(posted)
    repeated = [name for name in fields if names.count(name) > 1]
    if repeated:
        return f"repeated in the form: {_quoted(repeated)}"
    for required in ("signature", "signed_field_names", "unsigned_field_names"):
        if required not in fields:
            return f"{required} is missing"
    signed = _list_of(fields["signed_field_names"])
    unsigned = _list_of(fields["unsigned_field_names"])
    listed = signed + unsigned
    odd = [name for name in listed if not _FIELD_NAME.fullmatch(name)]
    if odd:
        return f"no field name, or one with a space: {_quoted(odd)}"
    if "signature" in listed:
        return "signature must be in neither of the two lists"
    twice = [name for name in set(listed) if listed.count(name) > 1]
    if twice:
        return f"listed twice: {_quoted(twice)}"
    not_listed = [name for name in fields if name not in listed and name != "signature"]
    if not_listed:
        return f"posted but in neither of the two lists: {_quoted(not_listed)}"
    not_posted = [name for name in listed if name not in fields]
    if not_posted:
        return f"listed but not posted: {_quoted(not_posted)}"
    return None


def _missing_fields(fields: Mapping[str, str], transaction_type: str) -> str | None:
    required = _SIGNED_BY_TYPE.get(transaction_type, _ALWAYS_SIGNED)
    missing = [name for name in required if name not in fields]
    if missing:
        return f"required and missing: {_quoted(missing)}"
    signed = _list_of(fields["signed_field_names"])
    not_signed = [name for name in required if name not in signed]
    if not_signed:
        return f"required to be signed, but not in signed_field_names: {_quoted(not_signed)}"
    return None


def _unknown_account(fields: Mapping[str, str], rules: Rules) -> str | None:
    if fields["access_key"] not in rules.keys:
        return f"the access_key {fields['access_key']!r} is unknown"
    if fields["profile_id"] != rules.profile_id:
        return f"the profile_id {fields['profile_id']!r} is unknown"
    return None


def _wrong_signature(fields: Mapping[str, str], rules: Rules) -> str | None:
    if not is_signed(fields, rules.keys[fields["access_key"]]):
        return "the signature does not match the fields"
    return None


def _wrong_time(fields: Mapping[str, str], rules: Rules, now: datetime) -> str | None:
    value = fields["signed_date_time"]
    error = f"signed_date_time {value!r} is not a time like 2025-03-01T09:30:00Z"
    if not re.fullmatch(r"[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}Z", value):
        return error
    try:
        signed_at = datetime.strptime(value, "%Y-%m-%dT%H:%M:%SZ").replace(tzinfo=UTC)
    except ValueError:
        return error
    if rules.strict_clock and abs((now - signed_at).total_seconds()) > CLOCK_TOLERANCE_SECONDS:
        return f"signed_date_time {value} is more than 15 minutes from now"
    return None


def _wrong_type(path: str, fields: Mapping[str, str], rules: Rules) -> str | None:
    accepted = TYPES_BY_PATH[path]
    if path == "/pay" and rules.token_update_on_pay:
        accepted |= {UPDATE}
    if fields["transaction_type"] not in accepted:
        return f"transaction_type {fields['transaction_type']!r} is not accepted at {path}"
    if path == "/oneclick/pay" and "payment_token" not in _list_of(fields["signed_field_names"]):
        return f"required and signed at {path}: 'payment_token'"
    return None


def _notes(fields: Mapping[str, str], transaction_type: str, today: date) -> list[str]:
    notes = []
    unsigned = set(_list_of(fields["unsigned_field_names"])) - _CUSTOMER_ENTERS
    if unsigned:
        notes.append(f"not signed, so the customer could have changed them: {_quoted(list(unsigned))}")
    idle = _WITHOUT_MEANING[transaction_type] & set(fields)
    if idle:
        notes.append(f"without meaning for {transaction_type}: {_quoted(list(idle))}")
    unknown = [name for name in fields if name not in _ENVELOPE and not is_known(name)]
    if unknown:
        notes.append(f"not in CyberSource's tables: {_quoted(unknown)}")
    if transaction_type == CREATE:
        start = read_date(fields.get("recurring_start_date", ""))
        if "recurring_start_date" not in fields:
            notes.append("without recurring_start_date the first charge may run tomorrow")
        elif start is not None and start < today:
            notes.append("recurring_start_date is past: CyberSource would take tomorrow")
    return notes
