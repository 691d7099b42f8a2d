"""What happens in a case: the same seed makes the same decisions, and any damage can be left out of it."""

from collections.abc import Callable, Collection
from random import Random
from typing import Any, TypeVar

T = TypeVar("T")


class Dice:
    """The decisions of one case.

    Each damage has a number and dice of its own, so leaving one out changes no other: that is how the smallest
    request that still fails is found.
    """

    def __init__(self, seed: str, *, left_out: Collection[int] = (), often: float = 0.2) -> None:
        self.random = Random(seed)
        self.done: list[int] = []
        self._seed, self._left_out, self._often, self._number = seed, left_out, often, 0

    def damage(self, value: T, kinds: Collection[Callable[[T, Random], Any]], *, often: float | None = None) -> T:
        """Do one of these to a value, sometimes."""
        self._number += 1
        own = Random(f"{self._seed}/{self._number}")
        if own.random() >= (self._often if often is None else often):
            return value
        kind = own.choice(list(kinds))
        if self._number in self._left_out:
            return value
        self.done.append(self._number)
        damaged: T = kind(value, own)
        return damaged
