"""Fixtures: the world that is given in the environment, and new people in it."""

import itertools
import os
import random
from collections.abc import Callable

import pytest

pytest.register_assert_rewrite("e2e.world", "e2e.customer", "e2e.staff", "e2e.pages")

from e2e.customer import Customer  # noqa: E402
from e2e.staff import Staff  # noqa: E402
from e2e.world import CLIENTS, World  # noqa: E402

PAYMENTS, SANDBOX = "E2E_PAYMENTS_URL", "E2E_SANDBOX_URL"
STAFF, STAFF_PASSWORD = "E2E_STAFF", "E2E_STAFF_PASSWORD"
PERMA_CLIENT = "E2E_PERMA_CLIENT"

# Nobody has had these numbers before, in all likelihood: the world may have been walked through already.
numbers = itertools.count(random.randrange(1000, 900_000_000))


def pytest_sessionstart() -> None:
    """Refuse to start without a world, instead of skipping everything."""
    missing = [
        name for name in (PAYMENTS, SANDBOX, PERMA_CLIENT, STAFF, STAFF_PASSWORD) if not os.environ.get(name)
    ]
    if missing:
        raise pytest.UsageError(
            "These tests need a running world: run `fab demo --check`, which starts one, or set "
            f"{', '.join(missing)} (see e2e/__init__.py)."
        )
    if os.environ[PERMA_CLIENT] not in CLIENTS:
        raise pytest.UsageError(
            f"{PERMA_CLIENT} must be {' or '.join(CLIENTS)}; it is {os.environ[PERMA_CLIENT]!r}."
        )


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Deselect what is only about the client that is not played."""
    elsewhere = [
        item
        for item in items
        for marker in item.iter_markers("client")
        if os.environ[PERMA_CLIENT] not in marker.args
    ]
    config.hook.pytest_deselected(items=elsewhere)
    items[:] = [item for item in items if item not in elsewhere]


@pytest.fixture(scope="session")
def world() -> World:
    world = World(os.environ[PAYMENTS].rstrip("/"), os.environ[SANDBOX].rstrip("/"), os.environ[PERMA_CLIENT])
    assert world.is_played(), f"{world.sandbox} does not play Perma.cc's client of {world.client}."
    return world


@pytest.fixture
def new_customer(world: World) -> Callable[..., Customer]:
    """Makes customers that Perma Payments has not seen yet."""

    def make(customer_type: str = "Registrar", number: int | None = None) -> Customer:
        return Customer(world, f"{customer_type}-{number or next(numbers)}")

    return make


@pytest.fixture
def customer(new_customer: Callable[..., Customer]) -> Customer:
    """A registrar without a subscription."""
    return new_customer()


@pytest.fixture
def individual(new_customer: Callable[..., Customer]) -> Customer:
    """A person without a subscription."""
    return new_customer("Individual")


@pytest.fixture
def subscriber(customer: Customer) -> Customer:
    """A registrar with an annual plan of 100 links."""
    customer.ask_for_plan("annually", "100").finish()
    return customer


@pytest.fixture(scope="session")
def staff(world: World) -> Staff:
    """A member of staff, logged in."""
    return Staff(world, os.environ[STAFF], os.environ[STAFF_PASSWORD])
