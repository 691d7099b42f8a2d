"""The strict check of a signed form that a merchant's page has posted.

A form that is not signed as it must be is refused: CyberSource answers 403 with one generic page, and tells nobody
why. One that is signed is accepted even if some of its values are invalid; the response to it then says ERROR,
reason 102 (cybersource.md §1, §2, §3.1).
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime
from urllib.parse import parse_qsl

from ..config import Config
from .fields import invalid_fields, is_known, read_date
from .signature import is_signed

SALE = "sale"
CREATE = "sale,create_payment_token"
UPDATE = "update_payment_token"
SALE_AND_UPDATE = "sale,update_payment_token"
UPDATES = frozenset({UPDATE, SALE_AND_UPDATE})

# The guides also know `authorization…`, which has to be captured by other means, and a bare
# `create_payment_token`, which charges nothing; the sandbox stands in for neither. They list a plain update for
# /token/update only, but /pay has been seen to accept it for years.
TYPES_BY_PATH: dict[str, frozenset[str]] = {
    "/pay": frozenset({SALE, CREATE, UPDATE, SALE_AND_UPDATE}),
    "/oneclick/pay": frozenset({SALE, SALE_AND_UPDATE}),
    "/token/update": frozenset({UPDATE}),
}

# CyberSource names no figure; 15 minutes is an assumption.
CLOCK_TOLERANCE_SECONDS = 15 * 60
MAX_FIELDS = 500

# All that must be in the form and covered by its signature. The 2024 guide no longer lists `unsigned_field_names`;
# those of 2017 and 2020 require it.
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

# A plain update needs no amount and no currency: observed with a production system, although the guides list both
# as always required. A create needs the schedule: without one CyberSource would keep a token that never charges by
# itself.
_SIGNED_BY_TYPE: dict[str, frozenset[str]] = {
    SALE: _ALWAYS_SIGNED | _MONEY,
    CREATE: _ALWAYS_SIGNED | _MONEY | {"recurring_amount", "recurring_frequency"},
    UPDATE: _ALWAYS_SIGNED | _TOKEN,
    SALE_AND_UPDATE: _ALWAYS_SIGNED | _MONEY | _TOKEN,
}

# Fields that mean nothing for a type; a form that has them is accepted, with a note.
_WITHOUT_MEANING: dict[str, frozenset[str]] = {
    SALE: frozenset(
        {"recurring_amount", "recurring_frequency", "recurring_start_date", "allow_payment_token_update"}
    ),
    CREATE: _TOKEN,
    UPDATE: frozenset(),
    SALE_AND_UPDATE: frozenset(),
}

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
class AcceptedForm:
    """What a form asks for that was accepted.

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
class RefusedForm:
    """Why a form is refused. The customer is never told; the traffic log is."""

    reason: str


def read_body(content_type: str, body: bytes) -> list[tuple[str, str]] | RefusedForm:
    """Read a body of `application/x-www-form-urlencoded` in UTF-8, repeated names and all."""
    if content_type != "application/x-www-form-urlencoded":
        return RefusedForm("the body is not application/x-www-form-urlencoded")
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
        return RefusedForm(f"the body is not form data in UTF-8 with at most {MAX_FIELDS} fields")


def check_form(
    path: str, posted: list[tuple[str, str]], config: Config, now: datetime
) -> AcceptedForm | RefusedForm:
    """Check a form posted to `path`, in the order in which a mistake is easiest to understand."""
    fields = dict(posted)
    transaction_type = fields.get("transaction_type", "")
    reason = (
        _broken_names(posted)
        or _missing_fields(fields, transaction_type)
        or _unknown_account(fields, config)
        or _wrong_signature(fields, config)
        or _wrong_time(fields, now)
        or _wrong_type(path, fields)
    )
    if reason:
        return RefusedForm(reason)
    required = _SIGNED_BY_TYPE[transaction_type] - _ENVELOPE
    del fields["signature"]
    return AcceptedForm(
        path=path,
        fields=fields,
        invalid_fields=invalid_fields({n: v for n, v in fields.items() if n not in _ENVELOPE}, required),
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
    listed = _list_of(fields["signed_field_names"]) + _list_of(fields["unsigned_field_names"])
    malformed = [name for name in listed if not _FIELD_NAME.fullmatch(name)]
    if malformed:
        return f"not a field name, or one with a space: {_quoted(malformed)}"
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


def _unknown_account(fields: Mapping[str, str], config: Config) -> str | None:
    if fields["access_key"] not in config.cs_keys:
        return f"the access_key {fields['access_key']!r} is unknown"
    if fields["profile_id"] != config.cs_profile_id:
        return f"the profile_id {fields['profile_id']!r} is unknown"
    return None


def _wrong_signature(fields: Mapping[str, str], config: Config) -> str | None:
    if not is_signed(fields, config.cs_keys[fields["access_key"]]):
        return "the signature does not match the fields"
    return None


def _wrong_time(fields: Mapping[str, str], now: datetime) -> str | None:
    value = fields["signed_date_time"]
    error = f"signed_date_time {value!r} is not a time like 2025-03-01T09:30:00Z"
    if not re.fullmatch(r"[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}Z", value):
        return error
    try:
        signed_at = datetime.strptime(value, "%Y-%m-%dT%H:%M:%SZ").replace(tzinfo=UTC)
    except ValueError:
        return error
    if abs((now - signed_at).total_seconds()) > CLOCK_TOLERANCE_SECONDS:
        return f"signed_date_time {value} is more than 15 minutes from now"
    return None


def _wrong_type(path: str, fields: Mapping[str, str]) -> str | None:
    if fields["transaction_type"] not in TYPES_BY_PATH[path]:
        return f"transaction_type {fields['transaction_type']!r} is not accepted at {path}"
    if path == "/oneclick/pay" and "payment_token" not in _list_of(fields["signed_field_names"]):
        return f"required and signed at {path}: 'payment_token'"
    return None


def _notes(fields: Mapping[str, str], transaction_type: str, today: date) -> list[str]:
    notes = []
    unsigned = _list_of(fields["unsigned_field_names"])
    if unsigned:
        notes.append(f"not signed, so the customer could have changed them: {_quoted(unsigned)}")
    idle = _WITHOUT_MEANING[transaction_type] & set(fields)
    if idle:
        notes.append(f"without meaning for {transaction_type}: {_quoted(list(idle))}")
    unknown = [name for name in fields if name not in _ENVELOPE and not is_known(name)]
    if unknown:
        notes.append(f"not checked, because the sandbox does not know them: {_quoted(unknown)}")
    if transaction_type == CREATE:
        start = read_date(fields.get("recurring_start_date", ""))
        if "recurring_start_date" not in fields:
            notes.append("without recurring_start_date the first charge may run tomorrow")
        elif start is not None and start < today:
            notes.append("recurring_start_date has passed: CyberSource would take tomorrow")
    return notes
