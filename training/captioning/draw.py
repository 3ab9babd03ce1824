"""Random choices of a key, the same on every machine."""

from __future__ import annotations

import random
from collections.abc import Sequence
from typing import TypeVar

_Item = TypeVar("_Item")


class Draw:
    """Choices that depend on the key alone.

    Only random() of a seeded Random is promised to stay the same from one release of Python to the next, so
    all is made of it: built shards must not change with the interpreter or with numpy.
    """

    def __init__(self, key: str) -> None:
        self._random = random.Random(key).random

    def below(self, limit: int) -> int:
        """A number from 0 to limit - 1."""
        return int(self._random() * limit)

    def one(self, items: Sequence[_Item]) -> _Item:
        """One of the items."""
        return items[self.below(len(items))]

    def shuffled(self, items: Sequence[_Item]) -> list[_Item]:
        """All items in random order."""
        return sorted(items, key=lambda _: self._random())
