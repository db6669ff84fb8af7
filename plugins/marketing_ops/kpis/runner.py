"""Rolls facts up into mkt_marts.kpi_daily: any day, any time, the same numbers."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import date
from typing import Any
from zoneinfo import ZoneInfo

from psycopg.types.json import Jsonb

from marketing_ops import clock, sqlfile
from marketing_ops.errors import DefinitionError
from marketing_ops.kpis import definition
from marketing_ops.kpis.periods import DAY, Chunk, chunks
from marketing_ops.settings import settings
from marketing_ops.warehouse import Warehouse, last_batch, lock, translated_errors

log = logging.getLogger(__name__).info

_CALENDAR_COLUMNS = ("date[]", "text[]", "date[]", "timestamptz[]")
_WANTED_COLUMNS = ("text[]", "date[]", "date[]", "boolean[]")


@dataclass
class RollupReport:
    """What a call did. All zero but `days` and `periods` when no number had to change.

    Attributes:
        days: days recomputed, with those whose newcomers changed by a late or cancelled order.
        periods: days, weeks and months recomputed.
        rows: rows of kpi_daily inserted, replaced or deleted.
        revisions: past numbers that changed, each with a row in kpi_revisions.
        problems: KPI files that could not be used, with file and line.
    """

    days: int = 0
    periods: int = 0
    rows: int = 0
    revisions: int = 0
    problems: list[str] = field(default_factory=list)

    def summary(self) -> str:
        """One line for a task's log."""
        return (
            f"{self.days} days ({self.periods} periods) rolled up, {self.rows} rows changed,"
            f" {self.revisions} past numbers revised"
        )


def rollup(
    warehouse: Warehouse, days: list[date], *, report: Callable[[str], None] = log
) -> RollupReport:
    """Compute the KPIs of these days (of the reporting time zone), and of the weeks and months
    they lie in, from the facts as known now; write only what differs from what is stored.

    Near days are computed together in one transaction under the locks of their periods, a year
    at most. Days after today are left out. Safe to rerun, to kill and to run in parallel.

    Args:
        report: called with progress lines (counts only).

    Raises:
        DefinitionError: no KPI file can be used.
        RetryableError: Postgres is busy or out of space; nothing of the open chunk was stored.
    """
    kpis, problems = definition.load_all()
    for problem in problems:
        report(f"left out: {problem}")
    if not kpis:
        raise DefinitionError("no usable KPI in include/kpis: run `marketing-ops lint`")
    done = RollupReport(problems=[str(problem) for problem in problems])
    today = clock.now().astimezone(ZoneInfo(settings().reporting_timezone)).date()
    waiting = {day for day in days if day <= today}
    if len(waiting) < len(set(days)):
        report(f"{len(set(days)) - len(waiting)} days lie in the future: left out")
    with translated_errors():
        _absorb(warehouse)
        sqlfile.execute(warehouse, "marts/rollup/workspace")
        while waiting:
            more: set[date] = set()
            for chunk in chunks(waiting, settings().reporting_timezone):
                more |= _roll_chunk(warehouse, chunk, list(kpis.values()), done)
                report(
                    f"{chunk.days[0]} to {chunk.days[-1]}: {len(chunk.days)} days rolled up;"
                    f" so far {done.rows} rows changed, {done.revisions} past numbers revised"
                )
            waiting = {day for day in more if day <= today}
    return done


def dirty_days(warehouse: Warehouse) -> list[date]:
    """The days up to today whose facts changed since they were rolled up, oldest first."""
    today = clock.now().astimezone(ZoneInfo(settings().reporting_timezone)).date()
    with translated_errors():
        _absorb(warehouse)
        rows = warehouse.execute(
            "select distinct date from mkt_ops.dirty_days where date <= %s order by date", (today,)
        )
        return [row[0] for row in rows]


def _absorb(warehouse: Warehouse) -> None:
    """Turn conversions, rates, merges and moves since the last call into dirty days."""
    with warehouse.transaction():
        lock(warehouse, "kpi", "absorb")
        batch = last_batch(warehouse)
        params = {
            "zone": settings().reporting_timezone,
            "currency": settings().reporting_currency,
            "batch": batch,
        }
        sqlfile.execute(warehouse, "marts/rollup/absorb_marks", params)
        known = warehouse.execute("select batch from mkt_ops.kpi_state").fetchone()
        if known is None:  # nothing was rolled up yet: no past number can be wrong
            warehouse.execute("insert into mkt_ops.kpi_state (batch) values (%s)", (batch,))
        elif known[0] < batch:
            after = {**params, "after_batch": known[0]}
            sqlfile.execute(warehouse, "marts/rollup/absorb_batches", after)
            warehouse.execute("update mkt_ops.kpi_state set batch = %s", (batch,))


