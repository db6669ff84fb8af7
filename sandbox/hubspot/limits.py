"""How many calls HubSpot takes: a rolling burst, the search limit, the day's quota."""

from __future__ import annotations

import time
from collections import deque
from datetime import UTC, datetime

from sandbox.hubspot.crm import Settings


class Limits:
    """Calls counted along the product's clock; while that stands still, along the machine's.

    A simulated hour makes room as a real one would, and a held clock starves nobody.
    """

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.day: tuple[str, int] = ("", 0)
        self._calls: dict[str, deque[float]] = {}
        self._searches: deque[float] = deque()
        self._clock: int | None = None
        self._machine, self._time = time.monotonic(), 0.0

    def take(self, app: str, now: int, *, is_search: bool) -> str | None:
        """Count a call of an app; returns the name of the policy it breaks, if it breaks one."""
        at = self._passed(now)
        day = f"{datetime.fromtimestamp(now / 1000, UTC):%Y-%m-%d}"
        used = self.day[1] if self.day[0] == day else 0
        if used + self.settings.daily_used >= self.settings.daily:
            self.day = (day, used)
            return "DAILY"
        if is_search:
            calls, most, span = self._searches, self.settings.search_per_second, 1.0
        else:
            calls, most, span = self._calls.setdefault(app, deque()), self.most(app), 10.0
        while calls and calls[0] <= at - span:
            calls.popleft()
        if len(calls) >= most:
            return "SECONDLY" if is_search else "TEN_SECONDLY_ROLLING"
        calls.append(at)
        self.day = (day, used + 1)
        return None

    def most(self, app: str) -> int:
        """The burst of an app: the one with the private token, or one of OAuth."""
        return self.settings.burst if app == "private" else self.settings.burst_oauth

    def used_today(self) -> int:
        """Calls of the account since midnight."""
        return self.day[1] + self.settings.daily_used

    def headers(self, app: str) -> dict[str, str]:
        """What an answer says about the limits; the day's are not told under OAuth."""
        most = self.most(app)
        found = {
            "X-HubSpot-RateLimit-Max": str(most),
            "X-HubSpot-RateLimit-Remaining": str(max(0, most - len(self._calls.get(app, ())))),
            "X-HubSpot-RateLimit-Interval-Milliseconds": "10000",
        }
        if app == "private":
            left = max(0, self.settings.daily - self.used_today())
            found["X-HubSpot-RateLimit-Daily"] = str(self.settings.daily)
            found["X-HubSpot-RateLimit-Daily-Remaining"] = str(left)
        return found

    def clear(self) -> None:
        """Start afresh, after the settings changed."""
        self._calls.clear()
        self._searches.clear()
        self.day = ("", 0)

    def _passed(self, now: int) -> float:
        machine = time.monotonic()
        moved = (now - (now if self._clock is None else self._clock)) / 1000
        self._time += max(machine - self._machine, moved)
        self._machine, self._clock = machine, now
        return self._time
