"""Compares a stream with its source, key by key, and repairs what differs."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from dataclasses import asdict, dataclass, field
from functools import partial
from typing import Any

from psycopg import sql

from marketing_ops import clock, sqlfile
from marketing_ops.connections import Resolver
from marketing_ops.errors import FatalError
from marketing_ops.sources.base import Key, Page
from marketing_ops.sync.batch import Batch
from marketing_ops.sync.flow import together
from marketing_ops.sync.job import Job, Report, plan_of
from marketing_ops.sync.runner import log
from marketing_ops.sync.store import Progress, Store
from marketing_ops.sync.tables import qualified
from marketing_ops.warehouse import Warehouse

FETCHED_AT_A_TIME = 100
_PAGES_AHEAD = 8
_MOST_GONE_RATIO = 0.2
_FEW_GONE = 100


@dataclass
class ReconcileReport:
    """What a comparison found; counts and names only.

    Attributes:
        source_count: records the source lists. Slices whose counts agree are not listed again.
        stored_count: rows here that are not deleted, before the repair.
        missing: there and not here. outdated: newer there. gone: here and not there.
        repaired: of these, how many are right now. unrepaired: how many are not.
        counts: stream -> the columns of its row in mkt_ops.sync_runs.
    """

    account: str
    stream: str
    source_count: int = 0
    stored_count: int = 0
    missing: int = 0
    outdated: int = 0
    gone: int = 0
    repaired: int = 0
    unrepaired: int = 0
    counts: dict[str, dict[str, int]] = field(default_factory=dict)

    def line(self) -> str:
        """One readable line for a task log."""
        found = self.missing + self.outdated + self.gone
        outcome = f"{self.repaired} repaired, {self.unrepaired} not" if found else "they agree"
        return (
            f"{self.account} {self.stream}: {self.source_count} there, {self.stored_count} here;"
            f" {self.missing} missing, {self.outdated} outdated, {self.gone} gone: {outcome}"
        )


def is_loaded(warehouse: Warehouse, account: str, stream: str) -> bool:
    """Whether the stream's first load has ended; before that everything differs."""
    row = warehouse.execute(
        "select cursor_at is not null from mkt_ops.sync_cursors where account = %s and stream = %s",
        (account, stream),
    ).fetchone()
    return bool(row and row[0])


def reconcile_stream(
    warehouse: Warehouse,
    account: str,
    stream: str,
    *,
    resolve: Resolver,
    report: Report = log,
) -> ReconcileReport:
    """Make the raw table of a stream equal to its source's list of keys.

    What changed at the source after the stream's cursor is left to the next sync, what was loaded
    since the comparison began is not judged. Nothing is called gone before the source was asked
    for it by its id.

    Raises:
        FatalError: something could not be repaired, or so much is gone that the source's list
            cannot be right.
        RetryableError, QuotaExhaustedError: of the source; a rerun compares anew.
    """
    plan = plan_of(account, stream)
    if not plan.system.can_reconcile(stream):
        raise FatalError(f"{plan.source.system} cannot list the keys of {stream}")
    if not is_loaded(warehouse, account, stream):
        raise FatalError(f"{account} {stream} was not loaded yet: there is nothing to compare")
    job = Job(warehouse, plan, None, report)
    with job.running("reconcile"):
        client, share = job.client(resolve)
        with share.slot(plan.source.pool_slots, report):
            return _Comparison(job, client).run()


