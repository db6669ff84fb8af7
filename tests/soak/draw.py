"""Decisions of a run: hashes of the seed, the run and what is decided, and nothing else."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Sequence
from typing import TypeVar

T = TypeVar("T")


class Draw:
    """The decisions of one run, the same whenever it is asked in the same order."""

    def __init__(self, seed: int, run: int | str) -> None:
        self._name = f"{seed}:{run}"
        self._asked: Counter[str] = Counter()

    def number(self, what: str, below: int) -> int:
        """A number in [0, below)."""
        self._asked[what] += 1
        text = f"{self._name}:{what}:{self._asked[what]}"
        return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest()) % below

    def chance(self, what: str, percent: int) -> bool:
        """Whether something happens that happens in so many of a hundred cases."""
        return self.number(what, 100) < percent

    def pick(self, what: str, options: Sequence[T]) -> T:
        """One of the options, which must not be empty."""
        return options[self.number(what, len(options))]

    def some(self, what: str, options: Sequence[T], most: int) -> list[T]:
        """One to `most` different options."""
        left, found = list(options), list[T]()
        for _ in range(1 + self.number(what, most)):
            if left:
                found.append(left.pop(self.number(what, len(left))))
        return found
