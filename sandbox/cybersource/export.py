"""The Business Center's list of subscriptions as CSV.

No public sample of the file was found. Known are four lines before the header, and the columns `Merchant Reference
Code` and `Status`; everything else is invented (cybersource.md §8.3).
"""

import csv
import io
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Self

from .register import STATUSES, RegisteredSubscription
from .response import MERCHANT_ID

HEADER = ("Subscription ID", "Merchant Reference Code", "Customer Name", "Amount", "Currency", "Status")
CASES = ("upper", "title")
USUAL_PREAMBLE = 4
MAX_PREAMBLE = 100
MAX_EXTRA = 50_000

_FORENAMES = ("Erin", "Sam", "Noor", "Zoë", "Kim")
_SURNAMES = ("Example", "Sample", "Specimen", "Muster", "Prøve", "Invented", "Nobody")


class BadChoice(ValueError):
    """A file that cannot be made: a sentence for the visitor."""


@dataclass(frozen=True, kw_only=True)
class Shape:
    """How to write the file.

    case: the capitalization of the status, which has varied.
    preamble: the number of lines before the header.
    extra: the number of additional subscriptions, which no checkout here has created.
    """

    case: str = CASES[0]
    preamble: int = USUAL_PREAMBLE
    extra: int = 0

    @classmethod
    def from_query(cls, query: Mapping[str, str]) -> Self:
        """Read it from a query string. Raises BadChoice."""
        case = query.get("case", CASES[0])
        if case not in CASES:
            raise BadChoice(f"case must be one of {', '.join(CASES)}.")
        return cls(
            case=case,
            preamble=_number(query, "preamble", USUAL_PREAMBLE, MAX_PREAMBLE),
            extra=_number(query, "extra", 0, MAX_EXTRA),
        )


def _number(query: Mapping[str, str], name: str, usual: int, most: int) -> int:
    text = query.get(name, str(usual))
    if not (text.isascii() and text.isdigit() and len(text) <= 9 and int(text) <= most):
        raise BadChoice(f"{name} must be a whole number from 0 to {most}.")
    return int(text)


def export(subscriptions: Sequence[RegisteredSubscription], shape: Shape, now: datetime) -> bytes:
    text = io.StringIO(newline="")
    text.writelines(f"{line}\r\n" for line in _preamble(shape.preamble, now))
    rows = csv.writer(text)
    rows.writerow(HEADER)
    for number, subscription in enumerate([*subscriptions, *_strangers(shape.extra)]):
        rows.writerow(
            [
                subscription.token,
                subscription.reference_number,
                _customer(number),
                subscription.rate,
                "USD",
                subscription.status.upper() if shape.case == "upper" else subscription.status,
            ]
        )
    return text.getvalue().encode("utf-8")


def _preamble(count: int, now: datetime) -> list[str]:
    known = ["Subscription Search Results", f"Merchant ID: {MERCHANT_ID}", f"Date: {now:%b %d %Y}"]
    more = [f"Search term {number}: any" for number in range(1, count - len(known))]
    return [*known, *more, ""][:count]


def _customer(number: int) -> str:
    """An invented name. Every second one has a comma, so it has to be quoted."""
    forename = _FORENAMES[number % len(_FORENAMES)]
    surname = _SURNAMES[number % len(_SURNAMES)]
    return f"{forename} {surname}" if number % 2 else f"{surname}, {forename}"


def _strangers(count: int) -> Iterator[RegisteredSubscription]:
    """Invented subscriptions of other systems, with reference numbers unlike Perma Payments'."""
    for number in range(1, count + 1):
        yield RegisteredSubscription(
            token=str(9 * 10**21 + number),
            reference_number=f"ORDER-{number:05}",
            rate="20.00",
            frequency="monthly",
            status=STATUSES[number % len(STATUSES)],
        )