class _Comparison:
    def __init__(self, job: Job, client: Any) -> None:
        self.job, self.client = job, client
        self.system, self.stream = job.plan.system, job.stream
        self.warehouse = job.warehouse
        self.found = ReconcileReport(job.account, job.stream.name)
        self.params = {
            "account": job.account,
            "started_at": job.started_at,
            "cursor_at": job.cursor_at,
            "is_complete": job.stream.is_complete,
        }

    def run(self) -> ReconcileReport:
        # What is broken at the source is no news: it must not keep the rest from being repaired.
        store = self.job.open_store(max_reject_ratio=1.0)
        self._prepare()
        self._list_keys()
        self._compare()
        self._repair_gone(store)
        self._repair_changed(store)
        self._finish(store)
        self.job.report(self.found.line())
        if self.found.unrepaired:
            raise FatalError(
                f"{self.found.unrepaired} records of {self.job.account} {self.stream.name} differ"
                " from their source and could not be repaired: see mkt_ops.rejected_records and"
                " mkt_ops.reconciliations"
            )
        return self.found

    def _statement(self, name: str, **more: Any) -> list[tuple[Any, ...]]:
        """Run include/sql/ops/reconcile/<name>.sql."""
        cursor = sqlfile.execute(self.warehouse, f"ops/reconcile/{name}", {**self.params, **more})
        return cursor.fetchall() if cursor.description else []

    def _prepare(self) -> None:
        """The temporary tables, and the raw table under the one name the statements know."""
        sqlfile.execute(self.warehouse, "ops/reconcile/create_keys")
        table = qualified(self.job.plan.source.system, self.stream.name)
        self.warehouse.execute(
            sql.SQL(
                "create or replace temporary view reconcile_held as"
                " select account, id, source_updated_at, is_deleted, loaded_at from {}"
            ).format(table)
        )

    def _list_keys(self) -> None:
        """The source's keys, part by part, into a temporary table."""
        parts = self._parts()
        assert self.system.keys is not None
        reads = [partial(self.system.keys, self.client, self.stream, part) for part in parts]
        pages = together(reads, min(len(reads), self.stream.max_slices) or 1, _PAGES_AHEAD)
        with closing(pages):
            for _, keys in pages:
                self._copy(keys)
        self.warehouse.execute("analyze pg_temp.reconcile_keys")

    def _parts(self) -> list[dict[str, Any] | None]:
        """The parts to list: all of them, or the one whole."""
        if self.system.slices is None or self.stream.max_slices == 1:
            return [None]
        return list(self.system.slices(self.client, self.stream, self.stream.max_slices))

    def _copy(self, keys: list[Key]) -> None:
        rows = [[key for key, _ in keys], [at or None for _, at in keys]]
        self._statement("add_keys", ids=rows[0], instants=rows[1])

    def _compare(self) -> None:
        rows = self._statement("compare")
        found = self.found
        found.source_count, found.stored_count, found.missing, found.outdated, found.gone = rows[0]
        if found.gone > max(_FEW_GONE, _MOST_GONE_RATIO * found.stored_count):
            raise FatalError(
                f"the source lists {found.source_count} {self.stream.name},"
                f" {found.stored_count} are here: {found.gone} would be deleted. Nothing was. If"
                " they really are gone, run a full refresh"
            )

    def _differences(self, *kinds: str) -> Iterator[list[str]]:
        """The ids that differ in one of these ways, a page at a time."""
        after = ""
        while True:
            rows = self._statement(
                "differences", kinds=list(kinds), after=after, size=FETCHED_AT_A_TIME
            )
            if not rows:
                return
            ids = [str(row[0]) for row in rows]
            yield ids
            after = ids[-1]

    def _fetch(self, ids: list[str]) -> list[dict[str, Any]]:
        assert self.system.fetch is not None
        return self.system.fetch(self.client, self.stream, ids)

    def _repair_changed(self, store: Store) -> None:
        for ids in self._differences("missing", "outdated"):
            batch = self._batch(self._fetch(ids))
            # A row that is back is taken whatever its time says: it is there, we asked.
            self._statement("confirm", ids=sorted(batch.ids()))
            store.commit(batch, Progress(None, None, False), is_last=False)

    def _repair_gone(self, store: Store) -> None:
        for ids in self._differences("gone"):
            batch = self._batch(self._fetch(ids))
            there = batch.ids()
            store.commit(batch, Progress(None, None, False), is_last=False)
            store.bury([key for key in ids if key not in there])

    def _batch(self, records: list[dict[str, Any]]) -> Batch:
        batch = Batch(self.stream)
        batch.add_page(Page(records=list(records)))
        return batch

    def _finish(self, store: Store) -> None:
        """Compare again what differed, and write the result down with the end of the run."""
        found = self.found
        found.unrepaired = int(self._statement("unrepaired")[0][0])
        found.repaired = found.missing + found.outdated + found.gone - found.unrepaired
        found.counts = {name: asdict(counts) for name, counts in store.totals.items()}
        store.source_counts[self.stream.name] = found.source_count
        with self.warehouse.transaction():
            store.close_books()
            params = {
                **{name: getattr(found, name) for name in _WRITTEN},
                "sync_run_id": self.job.runs[self.stream.name],
                "compared_at": clock.now(),
            }
            sqlfile.execute(self.warehouse, "ops/reconcile/write", params)


_WRITTEN = (
    "account",
    "stream",
    "source_count",
    "stored_count",
    "missing",
    "outdated",
    "gone",
    "repaired",
    "unrepaired",
)
