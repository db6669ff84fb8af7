"""Which days, weeks and months a roll-up has to compute, and the instants they begin at."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import date, datetime, timedelta

from marketing_ops.window import day_window

DAY = timedelta(days=1)
_LONGEST_GAP = 31
_LONGEST_CHUNK = 366


@dataclass(frozen=True, order=True)
class Period:
    """One day, ISO week (from Monday) or calendar month, named by its first day."""

    grain: str
    first: date

    @property
    def end(self) -> date:
        """The first day after it."""
        if self.grain == "day":
            return self.first + DAY
        if self.grain == "week":
            return self.first + 7 * DAY
        return (self.first.replace(day=28) + 4 * DAY).replace(day=1)


def periods_of(day: date) -> list[Period]:
    """The day, the week and the month that contain `day`."""
    monday = day - timedelta(days=day.weekday())
    return [Period("day", day), Period("week", monday), Period("month", day.replace(day=1))]


@dataclass(frozen=True)
class Chunk:
    """Days rolled up in one transaction, in one scan of their periods.

    Attributes:
        days: the days asked for, ascending.
        periods: they and the weeks and months around them, sorted.
        first_day: the first day that any of the periods contains.
        day_starts: the instant each day from `first_day` on begins, and the end of the last:
            23, 24 or 25 hours apart.
    """

    days: list[date]
    periods: list[Period]
    first_day: date
    day_starts: list[datetime]

    def start_of(self, day: date) -> datetime:
        """The instant `day` begins."""
        return self.day_starts[(day - self.first_day).days]

    def calendar(self) -> list[tuple[date, str, date, datetime]]:
        """(day, grain, period, instant the period begins) for each day of each period."""
        return [
            (period.first + number * DAY, period.grain, period.first, self.start_of(period.first))
            for period in self.periods
            for number in range((period.end - period.first).days)
        ]

    def spans(self) -> list[tuple[datetime, datetime]]:
        """The days asked for as half-open spans of instants, neighbours joined."""
        found: list[tuple[datetime, datetime]] = []
        for day in self.days:
            start, end = self.start_of(day), self.start_of(day + DAY)
            if found and found[-1][1] == start:
                found[-1] = (found[-1][0], end)
            else:
                found.append((start, end))
        return found


def chunk_of(days: list[date], zone: str) -> Chunk:
    """The chunk of these (sorted, distinct) days of `zone`."""
    periods = sorted({period for day in days for period in periods_of(day)})
    first = min(period.first for period in periods)
    count = (max(period.end for period in periods) - first).days
    starts = [day_window(first + number * DAY, zone).start for number in range(count + 1)]
    return Chunk(days, periods, first, starts)


def chunks(days: Iterable[date], zone: str) -> list[Chunk]:
    """The days as chunks: near days share a scan, distant ones do not, a year is the most.

    A long run is cut at a month's end, so that each month, and all weeks but the one across the
    cut, are computed once.
    """
    found: list[list[date]] = []
    for day in sorted(set(days)):
        is_near = bool(found) and (day - found[-1][-1]).days <= _LONGEST_GAP
        is_full = bool(found) and (day - found[-1][0]).days >= _LONGEST_CHUNK
        if not is_near or (is_full and day.month != found[-1][-1].month):
            found.append([])
        found[-1].append(day)
    return [chunk_of(run, zone) for run in found]
