"""The one reader of a run's window: every DAG asks here which instants it has to cover."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

from marketing_ops import clock
from marketing_ops.errors import FatalError


@dataclass(frozen=True)
class Window:
    """A half-open span of time, [start, end), both aware instants.

    Attributes:
        is_backfill: True when Airflow runs it as a backfill. Such a run has no outward effect.
        is_asked: True when a person named the window on the form (`from`/`to`).
    """

    start: datetime
    end: datetime
    is_backfill: bool = False
    is_asked: bool = False

    def __post_init__(self) -> None:
        if self.start.tzinfo is None or self.end.tzinfo is None:
            raise FatalError("a window needs instants with a time zone")
        if self.start > self.end:
            raise FatalError(f"the window ends ({self.end}) before it starts ({self.start})")

    def days(self, zone: str) -> list[date]:
        """The calendar days of `zone` that the window touches, oldest first."""
        tz = ZoneInfo(zone)
        day = self.start.astimezone(tz).date()
        last = (self.end - timedelta(microseconds=1)).astimezone(tz).date()
        found = []
        while day <= last:
            found.append(day)
            day += timedelta(days=1)
        return found


def day_window(day: date, zone: str) -> Window:
    """The window of one calendar day of `zone`: 23, 24 or 25 hours long."""
    tz = ZoneInfo(zone)
    start = datetime(day.year, day.month, day.day, tzinfo=tz)
    following = day + timedelta(days=1)
    return Window(start, datetime(following.year, following.month, following.day, tzinfo=tz))


def run_window(context: Mapping[str, Any], zone: str, period: timedelta) -> Window:
    """The window that an Airflow run has to cover.

    In this order: the form's `from`/`to` (ISO dates or instants; a bare date means that day's
    midnight in `zone`, and a bare `to` is included); the scheduled or backfilled data interval;
    else, for a run without a logical date (API, asset event), the `period` before its `run_after`.

    Args:
        context: the task's context (or any mapping of its shape).
        zone: the reporting time zone, an IANA name.
        period: how far an interval-less run looks back.

    Raises:
        FatalError: only one of `from` and `to` was given, or they are not dates.
    """
    dag_run = context["dag_run"]
    is_backfill = str(getattr(dag_run.run_type, "value", dag_run.run_type)) == "backfill"
    params = context.get("params") or {}
    asked_from, asked_to = params.get("from"), params.get("to")
    if bool(asked_from) != bool(asked_to):
        raise FatalError("the form needs both `from` and `to`, or neither")
    if asked_from and asked_to:
        first = _instant(str(asked_from), zone, is_end=False)
        last = _instant(str(asked_to), zone, is_end=True)
        return Window(first, last, is_backfill, is_asked=True)
    start, end = context.get("data_interval_start"), context.get("data_interval_end")
    if start is not None and end is not None and start < end:
        return Window(start, end, is_backfill)
    run_after: datetime = dag_run.run_after or clock.now()
    return Window(run_after - period, run_after, is_backfill)


def _instant(text: str, zone: str, *, is_end: bool) -> datetime:
    try:
        if len(text) == len("2026-01-31"):
            day = date.fromisoformat(text)
            window = day_window(day, zone)
            return window.end if is_end else window.start
        instant = datetime.fromisoformat(text)
    except ValueError as error:
        raise FatalError(f"`{text}` is not a date (2026-01-31) nor an instant") from error
    return instant if instant.tzinfo else instant.replace(tzinfo=ZoneInfo(zone))
