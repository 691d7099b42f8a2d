"""Parameters that do not depend on each other, without testing their product."""

from collections.abc import Sequence
from itertools import cycle, islice
from typing import Any

import pytest


def in_turn(names: str, some: Sequence[Any], others: Sequence[Any]) -> pytest.MarkDecorator:
    """Parametrize a test with two independent lists: each value of one meets a value of the other, in turn."""
    pairs = islice(zip(cycle(some), cycle(others)), max(len(some), len(others)))
    values = [[*_as_list(one), *_as_list(other)] for one, other in pairs]
    return pytest.mark.parametrize(names, values, ids=lambda value: repr(str(value)[:30])[1:-1])


def _as_list(value: Any) -> list[Any]:
    return list(value) if isinstance(value, tuple) else [value]
