"""Writes batches: rows, books, rejects and cursor of a batch commit together or not at all."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any

import orjson
import psycopg
from psycopg.types.json import Jsonb

from marketing_ops import clock, sqlfile
from marketing_ops.errors import FatalError
from marketing_ops.sources.base import Stream
from marketing_ops.sync import books
from marketing_ops.sync.batch import Batch, RowSet
from marketing_ops.sync.books import Counts
from marketing_ops.sync.rows import unescape
from marketing_ops.sync.statements import Statements, statements_of, tombstones_of
from marketing_ops.warehouse import Warehouse, lock

FEW_ROWS = 1000
"""Up to so many rows go as one JSON parameter: no temporary table, fewer round trips."""


_PIECE = 2000


@dataclass
class Run:
    """One run of one stream family as the store sees it.

    Attributes:
        runs: stream name -> its sync_run_id.
        fresh: streams whose table had no row of the account when reading began.
        keeps_seen: remember the ids read, to find out afterwards what is gone.
        is_full: everything was asked for, so that a root that was not shown is gone.
        max_reject_ratio: more unusable records than this share fail the run.
    """

    account: str
    system: str
    stream: Stream
    runs: dict[str, int]
    started_at: datetime
    max_reject_ratio: float
    fresh: set[str] = field(default_factory=set)
    keeps_seen: bool = False
    is_full: bool = False

    @property
    def run_id(self) -> int:
        """The root stream's sync_run_id."""
        return self.runs[self.stream.name]


@dataclass(frozen=True)
class Progress:
    """What is saved beside a batch: where to go on, and up to when the source was read."""

    state: dict[str, Any] | None
    cursor_at: datetime | None
    moves: bool


