"""Writes batches: rows, books, rejects and cursor of a batch commit together or not at all."""

from __future__ import annotations

from collections import Counter
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any

import orjson
import psycopg
from psycopg.types.json import Jsonb
from psycopg.waiting import Ready, Wait

from marketing_ops import clock, sqlfile
from marketing_ops.errors import FatalError
from marketing_ops.sources.base import Stream
from marketing_ops.sync import books
from marketing_ops.sync.batch import Batch, RowSet
from marketing_ops.sync.books import Counts
from marketing_ops.sync.rows import Odd, unescape
from marketing_ops.sync.statements import Statements, statements_of, tombstones_of
from marketing_ops.warehouse import Warehouse, lock

Cursor = psycopg.Cursor[tuple[Any, ...]]

FEW_ROWS = 1000
"""Up to so many rows go as one JSON parameter: no temporary table, fewer round trips."""


_PIECE = 2000
_FEW_GONE = 20


@dataclass
class Run:
    """One run of one stream family as the store sees it.

    Attributes:
        runs: stream name -> its sync_run_id.
        asked_at: when its read began; earlier than `started_at` where a vendor prepared a file.
        fresh: streams whose table had no row of the account when reading began.
        keeps_seen: remember the ids read, to find out afterwards what is gone.
        is_full: everything was asked for, so that a root that was not shown is gone.
        is_guarded: an answer without any record is not taken for a deletion of them all.
        max_reject_ratio: more unusable records than this share fail the run.
    """

    account: str
    system: str
    stream: Stream
    runs: dict[str, int]
    started_at: datetime
    asked_at: datetime
    max_reject_ratio: float
    fresh: set[str] = field(default_factory=set)
    keeps_seen: bool = False
    is_full: bool = False
    is_guarded: bool = False

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
    """The writer of one run. Its totals hold what is committed.

    Attributes:
        nameless: records that were rejected and show no id: any row may be one of them, so that
            no absence is believed.
    """

    def __init__(self, warehouse: Warehouse, run: Run) -> None:
        self.warehouse = warehouse
        self.run = run
        self.totals = {member.name: Counts() for member in run.stream.family()}
        self.source_counts: dict[str, int] = {}
        self.pages = 0
        self.unresolved = 0
        self.nameless = 0
        self.odd = {member.name: Counter[Odd]() for member in run.stream.family()}
        self.pending: Batch | None = None
        self.pipeline: psycopg.Pipeline | None = None
        if run.keeps_seen:
            self._forget_seen()

    def _forget_seen(self) -> None:
        """Nothing is seen yet, whatever an earlier run of this session saw; even nothing counts."""
        for member in self.run.stream.family():
            say = statements_of(self.run.system, member)
            self.warehouse.execute(say.create_seen)
            self.warehouse.execute(say.empty_seen)

    def commit(self, batch: Batch, progress: Progress, *, is_last: bool) -> None:
        """Merge a batch, then books, rejects and cursor, in one transaction.

        Raises:
            FatalError: the books do not balance, or too much was rejected; nothing is stored.
        """
        if is_last and not (batch.size or progress.moves or self.run.keeps_seen):
            self._end()
            return
        self.pending = batch
        totals = {name: replace(counts) for name, counts in self.totals.items()}
        with self._statements(batch), self.warehouse.transaction():
            written = self.run.stream.deletes or self.run.stream.name
            lock(self.warehouse, "sync", self.run.account, written)
            for rows, counts in self._merged(batch):
                books.check(rows.stream.name, counts)
                totals[rows.stream.name].add(counts)
            self._bury_absorbed(batch, totals)
            if self.run.keeps_seen:
                self._remember_rejected(batch)
            if is_last and self.run.keeps_seen and not self.nameless:
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
            self._hand_over()
        self.totals, self.pages, self.pending = totals, self.pages + batch.pages, None
        for rows in batch.row_sets():
            self.odd[rows.stream.name].update(rows.odd)

    @contextmanager
    def _statements(self, batch: Batch) -> Iterator[None]:
        """Send the statements of a small batch in few round trips; COPY cannot be sent so."""
        if self._is_few(batch):
            with self.warehouse.pipeline() as self.pipeline:
                yield
            self.pipeline = None
        else:
            yield

    def _is_few(self, batch: Batch) -> bool:
        sets = batch.row_sets()
        is_plain = not (self.run.keeps_seen or self.unresolved)
        return is_plain and all(len(s.lines) <= FEW_ROWS and not s.unresolved for s in sets)

    def _arrive(self) -> None:
        """Wait for the answers to what was sent."""
        if self.pipeline is not None:
            self._hand_over()
            self.pipeline.sync()

    def _hand_over(self) -> None:
        """Send all of what waits to be sent: psycopg (3.3) tries once before it waits for answers,
        and what the socket did not take then is never sent, nor answered.
        """
        self.warehouse.wait(_sent(self.warehouse.pgconn))

    def _end(self) -> None:
        """The run succeeds together with its last batch."""
        params = {
            "runs": list(self.run.runs.values()),
            "status": "success",
            "finished_at": clock.now(),
            "error": None,
        }
        sqlfile.execute(self.warehouse, "ops/end_sync_runs", params)

    def bury(self, ids: list[str]) -> None:
        """Mark rows that the source does not know any more; each is news, as an absence is."""
        if not ids:
            return
        named = orjson.dumps([{"id": key, "source_updated_at": None} for key in ids]).decode()
        name, totals = self.run.stream.name, replace(self.totals[self.run.stream.name])
        with self.warehouse.transaction():
            lock(self.warehouse, "sync", self.run.account, name)
            buried, *_ = self._tombstone(name, named)
            totals.tombstoned += buried
            totals.fetched += buried
            self._write_books({**self.totals, name: totals}, self.pages)
        self.totals[name] = totals

    def close_books(self) -> None:
        """The run succeeds without a last batch of its own."""
        self._write_books(self.totals, self.pages)
        self._end()

    def keep_rejects(self) -> None:
        """Store the rejects of a batch that could not be stored itself, for a look."""
        if self.pending is not None:
            with self.warehouse.transaction():
                self._write_rejects(self.pending)

    def _merged(self, batch: Batch) -> list[tuple[RowSet, Counts]]:
        if self.run.stream.deletes:
            return [(batch.root, self._bury(batch.root))]
        is_few = self.pipeline is not None
        root = _Merger(self.warehouse, self.run, batch.root, is_few)
        root.send()
        self._arrive()
        merged = [(batch.root, root.receive())]
        children = [_Merger(self.warehouse, self.run, rows, is_few) for rows in batch.children]
        for child in children:
            child.send(root.stale)
            # Without a time of change an unchanged parent says nothing about its list.
            is_timed = bool(self.run.stream.cursor)
            child.tombstone_vanished(root.changed if is_timed else list(batch.root.index))
        self._arrive()
        merged += [(child.rows, child.receive()) for child in children]
        self.unresolved += sum(rows.unresolved for rows in batch.children)
        return merged

    def _bury(self, rows: RowSet) -> Counts:
        """Mark what a deletion names; what is unknown or gone already is unchanged."""
        counts = replace(rows.counts)
        if not rows.lines:
            return counts
        named = _json_rows(rows, ("id", "source_updated_at"), (0, -1))
        found = self._tombstone(self.run.stream.deletes, named)
        counts.tombstoned, counts.unchanged, counts.stale = found
        return counts

    def _bury_absorbed(self, batch: Batch, totals: dict[str, Counts]) -> None:
        """Mark the rows that were merged into rows of the batch; each is news, as an absence is."""
        if not batch.absorbed:
            return
        named = [{"id": old, "source_updated_at": at} for old, at in batch.absorbed.items()]
        buried, *_ = self._tombstone(self.run.stream.name, orjson.dumps(named).decode())
        totals[self.run.stream.name].tombstoned += buried
        totals[self.run.stream.name].fetched += buried

    def _tombstone(self, stream: str, named: str) -> tuple[int, int, int]:
        """Mark the named rows of a stream: how many were, were gone already, are newer."""
        params = {
            "rows": named,
            "account": self.run.account,
            "loaded_at": self.run.started_at,
            "sync_run_id": self.run.run_id,
        }
        found = self.warehouse.execute(tombstones_of(self.run.system, stream), params).fetchone()
        assert found is not None
        return found[0], found[1], found[2]

    def _remember_rejected(self, batch: Batch) -> None:
        """What was shown and could not be used is there all the same."""
        for member in self.run.stream.family():
            keys = [one.record_id for one in batch.rejects if one.stream == member.name]
            named = [key for key in keys if key]
            self.nameless += len(keys) - len(named)
            if named:
                query = statements_of(self.run.system, member).remember_ids
                self.warehouse.execute(query, {"ids": named})

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
                "asked_at": self.run.asked_at,
                "sync_run_id": self.run.runs[member.name],
            }
            query = statements_of(self.run.system, member).sweep
            gone = self.warehouse.execute(query, params).rowcount
            if self.run.is_guarded and gone > _FEW_GONE and not totals[member.name].fetched:
                raise FatalError(
                    f"the source shows none of {gone} {member.name}: nothing was deleted. If they"
                    " really are gone, run a full refresh"
                )
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
    """Merges the rows of one stream of a batch.

    `send` and `tombstone_vanished` hand the statements over, `receive` reads what became of the
    rows; between them a pipeline's answers have to arrive. `changed` and `stale` are ids.
    """

    def __init__(self, warehouse: Warehouse, run: Run, rows: RowSet, is_few: bool) -> None:
        self.warehouse, self.run, self.rows, self.is_few = warehouse, run, rows, is_few
        self.say: Statements = statements_of(run.system, rows.stream)
        self.changed: list[str] = []
        self.stale: list[str] = []
        self.lines = rows.rows()
        self.params: dict[str, Any] = {
            "account": run.account,
            "loaded_at": run.started_at,
            "sync_run_id": run.runs[rows.stream.name],
        }
        self._inserted = 0
        self._judged: Cursor | None = None
        self._written: Cursor | None = None
        self._vanished: Cursor | None = None

    def send(self, stale_parents: list[str] | None = None) -> None:
        """Store the rows by the cheapest way that is right."""
        self.params["stale_parents"] = stale_parents or []
        if not self.lines:
            return
        is_fresh = self.rows.stream.name in self.run.fresh and not self.rows.unresolved
        if self.is_few:
            names = (*self.rows.shape.names, "row_hash", "source_updated_at")
            self.params["rows"] = _json_rows(self.rows, names, range(len(names)))
            self._judged = self.warehouse.execute(self.say.classify_few, self.params)
            self._written = self.warehouse.execute(self.say.merge_few, self.params)
        elif not (is_fresh and self._copy_direct()):
            self._merge_staged()

    def tombstone_vanished(self, parents: list[str]) -> None:
        """Mark the children that changed parents, whose lists are here as a whole, lost."""
        whole = [key for key in parents if key in self.rows.complete]
        if whole and self.say.tombstone_vanished is not None:
            params = {**self.params, "parents": whole, "kept": list(self.rows.index)}
            self._vanished = self.warehouse.execute(self.say.tombstone_vanished, params)

    def receive(self) -> Counts:
        """What became of the rows. What was judged and not written unbalances the books."""
        counts = replace(self.rows.counts)
        counts.inserted = self._inserted
        if self._judged is not None:
            found = self._judged.fetchone()
            assert found is not None
            total, _, counts.updated, counts.unchanged, counts.stale, ids, stale = found
            if total != len(self.lines):
                raise FatalError(f"{total} of {len(self.lines)} rows were staged")
            self.changed, self.stale = ids or [], stale or []
            written = self._written.rowcount if self._written is not None else 0
            counts.inserted = written - counts.updated
        if self._vanished is not None:
            counts.tombstoned += self._vanished.rowcount
            counts.fetched += self._vanished.rowcount
        return counts

    def _copy_direct(self) -> bool:
        """COPY straight into a table that had none of these rows; False when it has one."""
        prefix = f"{_copy_text(self.run.account)}\t"
        suffix = f"\t{self.params['loaded_at'].isoformat()}\t{self.params['sync_run_id']}\n"
        try:
            with self.warehouse.transaction():
                self._inserted = self._copy(self.say.copy_direct, prefix, suffix)
        except psycopg.errors.UniqueViolation:
            return False
        return True

    def _copy(self, query: bytes, prefix: str = "", suffix: str = "\n") -> int:
        """COPY the lines piece by piece, each between `prefix` and `suffix`."""
        between = suffix + prefix
        with self.warehouse.cursor() as cursor:
            with cursor.copy(query) as copy:
                for start in range(0, len(self.lines), _PIECE):
                    piece = between.join(self.lines[start : start + _PIECE])
                    copy.write(f"{prefix}{piece}{suffix}")
            return cursor.rowcount

    def _merge_staged(self) -> None:
        execute = self.warehouse.execute
        execute(self.say.create_stage)
        self._copy(self.say.copy_stage)
        if self.rows.unresolved and self.say.resolve_parents is not None:
            execute(self.say.resolve_parents, self.params)
        if self.run.keeps_seen:
            execute(self.say.remember_seen)
        # A batch is small beside its table: look its keys up instead of reading the whole table.
        execute("set local enable_hashjoin = off")
        execute("set local enable_mergejoin = off")
        self._judged = execute(self.say.classify, self.params)
        total, new, changed, *_ = self._judged.fetchone() or (0, 0, 0)
        self._judged.scroll(0, mode="absolute")
        if new == total:
            self._written = execute(self.say.insert_new, self.params)
        elif new + changed:
            self._written = execute(self.say.merge, self.params)


def _sent(connection: psycopg.pq.abc.PGconn) -> Generator[Wait, Ready | int, None]:
    """Wait until the server took everything; what it says meanwhile is kept."""
    while connection.flush():
        if (yield Wait.RW) & Ready.R:
            connection.consume_input()


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
