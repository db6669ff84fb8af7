"""The tick: one instant of every campaign, as a pure function of state, facts and definitions.

Each group of shards is one transaction. It acts on the facts that its shards have not seen yet and
moves their marks with it, so a tick that is killed, repeated or run by several workers gives the
same ledger as one that ran through.
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime
from typing import Any
from weakref import WeakKeyDictionary

from psycopg import sql
from psycopg.types.json import Jsonb

from marketing_ops import sqlfile
from marketing_ops.campaigns import book as books
from marketing_ops.campaigns import entries
from marketing_ops.campaigns.advance import Advance
from marketing_ops.campaigns.book import Book
from marketing_ops.campaigns.entries import Evaluation, Facts, Mark, json
from marketing_ops.settings import settings
from marketing_ops.warehouse import (
    Warehouse,
    ensure_partitions,
    last_batch,
    plan_for_few,
    translated_errors,
)

_log = logging.getLogger(__name__)

SHARDS = 64
LOCK = "campaign tick"
MOST_TOGETHER = 5_000
"""With no more due than this, all free groups are one transaction; with more, each is its own, so
that several workers share them and no lock is held for long."""
FEW = 200
"""Up to this many due are looked up by index: the planner cannot know how few they are."""

_BEGINNING = datetime(1, 1, 1, tzinfo=UTC)
_MOST_DELETED = 100 * 8192
_MANY = 2_000
_prepared: WeakKeyDictionary[Warehouse, set[date]] = WeakKeyDictionary()


@dataclass
class TickReport:
    """What one tick did.

    Attributes:
        at: the instant it ticked: never before an earlier tick's.
        batch: the last batch it saw.
        left: enrolments that reached a goal or an exit.
        moved: enrolments that came to another step, or whose due instant moved.
        busy: groups of shards that another worker was at.
    """

    tick_id: int
    at: datetime
    batch: int
    entered: int = 0
    left: int = 0
    moved: int = 0
    claimed: int = 0
    skipped: int = 0
    held: int = 0
    busy: int = 0

    @property
    def counts(self) -> dict[str, int]:
        """What is not zero, by name."""
        names = ("entered", "left", "moved", "claimed", "skipped", "held", "busy")
        return {name: getattr(self, name) for name in names if getattr(self, name)}

    def add(self, counts: Mapping[str, int]) -> None:
        """Add one transaction's counts."""
        for name, count in counts.items():
            setattr(self, name, getattr(self, name) + count)

    def __str__(self) -> str:
        return ", ".join(f"{count} {name}" for name, count in self.counts.items())


def group_of(group: int, groups: int) -> list[int]:
    """The shards of one group."""
    return [shard for shard in range(SHARDS) if shard % groups == group]


def lock_name(group: int, groups: int) -> tuple[object, ...]:
    """What a worker locks to work on a group; see `warehouse.lock`."""
    return (LOCK, groups, group)


def tick(
    warehouse: Warehouse, at: datetime, *, report: Callable[[str], None] = _log.info
) -> TickReport:
    """Bring every campaign to the instant `at`, or to the last tick's when that was later.

    Only facts of batches committed before the tick began, and dated up to it, are seen. Sends are
    decided in `mkt_engage.sends`, never delivered here.

    Raises:
        RetryableError: Postgres is busy, full or away; what was committed stays, a rerun goes on.
        FatalError: the warehouse is not migrated.
    """
    with translated_errors():
        row = warehouse.execute("select max(tick_at) from mkt_ops.ticks").fetchone()
        return _tick(warehouse, max(at, row[0]) if row and row[0] else at, report)


def _tick(warehouse: Warehouse, at: datetime, report: Callable[[str], None]) -> TickReport:
    batch = last_batch(warehouse)
    book = Book(warehouse)
    _prepare(warehouse, at)
    due = _probe(warehouse, book, at, batch)
    groups = settings().limits.shards
    wanted = [
        group for group in range(groups) if not due.keys().isdisjoint(group_of(group, groups))
    ]
    if sum(due.values()) <= MOST_TOGETHER:
        with warehouse.transaction():
            # Few are due: one plan for every call is cheaper than the best plan for each.
            if sum(due.values()) <= FEW:
                plan_for_few(warehouse)
            else:
                warehouse.execute("set local plan_cache_mode = force_generic_plan")
            result = TickReport(_number(warehouse, at, batch, book), at, batch)
            _work(warehouse, book, wanted, result)
            _note(warehouse, result)
    else:
        result = TickReport(_number(warehouse, at, batch, book), at, batch)
        for group in wanted:
            with warehouse.transaction():
                _work(warehouse, book, [group], result)
        _note(warehouse, result)
    if result.counts:
        report(f"tick {result.tick_id}: {result}")
    return result


