"""What the steps of a walkthrough share."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from ..browser import Browser, Form


class StepFailed(Exception):
    """A step cannot go on. The text says what is off."""


@dataclass
class Report:
    """Prints what happens and counts the checks."""

    passed: int = 0
    failed: int = 0
    _step: int = 0

    def step(self, sentence: str) -> None:
        """Begin a step."""
        self._step += 1
        print(f"{self._step:2}. {sentence}")

    def note(self, text: str) -> None:
        """Print something that was sent or seen."""
        print(f"    {text}")

    def fields(self, title: str, fields: dict[str, Any]) -> None:
        """Print fields, one a line."""
        self.note(f"{title}:")
        for name, value in fields.items():
            self.note(f"  {name} = {value}")

    def check(self, is_so: bool, sentence: str) -> None:
        """Count a check; `sentence` says what should be so, and is printed where it is not."""
        if is_so:
            self.passed += 1
        else:
            self.failed += 1
            print(f"    OFF: {sentence}")


@dataclass
class Way:
    """One way of a customer to CyberSource, as far as it has come."""

    message: dict[str, Any]
    encrypted_form: Form
    checkout_form: Form
    callbacks: list[dict[str, Any]] = field(default_factory=list)


@dataclass
class Visit:
    """What the steps share. Customers are named as in the sandbox, such as `Registrar-7`.

    ways: each customer's last way to CyberSource. tokens: the token that CyberSource gave last.
    typed: the billing values that were typed at checkouts. page_mark: the id of the newest entry
    in the traffic before the last settings page was opened.
    """

    sandbox: str
    payments: str | None
    number: int
    report: Report = field(default_factory=Report)
    browser: Browser = field(default_factory=Browser)
    ways: dict[str, Way] = field(default_factory=dict)
    tokens: dict[str, str] = field(default_factory=dict)
    typed: set[str] = field(default_factory=set)
    page_mark: int = 0

    @property
    def registrar(self) -> str:
        """The customer who takes a monthly plan."""
        return f"Registrar-{self.number}"

    @property
    def individual(self) -> str:
        """The customer of the same number who takes an annual plan."""
        return f"Individual-{self.number}"

    @property
    def decliner(self) -> str:
        """The customer whose card is declined, and who has no subscription."""
        return f"Registrar-{self.number + 1}"

    @property
    def member(self) -> str:
        """The customer whose whole life is played, with an annual plan."""
        return f"Registrar-{self.number + 2}"

    @property
    def returner(self) -> str:
        """The customer who comes back from CyberSource in all ways."""
        return f"Registrar-{self.number + 3}"

    def way_of(self, customer: str) -> Way:
        """How far this customer has come. Raises StepFailed where it did not begin."""
        if customer not in self.ways:
            raise StepFailed(f"{customer} has no signed form from an earlier step")
        return self.ways[customer]

    def payments_url(self, path: str) -> str:
        """An address of Perma Payments."""
        if self.payments is None:
            raise StepFailed("where Perma Payments is was not said and could not be seen")
        return self.payments + path
