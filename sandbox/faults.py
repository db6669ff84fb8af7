"""Misbehaviour on demand: what a test asked a simulated system to do wrong, and how often."""

from __future__ import annotations

import itertools
import threading
import time
from collections import deque
from dataclasses import dataclass, field
from typing import Any


@dataclass
class Fault:
    """One order to misbehave: the kind, how many times still, and for which requests."""

    id: int
    system: str
    kind: str
    times: int
    match: str = ""
    options: dict[str, Any] = field(default_factory=dict)

    def shown(self) -> dict[str, Any]:
        """As the control API lists it."""
        return {
            "id": self.id,
            "system": self.system,
            "kind": self.kind,
            "times": self.times,
            "match": self.match,
            **self.options,
        }


class Faults:
    """The orders in force, oldest first."""

    def __init__(self) -> None:
        self._orders: list[Fault] = []
        self._numbers = itertools.count(1)
        self._lock = threading.Lock()

    def add(self, order: dict[str, Any]) -> Fault:
        """Put an order in force. `system` and `kind` are needed; `times` is 1 without a word.

        Raises:
            ValueError: `system` or `kind` is missing.
        """
        given = dict(order)
        system, kind = given.pop("system", None), given.pop("kind", None)
        if not system or not kind:
            raise ValueError("a fault needs `system` and `kind`")
        times, match = int(given.pop("times", 1)), str(given.pop("match", ""))
        fault = Fault(next(self._numbers), system, kind, times, match, given)
        with self._lock:
            self._orders.append(fault)
        return fault

    def take(self, system: str, kind: str, text: str) -> Fault | None:
        """The order of this kind that applies to a request holding `text`; uses it up by one."""
        if not self._orders:
            return None
        with self._lock:
            for fault in self._orders:
                if (fault.system, fault.kind) == (system, kind) and fault.match in text:
                    fault.times -= 1
                    if fault.times <= 0:
                        self._orders.remove(fault)
                    return fault
        return None

    def clear(self) -> int:
        """Forget every order; returns how many there were."""
        with self._lock:
            count = len(self._orders)
            self._orders.clear()
        return count

    def shown(self) -> list[dict[str, Any]]:
        """The orders in force, as the control API lists them."""
        with self._lock:
            return [fault.shown() for fault in self._orders]


class Requests:
    """The last requests: what was asked and what came of it, without anybody's data."""

    def __init__(self, kept: int = 1000) -> None:
        self._rows: deque[dict[str, Any]] = deque(maxlen=kept)
        self._numbers = itertools.count(1)

    def add(self, system: str, started: float, **facts: Any) -> None:
        """Note a request that began at `started` (`time.perf_counter`)."""
        taken = round((time.perf_counter() - started) * 1000, 2)
        self._rows.append({"n": next(self._numbers), "system": system, **facts, "ms": taken})

    def shown(self, system: str | None = None) -> list[dict[str, Any]]:
        """The noted requests, oldest first."""
        return [row for row in self._rows if system in (None, row["system"])]

    def clear(self) -> None:
        """Forget them."""
        self._rows.clear()
