"""Shopify's bucket of query cost."""

from __future__ import annotations

import time
from typing import Any

from sandbox.shopify.world import Settings


class Bucket:
    """Points that a query takes and time gives back.

    Time is the product's clock, so that a simulated hour refills the bucket as a real one would;
    while that clock stands still the machine's own goes on refilling it.
    """

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.level = settings.bucket
        self._clock: float | None = None
        self._machine = time.monotonic()

    def take(self, cost: float, now: float) -> bool:
        """Take `cost` points; False leaves the bucket as it is: throttled."""
        machine = time.monotonic()
        passed = max(machine - self._machine, now - (self._clock or now))
        self._clock, self._machine = now, machine
        self.level = min(self.settings.bucket, self.level + passed * self.settings.restore_rate)
        if cost > self.level:
            return False
        self.level -= cost
        return True

    def fill(self) -> None:
        """Start afresh, after the settings changed."""
        self.level = self.settings.bucket

    def give_back(self, points: float) -> None:
        """Return what was reserved and not used."""
        self.level = min(self.settings.bucket, self.level + points)

    def status(self) -> dict[str, Any]:
        """The `throttleStatus` of an answer."""
        return {
            "maximumAvailable": self.settings.bucket,
            "currentlyAvailable": int(self.level),
            "restoreRate": self.settings.restore_rate,
        }
