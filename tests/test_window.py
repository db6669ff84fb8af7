from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from types import SimpleNamespace
from typing import Any

import pytest

from marketing_ops.errors import FatalError
from marketing_ops.window import Window, day_window, run_window

ZONE = "America/New_York"
HOUR = timedelta(hours=1)


def context(run_type: str = "scheduled", **more: Any) -> dict[str, Any]:
    """A task's context as Airflow 3 builds it, with only the keys that a run has."""
    run_after = datetime(2026, 3, 2, 12, tzinfo=UTC)
    return {"dag_run": SimpleNamespace(run_type=run_type, run_after=run_after), **more}


def test_scheduled_run_covers_its_data_interval() -> None:
    """The interval, not the clock, says what a scheduled run covers."""
    start, end = datetime(2026, 3, 1, tzinfo=UTC), datetime(2026, 3, 2, tzinfo=UTC)
    found = run_window(context(data_interval_start=start, data_interval_end=end), ZONE, HOUR)
    assert (found.start, found.end, found.is_backfill) == (start, end, False)


def test_run_without_dates_looks_back_one_period() -> None:
    """A run by asset or API has no interval: it covers the period before run_after."""
    found = run_window(context("asset_triggered"), ZONE, HOUR)
    assert found.end - found.start == HOUR
    assert found.end == datetime(2026, 3, 2, 12, tzinfo=UTC)


def test_empty_interval_of_a_plain_cron_counts_as_none() -> None:
    """A plain cron string gives start == end in Airflow 3; that is no window."""
    at = datetime(2026, 3, 1, tzinfo=UTC)
    found = run_window(context(data_interval_start=at, data_interval_end=at), ZONE, HOUR)
    assert found.end - found.start == HOUR


def test_backfill_is_marked() -> None:
    """Whatever acts outward asks `is_backfill`."""
    assert run_window(context("backfill"), ZONE, HOUR).is_backfill


def test_asked_days_are_whole_days_of_the_reporting_zone() -> None:
    """A bare `to` is included; the day starts at local midnight."""
    params = {"from": "2026-03-07", "to": "2026-03-08"}
    found = run_window(context("manual", params=params), ZONE, HOUR)
    assert found.start == datetime(2026, 3, 7, 5, tzinfo=UTC)
    assert found.end == datetime(2026, 3, 9, 4, tzinfo=UTC)  # the 8th has 23 hours
    assert found.days(ZONE) == [date(2026, 3, 7), date(2026, 3, 8)]


@pytest.mark.parametrize(
    ("params", "message"),
    [
        ({"from": "2026-03-07"}, "both `from` and `to`"),
        ({"from": "7.3.2026", "to": "2026-03-08"}, "is not a date"),
        ({"from": "2026-03-09", "to": "2026-03-07"}, "before it starts"),
    ],
)
def test_wrong_forms_are_refused(params: dict[str, str], message: str) -> None:
    """Half a window, a foreign date or a reversed one: one clear sentence."""
    with pytest.raises(FatalError, match=message):
        run_window(context("manual", params=params), ZONE, HOUR)


@pytest.mark.parametrize(("day", "hours"), [(8, 23), (9, 24)])
def test_a_day_has_the_hours_its_zone_gives_it(day: int, hours: int) -> None:
    """The spring day of New York has 23 hours."""
    window = day_window(date(2026, 3, day), ZONE)
    assert window.end.astimezone(UTC) - window.start.astimezone(UTC) == timedelta(hours=hours)


def test_naive_instants_are_refused() -> None:
    """An instant without a zone would be read in whatever zone the server has."""
    with pytest.raises(FatalError, match="time zone"):
        Window(datetime(2026, 1, 1), datetime(2026, 1, 2))  # noqa: DTZ001