def _roll_chunk(
    warehouse: Warehouse, chunk: Chunk, kpis: list[definition.Kpi], done: RollupReport
) -> set[date]:
    """Compute and store one chunk in one transaction.

    Returns:
        Other days whose newcomers changed; they were marked dirty in the same transaction.
    """
    zone, currency = settings().reporting_timezone, settings().reporting_currency
    hashes = definition.definition_hashes(kpis, zone, currency)
    defined = {"kpi_groups": list(hashes), "definition_hashes": list(hashes.values())}
    with warehouse.transaction():
        # A year's people do not fit Postgres' default 4 MB; the bound is per sort or hash.
        warehouse.execute("set local work_mem = '64MB'")
        _lock_periods(warehouse, chunk)
        # Read before the facts: a day marked again from here on keeps its mark.
        warehouse.execute(
            "insert into pg_temp.kpi_seen (kpi_group, date, mark)"
            " select kpi_group, date, xmin from mkt_ops.dirty_days where date = any(%s)",
            (chunk.days,),
        )
        more = _keep_first_orders(warehouse, chunk)
        _fill_calendar(warehouse, chunk)
        _compute(warehouse, chunk, kpis)
        differing = sqlfile.execute(
            warehouse, "marts/rollup/diff", {"catalogue": Jsonb(_catalogue(kpis))}
        ).rowcount
        if differing:
            params = {**defined, "at": clock.now()}
            done.revisions += sqlfile.execute(warehouse, "marts/rollup/revise", params).rowcount
            sqlfile.execute(warehouse, "marts/rollup/remove")
            sqlfile.execute(warehouse, "marts/rollup/write")
        sqlfile.execute(warehouse, "marts/rollup/remember", defined)
        warehouse.execute(
            "delete from mkt_ops.dirty_days as d using pg_temp.kpi_seen as s"
            " where d.kpi_group = s.kpi_group and d.date = s.date and d.xmin = s.mark"
        )
    done.days += len(chunk.days)
    done.periods += len(chunk.periods)
    done.rows += differing
    return more


def _lock_periods(warehouse: Warehouse, chunk: Chunk) -> None:
    """Wait for whoever writes one of these periods. In one order, so that two calls never lock
    each other out; in a statement of its own, so that the next one sees what they committed.
    """
    names = [f"kpi:{period.grain}:{period.first}" for period in chunk.periods]
    warehouse.execute(
        "select count(pg_advisory_xact_lock(hashtextextended(name, 0)))"
        " from (select name from unnest(%s::text[]) as name order by name) as names",
        (names,),
    )


def _keep_first_orders(warehouse: Warehouse, chunk: Chunk) -> set[date]:
    starts, ends = zip(*chunk.spans(), strict=True)
    rows = sqlfile.execute(
        warehouse,
        "marts/rollup/first_orders",
        {
            "span_starts": list(starts),
            "span_ends": list(ends),
            "zone": settings().reporting_timezone,
        },
    )
    more = {row[0] for row in rows} - set(chunk.days)
    if more:
        warehouse.execute(
            "insert into mkt_ops.dirty_days as d (kpi_group, date, batch)"
            " select 'orders', date, %s from unnest(%s::date[]) as date order by date"
            " on conflict (kpi_group, date)"
            " do update set batch = greatest(d.batch, excluded.batch)",
            (last_batch(warehouse), sorted(more)),
        )
    return more


def _fill_calendar(warehouse: Warehouse, chunk: Chunk) -> None:
    now = clock.now()
    calendar = chunk.calendar()
    wanted = [
        (each.grain, each.first, each.end - DAY, chunk.start_of(each.end) <= now)
        for each in chunk.periods
    ]
    _insert(warehouse, "kpi_calendar", _CALENDAR_COLUMNS, calendar)
    _insert(warehouse, "kpi_wanted", _WANTED_COLUMNS, wanted)


def _insert(
    warehouse: Warehouse, table: str, types: tuple[str, ...], rows: list[tuple[Any, ...]]
) -> None:
    """Insert rows into a temporary table of ours, in one statement."""
    columns = [list(column) for column in zip(*rows, strict=True)]
    arrays = ", ".join(f"%s::{kind}" for kind in types)
    # The names are constants of this module.
    statement = f"insert into pg_temp.{table} select * from unnest({arrays})"  # noqa: S608
    warehouse.execute(statement.encode(), columns)
    warehouse.execute(f"analyze pg_temp.{table}".encode())


def _compute(warehouse: Warehouse, chunk: Chunk, kpis: list[definition.Kpi]) -> None:
    """Run each KPI file once; several KPIs may come from one file."""
    params = {
        "first_day": chunk.first_day,
        "day_starts": chunk.day_starts,
        "from_at": chunk.day_starts[0],
        "to_at": chunk.day_starts[-1],
        "currency": settings().reporting_currency,
    }
    for source in sorted({kpi.source for kpi in kpis}):
        text = sqlfile.load(f"marts/{source}")
        warehouse.execute(
            "insert into pg_temp.kpi_new (kpi, grain, date, dimension_set, dims, numerator,"
            f" denominator, currency)\n{text}".encode(),
            params,
        )
    warehouse.execute("analyze pg_temp.kpi_new")


def _catalogue(kpis: list[definition.Kpi]) -> list[dict[str, Any]]:
    return [
        {
            "kpi": kpi.kpi,
            "kpi_group": kpi.kpi_group,
            "is_additive": kpi.is_additive,
            "grains": kpi.grain,
            "dimension_sets": kpi.dimension_sets,
        }
        for kpi in kpis
    ]