class Store:
    """The writer of one run. Its totals hold what is committed."""

    def __init__(self, warehouse: Warehouse, run: Run) -> None:
        self.warehouse = warehouse
        self.run = run
        self.totals = {member.name: Counts() for member in run.stream.family()}
        self.source_counts: dict[str, int] = {}
        self.pages = 0
        self.unresolved = 0
        self.pending: Batch | None = None

    def commit(self, batch: Batch, progress: Progress, *, is_last: bool) -> None:
        """Merge a batch, then books, rejects and cursor, in one transaction.

        Raises:
            FatalError: the books do not balance, or too much was rejected; nothing is stored.
        """
        if is_last and not (batch.size or batch.rejects or progress.moves or self.run.keeps_seen):
            self._end()
            return
        self.pending = batch
        totals = {name: replace(counts) for name, counts in self.totals.items()}
        with self.warehouse.transaction():
            lock(
                self.warehouse,
                "sync",
                self.run.account,
                self.run.stream.deletes or self.run.stream.name,
            )
            for rows, counts in self._merged(batch):
                books.check(rows.stream.name, counts)
                totals[rows.stream.name].add(counts)
            if is_last and self.run.keeps_seen:
                self._sweep(totals)
            if is_last and self.unresolved:
                self._late_parents()
            for name, counts in totals.items():
                books.check_rejects(name, counts, self.run.max_reject_ratio)
            self._write_rejects(batch)
            self._write_books(totals, self.pages + batch.pages)
            if progress.moves:
                self._write_cursor(progress)
            if is_last:
                self._end()
        self.totals, self.pages, self.pending = totals, self.pages + batch.pages, None

    def _end(self) -> None:
        """The run succeeds together with its last batch."""
        params = {
            "runs": list(self.run.runs.values()),
            "status": "success",
            "finished_at": clock.now(),
            "error": None,
        }
        sqlfile.execute(self.warehouse, "ops/end_sync_runs", params)

    def keep_rejects(self) -> None:
        """Store the rejects of a batch that could not be stored itself, for a look."""
        if self.pending is not None:
            with self.warehouse.transaction():
                self._write_rejects(self.pending)

    def _merged(self, batch: Batch) -> list[tuple[RowSet, Counts]]:
        if self.run.stream.deletes:
            return [(batch.root, self._bury(batch.root))]
        merged: list[tuple[RowSet, Counts]] = []
        changed: list[str] = []
        stale: list[str] = []
        for rows in batch.row_sets():
            merger = _Merger(self.warehouse, self.run, rows, stale)
            counts = merger.merge()
            if rows is batch.root:
                changed, stale = merger.changed, merger.stale
            elif rows.complete:
                gone = merger.tombstone_vanished([key for key in changed if key in rows.complete])
                counts.tombstoned += gone
                counts.fetched += gone
            self.unresolved += rows.unresolved
            merged.append((rows, counts))
        return merged

    def _bury(self, rows: RowSet) -> Counts:
        """Mark what a deletion names; what is unknown or gone already is unchanged."""
        counts = replace(rows.counts)
        if not rows.lines:
            return counts
        params = {
            "rows": _json_rows(rows, ("id", "source_updated_at"), (0, -1)),
            "account": self.run.account,
            "loaded_at": self.run.started_at,
            "sync_run_id": self.run.run_id,
        }
        query = tombstones_of(self.run.system, self.run.stream.deletes)
        found = self.warehouse.execute(query, params).fetchone()
        assert found is not None
        counts.tombstoned, counts.unchanged, counts.stale = found
        return counts

    def _sweep(self, totals: dict[str, Counts]) -> None:
        """Tombstone what a full read did not show."""
        self.warehouse.execute("set local enable_hashjoin = on")
        for member in self.run.stream.family():
            is_root = member is self.run.stream
            wanted = (
                (self.run.is_full and member.is_complete) if is_root else bool(member.line_mark)
            )
            if not wanted:
                continue
            params = {
                "account": self.run.account,
                "loaded_at": self.run.started_at,
                "sync_run_id": self.run.runs[member.name],
            }
            query = statements_of(self.run.system, member).sweep
            gone = self.warehouse.execute(query, params).rowcount
            totals[member.name].tombstoned += gone
            totals[member.name].fetched += gone

    def _late_parents(self) -> None:
        """Lines that came before their parent get its time now."""
        for member in self.run.stream.children:
            query = statements_of(self.run.system, member).late_parents
            if query is not None and member.line_mark:
                self.warehouse.execute(query, {"account": self.run.account})

    def _write_rejects(self, batch: Batch) -> None:
        if not batch.rejects:
            return
        params = {
            "account": self.run.account,
            "sync_run_id": self.run.run_id,
            "rejected_at": clock.now(),
            "stream": [reject.stream for reject in batch.rejects],
            "record_id": [reject.record_id for reject in batch.rejects],
            "reason": [reject.reason for reject in batch.rejects],
            "payload": [reject.payload for reject in batch.rejects],
        }
        sqlfile.execute(self.warehouse, "ops/write_rejected_records", params)

    def _write_books(self, totals: dict[str, Counts], pages: int) -> None:
        names = list(totals)
        params: dict[str, Any] = {
            field: [getattr(totals[name], field) for name in names]
            for field in Counts.__dataclass_fields__
        }
        params["sync_run_id"] = [self.run.runs[name] for name in names]
        params["pages"] = [pages if name == self.run.stream.name else 0 for name in names]
        params["source_count"] = [self.source_counts.get(name) for name in names]
        sqlfile.execute(self.warehouse, "ops/write_sync_books", params)

    def _write_cursor(self, progress: Progress) -> None:
        state = Jsonb(progress.state) if progress.state is not None else None
        params = {
            "account": self.run.account,
            "stream": self.run.stream.name,
            "cursor_at": progress.cursor_at,
            "page_state": state,
            "sync_run_id": self.run.run_id,
            "updated_at": clock.now(),
        }
        sqlfile.execute(self.warehouse, "ops/write_sync_cursor", params)


