"""The public test cards (cybersource.md §7): the only card numbers that the sandbox takes.

Real card numbers have no business here: any other number is refused and not kept.
"""

import re
from dataclasses import dataclass
from datetime import date


@dataclass(frozen=True)
class Card:
    """A test card; `type_code` is CyberSource's code of the brand."""

    number: str
    type_code: str
    brand: str

    @property
    def masked(self) -> str:
        """The number as responses show it: at its full length, all but the last four digits hidden."""
        return "x" * (len(self.number) - 4) + self.number[-4:]


TEST_CARDS = {
    card.number: card
    for card in (
        Card("4111111111111111", "001", "Visa"),
        Card("5555555555554444", "002", "Mastercard"),
        Card("378282246310005", "003", "American Express"),
        Card("6011111111111117", "004", "Discover"),
        Card("3566111111111113", "007", "JCB"),
        Card("38000000000006", "005", "Diners Club"),
        Card("6000340000009859", "042", "Maestro International"),
        Card("6759180000005546", "024", "Maestro UK"),
    )
}


def find_card(number: str) -> Card | None:
    """The test card with this number, which may contain spaces, if there is one."""
    return TEST_CARDS.get(number.replace(" ", ""))


def is_future_expiry(value: str, today: date) -> bool:
    """Whether `value` is a month, `MM-YYYY`, that has not passed."""
    match = re.fullmatch(r"(0[1-9]|1[0-2])-([0-9]{4})", value)
    return match is not None and (int(match[2]), int(match[1])) >= (today.year, today.month)
