"""Fixtures of the attacks: those of the tests of views, with which they share the routes."""

from ..views.conftest import _handler, _nothing_counted, client, refused, stock  # noqa: F401 (fixtures)
