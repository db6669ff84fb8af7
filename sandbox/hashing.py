"""Choices that are the same on every machine and in every run: hashes, never chance."""

from __future__ import annotations

from collections.abc import Sequence
from hashlib import md5
from typing import TypeVar

T = TypeVar("T")


def number(*parts: object) -> int:
    """A 63 bit number that depends on `parts` alone."""
    text = ":".join(map(str, parts))
    return int.from_bytes(md5(text.encode(), usedforsecurity=False).digest()[:8], "big") >> 1


def pick(options: Sequence[T], *parts: object) -> T:
    """One of `options`, the same one for the same `parts`."""
    return options[number(*parts) % len(options)]
