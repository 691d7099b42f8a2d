"""Perma.cc's customers, and what it sells. All names and prices are invented."""

import re
from dataclasses import dataclass
from decimal import Decimal

REGISTRAR = "Registrar"
INDIVIDUAL = "Individual"


@dataclass(frozen=True)
class Customer:
    """A paying customer. Registrar 7 and individual 7 are two different customers."""

    customer_type: str
    pk: int
    name: str

    @property
    def key(self) -> str:
        """The customer's name in a query string, such as `Registrar-7`."""
        return f"{self.customer_type}-{self.pk}"

    @property
    def label(self) -> str:
        return f"{self.customer_type} {self.pk}: {self.name}"


@dataclass(frozen=True)
class Package:
    """Bonus links, bought once for `price` US dollars."""

    link_quantity: int
    price: Decimal

    @property
    def label(self) -> str:
        return f"{self.link_quantity} bonus links"


@dataclass(frozen=True)
class Plan:
    """Something to subscribe to: a number of links per period, at `price` US dollars per period."""

    link_limit: str
    frequency: str
    price: Decimal

    @property
    def label(self) -> str:
        links = "Unlimited links" if self.link_limit == "unlimited" else f"{self.link_limit} links"
        return f"{links}, {self.frequency}"


_REGISTRARS = [
    "Sample County Courthouse",
    "Invented University Law School",
    "Placeholder Law Review",
    "Specimen State Archive",
    "Imaginary Bar Association",
    "Made-up Municipal Library",
    "Example Law Library",
    "Fictional Supreme Court",
]
_INDIVIDUALS = [
    "Avery Example",
    "Blake Sample",
    "Casey Specimen",
    "Drew Placeholder",
    "Ellis Invented",
    "Frankie Madeup",
    "Gray Imaginary",
    "Harper Fictional",
]

CUSTOMERS = [
    Customer(customer_type, pk, name)
    for customer_type, names in ((REGISTRAR, _REGISTRARS), (INDIVIDUAL, _INDIVIDUALS))
    for pk, name in enumerate(names, start=1)
]
DEFAULT_CUSTOMER = CUSTOMERS[0]


def find_customer(key: str) -> Customer | None:
    """The customer named `key`, such as `Registrar-7`, if there is one.

    Customers beyond the list exist, too, with up to nine digits, so that there is always one that Perma Payments
    has not seen yet.
    """
    match = re.fullmatch(r"(Registrar|Individual)-([1-9][0-9]{0,8})", key)
    if not match:
        return None
    for customer in CUSTOMERS:
        if customer.key == key:
            return customer
    customer_type, pk = match[1], int(match[2])
    # An organization's name may be in any script.
    name = f"Branch Library No. {pk} (ფილიალი {pk})" if customer_type == REGISTRAR else f"Reader No. {pk}"
    return Customer(customer_type, pk, name)


PACKAGES = [Package(10, Decimal("15.00")), Package(100, Decimal("100.00")), Package(500, Decimal("400.00"))]

_MONTHLY_PRICES = {
    REGISTRAR: {"10": "20.00", "100": "45.00", "500": "120.00", "unlimited": "300.00"},
    INDIVIDUAL: {"10": "10.00", "100": "25.00", "500": "100.00", "unlimited": "250.00"},
}


def plans_for(customer: Customer) -> list[Plan]:
    """The plans that a customer can subscribe to. A year costs as much as ten months."""
    prices = _MONTHLY_PRICES[customer.customer_type]
    return [
        *(Plan(limit, "monthly", Decimal(price)) for limit, price in prices.items()),
        *(Plan(limit, "annually", Decimal(price) * 10) for limit, price in prices.items()),
    ]