class _Merger:
    """Merges the rows of one stream of a batch; `changed` and `stale` are ids afterwards."""

    def __init__(
        self, warehouse: Warehouse, run: Run, rows: RowSet, stale_parents: list[str]
    ) -> None:
        self.warehouse, self.run, self.rows = warehouse, run, rows
        self.say: Statements = statements_of(run.system, rows.stream)
        self.changed: list[str] = []
        self.stale: list[str] = []
        self.params: dict[str, Any] = {
            "account": run.account,
            "loaded_at": run.started_at,
            "sync_run_id": run.runs[rows.stream.name],
            "stale_parents": stale_parents,
        }

    def merge(self) -> Counts:
        """Store the rows by the cheapest way that is right; what became of them."""
        counts = replace(self.rows.counts)
        lines = self.rows.rows()
        if not lines:
            return counts
        is_fresh = self.rows.stream.name in self.run.fresh and not self.rows.unresolved
        if len(lines) <= FEW_ROWS and not self.run.keeps_seen and not self.rows.unresolved:
            self._merge_few(counts)
        elif not (is_fresh and self._copy_direct(lines, counts)):
            self._merge_staged(lines, counts)
        return counts

    def _copy_direct(self, lines: list[str], counts: Counts) -> bool:
        """COPY straight into a table that had none of these rows; False when it has one."""
        prefix = f"{_copy_text(self.run.account)}\t"
        suffix = f"\t{self.params['loaded_at'].isoformat()}\t{self.params['sync_run_id']}\n"
        try:
            with self.warehouse.transaction():
                counts.inserted = self._copy(self.say.copy_direct, lines, prefix, suffix)
        except psycopg.errors.UniqueViolation:
            return False
        return True

    def _copy(
        self, query: psycopg.sql.Composed, lines: list[str], prefix: str = "", suffix: str = "\n"
    ) -> int:
        """COPY the lines piece by piece, each between `prefix` and `suffix`."""
        between = suffix + prefix
        with self.warehouse.cursor() as cursor:
            with cursor.copy(query) as copy:
                for start in range(0, len(lines), _PIECE):
                    piece = between.join(lines[start : start + _PIECE])
                    copy.write(f"{prefix}{piece}{suffix}")
            return cursor.rowcount

    def _merge_staged(self, lines: list[str], counts: Counts) -> None:
        self._ensure_stage()
        staged = self._copy(self.say.copy_stage, lines)
        if self.rows.unresolved and self.say.resolve_parents is not None:
            self.warehouse.execute(self.say.resolve_parents, self.params)
        if self.run.keeps_seen:
            self.warehouse.execute(self.say.remember_seen)
        # A batch is small beside its table: look its keys up instead of reading the whole table.
        self.warehouse.execute("set local enable_hashjoin = off")
        self.warehouse.execute("set local enable_mergejoin = off")
        new = self._classify(self.say.classify, staged, counts)
        if new == staged:
            counts.inserted = self.warehouse.execute(self.say.insert_new, self.params).rowcount
        else:
            self._merge_what_changed(self.say.merge, new, counts)

    def _merge_few(self, counts: Counts) -> None:
        names = (*self.rows.shape.names, "row_hash", "source_updated_at")
        self.params["rows"] = _json_rows(self.rows, names, range(len(names)))
        new = self._classify(self.say.classify_few, len(self.rows.rows()), counts)
        self._merge_what_changed(self.say.merge_few, new, counts)

    def _classify(self, query: psycopg.sql.Composed, staged: int, counts: Counts) -> int:
        """Count the verdicts; the new ones are returned, since only the write counts them."""
        found = self.warehouse.execute(query, self.params).fetchone()
        assert found is not None
        total, new, changed, counts.unchanged, counts.stale, ids, stale = found
        if total != staged:
            raise FatalError(
                f"{staged} rows of {self.rows.stream.name} were staged, {total} are there"
            )
        self.changed, self.stale = ids or [], stale or []
        counts.updated = changed
        return int(new)

    def _merge_what_changed(self, query: psycopg.sql.Composed, new: int, counts: Counts) -> None:
        """Write what was judged new or changed; fewer rows written than judged unbalance."""
        if new + counts.updated == 0:
            return
        written = self.warehouse.execute(query, self.params).rowcount
        counts.inserted = written - counts.updated

    def _ensure_stage(self) -> None:
        self.warehouse.execute(self.say.create_stage)
        if self.run.keeps_seen:
            self.warehouse.execute(self.say.create_seen)

    def tombstone_vanished(self, parents: list[str]) -> int:
        """Mark the children that changed parents no longer have; how many there were."""
        if not parents or self.say.tombstone_vanished is None:
            return 0
        params = {**self.params, "parents": parents, "kept": list(self.rows.index)}
        return self.warehouse.execute(self.say.tombstone_vanished, params).rowcount


def _json_rows(rows: RowSet, names: tuple[str, ...], places: Any) -> str:
    """The rows as JSON for json_to_recordset: text or null, as COPY would read them."""
    made = []
    for line in rows.rows():
        fields = line.split("\t")
        made.append(
            {name: unescape(fields[place]) for name, place in zip(names, places, strict=True)}
        )
    return orjson.dumps(made).decode()


def _copy_text(text: str) -> str:
    return text.replace("\\", "\\\\").replace("\t", "\\t").replace("\n", "\\n")
