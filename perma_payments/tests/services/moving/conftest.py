"""Fixtures that the tests of moving share."""

from .old_world import old, old_server  # noqa: F401 (fixtures)
