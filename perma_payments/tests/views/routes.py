"""Our routes, and who asks them. A route that is added here gets the tests of bad input and of methods."""
from dataclasses import dataclass
from enum import Enum, auto


class Asker(Enum):
    """Who sends requests to a route."""

    BROWSER = auto()  # the customer's browser: a person reads the answer
    SERVERS = auto()  # Perma.cc's servers
    CYBERSOURCE = auto()


@dataclass(frozen=True)
class Route:
    """One route of perma.md §3; ``get`` is the status of a GET."""

    name: str
    asker: Asker
    get: int = 405

    @property
    def path(self) -> str:
        """Its path."""
        return f"/{self.name}/"

    @property
    def allowed(self) -> str:
        """The Allow header of its 405."""
        return "POST" if self.get == 405 else "GET, POST"

    def __str__(self) -> str:
        return self.name


SUBSCRIBE = Route("subscribe", Asker.BROWSER, get=200)
SUBSCRIPTION = Route("subscription", Asker.SERVERS)
CALLBACK = Route("cybersource-callback", Asker.CYBERSOURCE)

BROWSER_ROUTES = [SUBSCRIBE]
MESSAGE_ROUTES = [*BROWSER_ROUTES, SUBSCRIPTION]
ROUTES = [*MESSAGE_ROUTES, CALLBACK]
