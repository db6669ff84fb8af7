"""Instants as whole seconds since 1970, seen from one time zone."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from functools import lru_cache
from zoneinfo import ZoneInfo

DAY = 86_400
EPOCH = date(1970, 1, 1)


@lru_cache(50_000)
def iso(seconds: int) -> str:
    """An instant as Shopify writes it: `2026-10-01T12:00:00Z`."""
    return f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%dT%H:%M:%SZ}"


class LocalTime:
    """Local days and shifts by whole days which keep the time on the wall clock."""

    def __init__(self, zone: str) -> None:
        self.zone = ZoneInfo(zone)
        self._offsets: dict[int, int] = {}

    def offset(self, at: int) -> int:
        """Seconds that local time is ahead of UTC; zones change at full hours, hence the cache."""
        hour = at // 3600
        found = self._offsets.get(hour)
        if found is None:
            delta = datetime.fromtimestamp(hour * 3600, self.zone).utcoffset()
            found = self._offsets[hour] = int((delta or timedelta()).total_seconds())
        return found

    def day(self, at: int) -> int:
        """The local day of an instant, counted from 1970-01-01."""
        return (at + self.offset(at)) // DAY

    def start(self, day: int) -> int:
        """The instant at which a local day begins."""
        midnight = datetime.combine(EPOCH + timedelta(days=day), datetime.min.time(), self.zone)
        return int(midnight.timestamp())

    def shift(self, at: int, days: int) -> int:
        """The same time of day `days` later; an hour that does not exist then moves by one."""
        local = at + self.offset(at) + days * DAY
        guess = local - self.offset(at)
        return local - self.offset(local - self.offset(guess))

    def date(self, day: int) -> date:
        """A counted day as a date."""
        return EPOCH + timedelta(days=day)
