"""Fixtures of the sandbox's tests."""
from __future__ import annotations

import pytest

from sandbox.app import create_app
from sandbox.config import Config

from .builders import NOW
from .merchant import FakeMerchant
from .servers import serving


class Clock:
    """A clock that stands still until it is set."""

    def __init__(self):
        self.now = NOW

    def __call__(self):
        return self.now


@pytest.fixture
def clock():
    """The sandbox's clock."""
    return Clock()


@pytest.fixture
def merchant():
    """Whoever is in Perma Payments' place."""
    return FakeMerchant()


@pytest.fixture
def config(merchant):
    """The settings of a sandbox that speaks to `merchant`."""
    with serving(merchant) as url:
        yield Config(payments_url=url)


@pytest.fixture
def app(config, clock):
    """A sandbox."""
    return create_app(config, clock)


@pytest.fixture
def client(app):
    """A browser at the sandbox."""
    return app.test_client()
