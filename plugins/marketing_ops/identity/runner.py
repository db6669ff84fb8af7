"""Take over what the syncs and the receiver brought: raw rows become contacts, facts and events."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, date

import orjson
from psycopg.types.numeric import Int8

from marketing_ops import clock, sqlfile
from marketing_ops.errors import FatalError
from marketing_ops.identity import inbox, rows
from marketing_ops.identity.accounts import Account, accounts
from marketing_ops.identity.inbox import Actions
from marketing_ops.identity.merges import shared_params
from marketing_ops.identity.report import UnifyReport
from marketing_ops.identity.statements import (
    SMALL_ROWS,
    Batch,
    bigints,
    plan_for_many,
)
from marketing_ops.warehouse import (
    Warehouse,
    ensure_partitions,
    lock,
    open_batch,
    plan_for_few,
    translated_errors,
)

log = logging.getLogger(__name__).info

SENDS_PAGE = 20_000


@dataclass(frozen=True)
class _Run:
    """A finished sync run that was not taken over yet."""

    sync_run_id: int
    account: str
    is_baseline: bool
    has_rows: bool


def unify(warehouse: Warehouse, *, report: Callable[[str], None] = log) -> UnifyReport:
    """Take over every finished sync run and every action of our receiver.

    Baseline runs (initial loads, backfills, refreshes) make one batch, then the live runs another;
    each batch is one transaction that also marks its runs, so that a killed call leaves nothing
    half done and a rerun does the rest. Nothing new makes no batch.

    Args:
        report: gets one line of counts at the end, and one for each batch of a large load.

    Raises:
        RetryableError: Postgres is busy, full or away; the finished batches stay.
        FatalError: the warehouse is unmigrated, or runs belong to an account without a usable
            include/sources file; everything else was taken over first.
    """
    done = UnifyReport()
    with translated_errors():
        runs = _pending(warehouse)
        known = accounts()
        strangers = sorted({run.account for run in runs} - set(known))
        runs = [run for run in runs if run.account in known]
        _unify_runs(warehouse, [run for run in runs if run.is_baseline], known, done, report)
        live = [run for run in runs if not run.is_baseline]
        while _unify_live(warehouse, live, known, done, report):
            live = []
    report(done.line())
    if strangers:
        raise FatalError(
            f"finished sync runs of {', '.join(strangers)} wait: no usable"
            f" include/sources/{strangers[0]}.yaml says whose brand they are. Restore or correct"
            " the file, or set unified_batch = 0 on these runs to drop them"
        )
    return done


def _pending(warehouse: Warehouse) -> list[_Run]:
    return [_Run(*row) for row in sqlfile.execute(warehouse, "core/unify_pending")]


def _unify_runs(
    warehouse: Warehouse,
    runs: list[_Run],
    known: dict[str, Account],
    done: UnifyReport,
    report: Callable[[str], None],
) -> None:
    if runs:
        _write_batch(warehouse, runs, known, Actions(), [], done, report)


def _unify_live(
    warehouse: Warehouse,
    runs: list[_Run],
    known: dict[str, Account],
    done: UnifyReport,
    report: Callable[[str], None],
) -> bool:
    """One live batch of `runs`, a page of the inbox and of accepted sends; True = call again."""
    actions = inbox.read(warehouse)
    done.changes["inbox_unmatched"] = actions.unmatched
    done.changes["inbox_malformed"] += actions.malformed
    sends = sqlfile.execute(warehouse, "core/unify_outbox", {"bound": SENDS_PAGE}).fetchall()
    if not runs and not actions.matched and not sends:
        return False
    _write_batch(warehouse, runs, known, actions, sends, done, report)
    return len(actions.matched) == inbox.PAGE_ROWS or len(sends) == SENDS_PAGE


def _write_batch(
    warehouse: Warehouse,
    runs: list[_Run],
    known: dict[str, Account],
    actions: Actions,
    sends: list[tuple[int, date]],
    done: UnifyReport,
    report: Callable[[str], None],
) -> None:
    """Write one batch and mark its runs; without any changed row only mark them."""
    filled = bigints(run.sync_run_id for run in runs if run.has_rows)
    months = {action.month for action in actions.matched} | {month for _, month in sends}
    if filled:  # what the vendor does not date happens now
        months.add(clock.now().astimezone(UTC).date().replace(day=1))
    _ensure_months(warehouse, filled, months)
    sqlfile.execute(warehouse, "core/unify_tables")
    number, is_small = None, True
    with warehouse.transaction():
        plan_for_few(warehouse)
        lock(warehouse, "batches")
        if not _claim(warehouse, runs):
            return  # another process took them over while we waited
        found = {"runs": filled, "bound": SMALL_ROWS + 1}
        taken = Batch(warehouse, 0, True, found).run("unify_changes") if filled else {}
        counts: dict[str, int] = taken.get("counts", {})
        if counts or actions.matched or sends:
            is_small = max(counts.values(), default=0) <= SMALL_ROWS
            if not is_small:
                plan_for_many(warehouse, {known[run.account].system for run in runs})
            is_baseline = bool(runs) and runs[0].is_baseline
            number = open_batch(warehouse, "unify", is_baseline=is_baseline)
            params = {**shared_params(number), "brands": _brands(known), "runs": filled}
            batch = Batch(warehouse, number, is_small, params)
            rows.write(batch, counts, actions.matched, [send_id for send_id, _ in sends], done)
        _mark(warehouse, runs, number)
        if not is_small:
            # Its statistics say "a million rows": the next small batch must not plan by them.
            warehouse.execute("drop table unify_changed")
    done.runs += len(runs)
    if number is not None:
        done.batches.append(number)
    if not is_small:
        report(f"unify: batch {number} written from {len(filled)} runs")


def _ensure_months(warehouse: Warehouse, runs: list[Int8], months: set[date]) -> None:
    """Create the missing partitions of mkt_core.events.

    Outside the batch's transaction: attaching a partition locks all events until the commit.
    """
    if not runs and not months:
        return
    with warehouse.transaction():
        plan_for_few(warehouse)
        params = {"runs": runs, "months": sorted(months)}
        missing = Batch(warehouse, 0, True, params).run("unify_months")["missing"]
    for month in missing:
        ensure_partitions(warehouse, "mkt_core.events", month, month)


def _claim(warehouse: Warehouse, runs: list[_Run]) -> bool:
    """Whether all `runs` still wait, now that we hold the lock of batches."""
    if not runs:
        return True
    row = warehouse.execute(
        "select count(*) from mkt_ops.sync_runs"
        " where sync_run_id = any(%s::bigint[]) and unified_batch is null",
        (bigints(run.sync_run_id for run in runs),),
    ).fetchone()
    return row is not None and row[0] == len(runs)


def _mark(warehouse: Warehouse, runs: list[_Run], number: int | None) -> None:
    """Note on `runs` the batch that took them over; None = the last one, they brought nothing."""
    if runs:
        warehouse.execute(
            "update mkt_ops.sync_runs set unified_batch = coalesce(%s::bigint,"
            " (select coalesce(max(batch), 0) from mkt_ops.batches))"
            " where sync_run_id = any(%s::bigint[])",
            (number, bigints(run.sync_run_id for run in runs)),
        )


def _brands(known: dict[str, Account]) -> str:
    return orjson.dumps({name: account.brand for name, account in known.items()}).decode()