def _work(warehouse: Warehouse, book: Book, groups: list[int], result: TickReport) -> None:
    """Tick those of the groups that no other worker is at, in one transaction."""
    count = settings().limits.shards
    if not groups:
        return
    # A statement of its own: what follows must see what the last holder committed.
    names = [":".join(str(part) for part in lock_name(group, count)) for group in groups]
    rows = sqlfile.execute(warehouse, "engage/tick_lock", {"names": names}).fetchall()
    free = [group for group, row in zip(groups, rows, strict=True) if row[0]]
    result.busy += len(groups) - len(free)
    if free:
        shards = sorted(shard for group in free for shard in group_of(group, count))
        result.add(_Group(warehouse, book, shards, result).run())


def _number(warehouse: Warehouse, at: datetime, batch: int, book: Book) -> int:
    row = warehouse.execute(
        "insert into mkt_ops.ticks (tick_at, batch, definitions_hash) values (%s, %s, %s)"
        " returning tick_id",
        (at, batch, book.hash),
    ).fetchone()
    assert row is not None
    return int(row[0])


def _note(warehouse: Warehouse, result: TickReport) -> None:
    if result.counts:
        warehouse.execute(
            "update mkt_ops.ticks set counts = %s where tick_id = %s",
            (Jsonb(result.counts), result.tick_id),
        )


def forget(warehouse: Warehouse) -> None:
    """Look again for working tables and partitions, after a rollback that took them."""
    _prepared.pop(warehouse, None)


def _prepare(warehouse: Warehouse, at: datetime) -> None:
    """The session's working tables and this month's partitions, once a connection and month."""
    months = _prepared.setdefault(warehouse, set())
    if not months:
        sqlfile.execute(warehouse, "engage/tick_tables")
    month = at.astimezone(UTC).date().replace(day=1)
    if month not in months:
        ensure_partitions(warehouse, "mkt_engage.sends", month, month)
        ensure_partitions(warehouse, "mkt_engage.enrolment_log", month, month)
        months.add(month)


def _probe(warehouse: Warehouse, book: Book, at: datetime, batch: int) -> dict[int, int]:
    """The shards in which there is something to do, and how many are due in each."""
    states = books.read_states(warehouse)
    params = {
        "at": at,
        "batch": batch,
        "live": [state.campaign_id for state in states if state.is_live],
        "open": [state.campaign_id for state in states if state.is_open],
        "segments": book.segments(states),
        "types": book.types,
        "enough": MOST_TOGETHER + 1,
    }
    rows = sqlfile.execute(warehouse, "engage/tick_probe", params)
    return {int(shard): int(due) for shard, due in rows}


