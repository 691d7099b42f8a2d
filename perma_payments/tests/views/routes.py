"""Our routes, and who calls them. A route that is added here gets the tests of bad input and of methods."""

from dataclasses import dataclass
from enum import Enum, auto


class Asker(Enum):
    """Who calls a route."""

    BROWSER = auto()  # the customer's browser: a person reads the answer
    SERVERS = auto()  # Perma.cc's servers
    CYBERSOURCE = auto()


@dataclass(frozen=True)
class Route:
    """One route of perma.md §3; ``get`` is the status of a GET, and ``post`` that of a valid POST."""

    name: str
    asker: Asker
    get: int = 405
    post: int = 200

    @property
    def path(self) -> str:
        return f"/{self.name}/"

    @property
    def allowed(self) -> str:
        """The Allow header of its 405."""
        return "POST" if self.get == 405 else "GET, POST"

    def __str__(self) -> str:
        return self.name


SUBSCRIBE = Route("subscribe", Asker.BROWSER, get=200)
CHANGE = Route("change", Asker.BROWSER)
UPDATE = Route("update", Asker.BROWSER)
BILLING = Route("billing", Asker.BROWSER, post=303)
CANCEL_REQUEST = Route("cancel-request", Asker.BROWSER)
PURCHASE = Route("purchase", Asker.BROWSER, get=200)
SUBSCRIPTION = Route("subscription", Asker.SERVERS)
PURCHASE_HISTORY = Route("purchase-history", Asker.SERVERS)
ACKNOWLEDGE_PURCHASE = Route("acknowledge-purchase", Asker.SERVERS)
CALLBACK = Route("cybersource-callback", Asker.CYBERSOURCE)

BROWSER_ROUTES = [SUBSCRIBE, CHANGE, UPDATE, BILLING, CANCEL_REQUEST, PURCHASE]
MESSAGE_ROUTES = [*BROWSER_ROUTES, SUBSCRIPTION, PURCHASE_HISTORY, ACKNOWLEDGE_PURCHASE]
ROUTES = [*MESSAGE_ROUTES, CALLBACK]

# One for each caller, for what is the same on all of its routes.
TYPICAL_MESSAGE_ROUTES = [SUBSCRIBE, SUBSCRIPTION]
TYPICAL_ROUTES = [*TYPICAL_MESSAGE_ROUTES, CALLBACK]
