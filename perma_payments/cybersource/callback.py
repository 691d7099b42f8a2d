"""A POST from CyberSource, verified: signed fields only, or a refusal (cybersource.md §4 and §9).

The POST comes from CyberSource's server or from the customer's browser; the signature alone says
whether to believe it.
"""

import re
from collections import Counter
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from types import MappingProxyType

from .known_texts import known_message
from .signature import SigningKeys, data_to_sign, is_signed

CANCEL = "CANCEL"

# A callback can be acted on only if all of these are signed.
REQUIRED = frozenset(
    {
        "decision",
        "req_transaction_uuid",
        "req_access_key",
        "req_profile_id",
        "req_transaction_type",
        "req_reference_number",
        "message",
        "signed_date_time",
        "signed_field_names",
    }
)
# CANCEL and some ERRORs lack these. Where they are sent, they must be signed, except in a CANCEL.
SIGNED_WHERE_SENT = frozenset({"reason_code", "transaction_id"})

_FIELD_NAME = re.compile(r"[A-Za-z0-9_#-]+", re.ASCII)


class CallbackRefused(Exception):
    """A POST that is not a signed response to us. Its text is for our log and holds no payload."""


class UnknownKey(CallbackRefused):
    """A POST that names an access key that is not ours. Anyone can send one, and so can CyberSource.

    That is what happens if a key was created there that nobody has added here.
    """


class _Signed:
    """The value of a signed field, as text; empty if it was not sent."""

    def __init__(self, name: str) -> None:
        self._name = name

    def __get__(self, callback: "Callback", owner: type) -> str:
        return callback.fields.get(self._name, "")


@dataclass(frozen=True)
class Callback:
    """A verified response. Only fields covered by the signature are in it; absent ones are empty text.

    ``is_ambiguous`` says that the signed text could be split into other fields as well: it is CyberSource's, but
    none of its fields may be acted on.
    """

    # Personal data and tokens: not for logs or error reports.
    fields: Mapping[str, str] = field(repr=False)
    is_ambiguous: bool = False

    # ACCEPT, REVIEW, DECLINE, ERROR or CANCEL; a person has to look at anything else.
    decision = _Signed("decision")
    reason_code = _Signed("reason_code")  # digits (cybersource.md §4.5); empty on CANCEL and some ERRORs
    transaction_id = _Signed("transaction_id")  # CyberSource's, usually 22 digits; empty on CANCEL and some ERRORs
    # As we sent them.
    transaction_uuid = _Signed("req_transaction_uuid")
    transaction_type = _Signed("req_transaction_type")
    reference_number = _Signed("req_reference_number")
    amount = _Signed("req_amount")  # absent from responses to a plain token update
    currency = _Signed("req_currency")  # ISO 4217; comes even where we sent none
    auth_amount = _Signed("auth_amount")  # what was actually authorized; less than ``amount`` with reason 110

    @property
    def signed_at(self) -> datetime | None:
        """When CyberSource signed it; None if it does not say so in its usual form."""
        try:
            return datetime.strptime(self.fields.get("signed_date_time", ""), "%Y-%m-%dT%H:%M:%SZ").replace(
                tzinfo=UTC
            )
        except ValueError:
            return None

    @property
    def payment_token(self) -> str:
        """The token that this response creates, or that replaces the old one; empty if there is none.

        For a new token, the guide shows ``req_payment_token``, and the recordings ``payment_token``
        (cybersource.md §4.2), so both are accepted if the transaction creates one.
        """
        token = self.fields.get("payment_token", "")
        if not token and "create_payment_token" in self.transaction_type.split(","):
            token = self.fields.get("req_payment_token", "")
        return token

    @property
    def message(self) -> str:
        """CyberSource's words, for people to read; withheld if they may quote the customer."""
        return known_message(self.fields.get("message", ""))


def verify(pairs: Iterable[tuple[str, str]], *, keys: SigningKeys, profile_id: str) -> Callback:
    """Verify the fields of a POST, in any order, and return the signed ones.

    Raises CallbackRefused for repeated keys, a list of names that is missing, malformed or does not
    cover what we rely on, a key or profile that is not ours, or a wrong signature.
    """
    posted = _without_repeats(pairs)
    names = _signed_names(posted)
    key = keys.get(posted["req_access_key"])
    if key is None:
        raise UnknownKey("signed with a key that we do not know")
    try:
        authentic = is_signed(posted, key.secret)
    except UnicodeEncodeError:
        raise CallbackRefused("not text") from None
    if not authentic:
        raise CallbackRefused("the signature is wrong")
    if posted["req_profile_id"] != profile_id:
        raise CallbackRefused("for another profile")
    return Callback(
        MappingProxyType({name: posted[name] for name in names}), is_ambiguous=_is_ambiguous(posted, names)
    )


def _without_repeats(pairs: Iterable[tuple[str, str]]) -> dict[str, str]:
    posted: dict[str, str] = {}
    for name, value in pairs:
        if name in posted:
            raise CallbackRefused("a key is repeated")
        posted[name] = value
    return posted


def _signed_names(posted: Mapping[str, str]) -> list[str]:
    names = posted.get("signed_field_names", "").split(",")
    if not posted.get("signature") or names == [""]:
        raise CallbackRefused("not signed")
    if not all(_FIELD_NAME.fullmatch(name) for name in names):
        raise CallbackRefused("signed_field_names holds something that is not a name")
    if len(set(names)) != len(names):
        raise CallbackRefused("signed_field_names repeats a name")
    if "signature" in names or not posted.keys() >= set(names):
        raise CallbackRefused("signed_field_names lists what was not posted")
    unsigned = REQUIRED - set(names)
    if posted.get("decision") != CANCEL:
        unsigned |= SIGNED_WHERE_SENT & posted.keys() - set(names)
    if unsigned:
        raise CallbackRefused(f"not covered by the signature: {', '.join(sorted(unsigned))}")
    return names


def _is_ambiguous(posted: Mapping[str, str], names: Collection[str]) -> bool:
    """Whether the signed text holds the beginning of a field in two places.

    Values are not escaped when they are signed. A customer who types ``x,decision=ACCEPT`` as an
    address gets it signed, and could post the same signed text cut up into other fields.
    """
    beginnings = Counter(re.findall(r"(?:^|,)([A-Za-z0-9_#-]+)=", data_to_sign(posted)))
    return any(beginnings[name] > 1 for name in names)
