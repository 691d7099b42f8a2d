"""Fixtures of the sandbox's tests."""

import pytest
from flask import Flask
from jinja2 import BytecodeCache

from sandbox.app import create_app
from sandbox.config import Config
from sandbox.perma.clients import DEFAULT_CLIENT

from .builders import NOW
from .merchant import FakeMerchant
from .servers import serving


class Clock:
    """A clock that stands still until it is set."""

    def __init__(self):
        self.now = NOW

    def __call__(self):
        return self.now


class CompiledTemplates(BytecodeCache):
    """Keeps templates that were compiled, in memory."""

    def __init__(self):
        self.kept = {}

    def load_bytecode(self, bucket):
        """Give what is kept of a template."""
        if bucket.key in self.kept:
            bucket.bytecode_from_string(self.kept[bucket.key])

    def dump_bytecode(self, bucket):
        """Keep a template."""
        self.kept[bucket.key] = bucket.bytecode_to_string()


@pytest.fixture(autouse=True, scope="session")
def compiled_templates():
    """Compile each template only once, although almost every test has its own sandbox."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Flask, "jinja_options", {"bytecode_cache": CompiledTemplates()})
        yield


@pytest.fixture(autouse=True)
def patience(monkeypatch):
    """Let Perma.cc wait longer for answers than in production: the machine may be busy."""
    monkeypatch.setattr("sandbox.perma.client.TIMEOUT_SECONDS", 30)


@pytest.fixture
def clock():
    """The sandbox's clock."""
    return Clock()


@pytest.fixture
def merchant():
    """The stand-in for Perma Payments."""
    return FakeMerchant()


@pytest.fixture
def perma_client():
    """The version of Perma.cc's client that is played: today's, unless a test is parametrized."""
    return DEFAULT_CLIENT


@pytest.fixture
def config(merchant, perma_client):
    """The settings of a sandbox that speaks to `merchant`."""
    with serving(merchant) as url:
        yield Config(payments_url=url, perma_client=perma_client)


@pytest.fixture
def app(config, clock):
    """A sandbox."""
    return create_app(config, clock)


@pytest.fixture
def client(app):
    """A browser at the sandbox."""
    return app.test_client()