class _Group:
    """One transaction of a tick: the shards of one group, under their lock."""

    def __init__(
        self, warehouse: Warehouse, book: Book, shards: list[int], report: TickReport
    ) -> None:
        self.warehouse = warehouse
        self.book = book
        self.states = books.read_states(warehouse)
        self.facts = self._read_facts(shards, report)
        self.counts: Counter[str] = Counter()

    def run(self) -> Counter[str]:
        """Exits and goals, entries, moves and claims, the log, the marks; returns the counts."""
        self._empty()
        self._load_events()
        if self.facts.types:
            self._leave("engage/tick_hits_events", {"watches": self.book.watches})
        found = entries.gather(self.warehouse, self.book, self.states, self.facts)
        tripped: set[int] = set()
        if found:
            self.counts["entered"], tripped = entries.enrol(self.warehouse, found, self.facts)
        if self.counts["entered"]:
            params = {
                "watches": self.book.watches,
                "batch": self.facts.batch,
                "at": self.facts.at,
            }
            self._leave("engage/tick_hits_entered", params)
        self._advance()
        sqlfile.execute(
            self.warehouse,
            "engage/tick_log",
            {"tick_id": self.facts.tick_id, "at": self.facts.at},
        )
        self._move_marks(tripped)
        return self.counts

    def _empty(self) -> None:
        """Empty the working tables that the last transaction of this session filled.

        Truncating makes a new file, which costs more than deleting a few rows.
        """
        rows = sqlfile.execute(self.warehouse, "engage/tick_working_sizes")
        for name, size in rows:
            how = "delete from {}" if size <= _MOST_DELETED else "truncate {}"
            self.warehouse.execute(sql.SQL(how).format(sql.Identifier(name)))

    def _read_facts(self, shards: list[int], report: TickReport) -> Facts:
        marks = {
            int(row[0]): Mark(int(row[0]), int(row[1]), row[2], _evaluations(row[3]))
            for row in self.warehouse.execute(
                "select shard, seen_batch, greatest(seen_at, %s), seen_segments"
                " from mkt_engage.shard_marks where shard = any(%s)",
                (_BEGINNING, shards),
            )
        }
        own = {
            (int(row[0]), int(row[1])): Mark(
                int(row[1]), int(row[2]), row[3], _evaluations(row[4]), bool(row[5])
            )
            for row in self.warehouse.execute(
                "select campaign_id, shard, seen_batch, greatest(seen_at, %s), seen_segments,"
                " is_existing from mkt_engage.campaign_marks where shard = any(%s)",
                (_BEGINNING, shards),
            )
        }
        # Another worker may have come here with a later instant: time never goes back.
        at = max([report.at, *(mark.at for mark in marks.values())])
        batch = max([report.batch, *(mark.batch for mark in marks.values())])
        evaluated = {
            str(row[0]): Evaluation(row[1], int(row[2]), str(row[3]))
            for row in self.warehouse.execute(
                "select segment, last_evaluated_at, last_batch, definition_hash"
                " from mkt_engage.segments where segment = any(%s) and last_evaluated_at <= %s",
                (self.book.segments(self.states), at),
            )
        }
        return Facts(report.tick_id, at, batch, shards, marks, own, set(), evaluated)

    def _load_events(self) -> None:
        """Bring the events that became visible since the marks into `tick_events`."""
        open_ids = {state.campaign_id for state in self.states if state.is_open}
        own = [mark for key, mark in self.facts.own_marks.items() if key[0] in open_ids]
        marks = [*self.facts.marks.values(), *own]
        min_batch = min(mark.batch for mark in marks)
        min_at = min(mark.at for mark in marks)
        if not self.book.types or (min_batch >= self.facts.batch and min_at >= self.facts.at):
            return
        params = {
            "shards": self.facts.shards,
            "types": self.book.types,
            "batch": self.facts.batch,
            "at": self.facts.at,
            "min_batch": min_batch,
            "min_at": min_at,
        }
        rows = sqlfile.execute(self.warehouse, "engage/tick_load_events", params)
        self.facts.types.update(str(event_type) for event_type, _ in rows)

    def _leave(self, file: str, params: dict[str, Any]) -> None:
        """Apply the goals and exits that a statement finds."""
        if sqlfile.execute(self.warehouse, file, params).rowcount:
            applied = {"at": self.facts.at, "seq": 2}
            rows = sqlfile.execute(self.warehouse, "engage/tick_apply_hits", applied).rowcount
            self.counts["left"] += rows
            self.warehouse.execute("delete from tick_hits")

    def _advance(self) -> None:
        live = [state.campaign_id for state in self.states if state.is_live]
        params = {"shards": self.facts.shards, "campaigns": live, "at": self.facts.at}
        loaded = sqlfile.execute(self.warehouse, "engage/tick_load_work", params).rowcount
        if not loaded:
            return
        if loaded > _MANY:
            self.warehouse.execute("analyze tick_work")
        brands = self.book.fresh_brands(self.states)
        ages = books.ages(self.warehouse, brands, self.facts.at, self.facts.batch)
        senders = self.book.senders(self.states, ages)
        advance = Advance(self.warehouse, self.book, self.facts, senders)
        advance.run()
        self.counts += advance.counts

    def _move_marks(self, tripped: set[int]) -> None:
        """Note what these shards have seen; who takes no entries now keeps the marks they had."""
        took = [
            state.campaign_id
            for state in self.states
            if state.is_open and state.campaign_id not in tripped
        ]
        waiting = [
            state.campaign_id
            for state in self.states
            if state.state != "stopped" and state.campaign_id not in took
        ]
        params = {
            "shards": self.facts.shards,
            "batch": self.facts.batch,
            "at": self.facts.at,
            "seen_segments": json(self.facts.evaluated),
            "tick_id": self.facts.tick_id,
            "waiting": waiting,
            "open": took,
        }
        sqlfile.execute(self.warehouse, "engage/tick_advance_marks", params)


def _evaluations(stored: dict[str, Any]) -> dict[str, Evaluation]:
    return {
        name: Evaluation(datetime.fromisoformat(row["at"]), int(row["batch"]), str(row["hash"]))
        for name, row in stored.items()
    }
