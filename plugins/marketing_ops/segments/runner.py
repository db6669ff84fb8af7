"""Live memberships kept incrementally, and memberships as of the end of past days."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import date, datetime, timedelta

from marketing_ops import clock, sqlfile
from marketing_ops.errors import DefinitionError
from marketing_ops.segments import compiler, flips
from marketing_ops.segments.compiler import Statement
from marketing_ops.segments.definition import (
    Registry,
    Resolved,
    SegmentFile,
    canonical,
    definition_hash,
    load_all,
    resolve,
    segments_folder,
)
from marketing_ops.settings import settings
from marketing_ops.warehouse import Warehouse, last_batch, lock
from marketing_ops.window import day_window
from marketing_ops.yamlfile import did_you_mean

Report = Callable[[str], None]
_TICK = timedelta(microseconds=1)


@dataclass(frozen=True)
class SegmentReport:
    """What one evaluation of one segment did.

    Attributes:
        members: contacts in the segment afterwards.
        baseline: of those who entered, how many did so without news: they enrol nowhere.
        is_full: True when everyone was looked at, not only those with news.
        touched: contacts looked at; None when everyone was.
    """

    segment: str
    members: int
    entered: int
    left: int
    baseline: int
    is_full: bool
    touched: int | None


@dataclass(frozen=True)
class _Segment:
    name: str
    hash: str
    tree: Resolved
    text: str


@dataclass(frozen=True)
class _Pass:
    """Segments that were last evaluated together, or never (`last_at` None)."""

    segments: tuple[_Segment, ...]
    last_at: datetime | None
    last_batch: int


def _quiet(_line: str) -> None:
    """Report to nobody."""


def refresh(
    warehouse: Warehouse,
    at: datetime,
    *,
    names: Sequence[str] | None = None,
    full: bool = False,
    report: Report = _quiet,
) -> list[SegmentReport]:
    """Bring the live memberships to the instant `at`; one report per segment, by name.

    Only contacts with new facts, or for whom a window ended or a date came since the last
    evaluation, are looked at. New and edited segments are evaluated wholly; their first members
    are baseline, as are those who enter only by a baseline batch, a merge or a repair.
    Run twice at one instant it changes nothing. One call at a time works; others wait.

    Args:
        at: an aware instant; one before a segment's last evaluation counts as that instant.
        names: only these segments; None means all whose file can be used.
        full: look at everyone, and so repair what may have gone wrong.
        report: told about files that cannot be used, and what changed.

    Raises:
        DefinitionError: a segment of `names` does not exist or cannot be used.
    """
    registry, problems = load_all()
    for problem in problems:
        report(f"not evaluated: {problem}")
    chosen = _chosen(registry, names, [str(problem) for problem in problems])
    with _one_at_a_time(warehouse), warehouse.transaction():
        # One snapshot: what a batch that commits meanwhile brings belongs to the next call.
        warehouse.execute("set transaction isolation level repeatable read")
        # A crash may lose the whole call, never a part: the next one finds the same again. Whatever
        # is built on it commits later, and so after it.
        warehouse.execute("set local synchronous_commit = off")
        sqlfile.execute(warehouse, "engage/segment_temporary_tables")
        if names is None:
            _retire(warehouse, at, report)
        batch = last_batch(warehouse)
        done: list[SegmentReport] = []
        for number, one in enumerate(_passes(warehouse, chosen)):
            if number:
                sqlfile.execute(warehouse, "engage/segment_clear_temporary_tables")
            done += _evaluate(warehouse, one, at, batch, full=full)
    for line in done:
        if line.entered or line.left:
            report(f"{line.segment}: {line.members} members, +{line.entered} -{line.left}")
    return sorted(done, key=lambda line: line.segment)


def _chosen(registry: Registry, names: Sequence[str] | None, problems: list[str]) -> list[_Segment]:
    wanted = sorted(registry) if names is None else sorted(set(names))
    for name in wanted:
        if name not in registry:
            own = [text for text in problems if f"/{name}.yaml:" in text]
            missing = f"there is no segment `{name}`.{did_you_mean(name, set(registry))}"
            raise DefinitionError("\n".join(own) or missing)
    ready = _prepared(registry)
    return [ready[name] for name in wanted]


_ready: tuple[dict[str, SegmentFile], dict[str, _Segment]] = ({}, {})


def _prepared(registry: Registry) -> dict[str, _Segment]:
    """Every segment resolved and hashed; done again only when a file was read anew."""
    global _ready
    files, ready = _ready
    is_same = files.keys() == registry.keys()
    if not is_same or any(files[name] is not file for name, file in registry.items()):
        ready = {name: _segment(name, registry) for name in registry}
        _ready = (dict(registry), ready)
    return ready


def _segment(name: str, registry: Registry) -> _Segment:
    tree = resolve(registry[name].where, registry, way=(name,))
    text = json.dumps(canonical(tree), sort_keys=True)
    return _Segment(name, definition_hash(name, registry), tree, text)


@contextmanager
def _one_at_a_time(warehouse: Warehouse) -> Iterator[None]:
    """Hold the lock of live segments. It is taken before the transaction, whose snapshot must
    see what the last holder committed."""
    name = "marketing_ops:segments"
    warehouse.execute("select pg_advisory_lock(hashtextextended(%s, 0))", (name,))
    try:
        yield
    finally:
        if not warehouse.broken:
            warehouse.execute("select pg_advisory_unlock(hashtextextended(%s, 0))", (name,))


def _retire(warehouse: Warehouse, at: datetime, report: Report) -> None:
    """Mark segments without a file; a file that is there but wrong only waits to be mended."""
    there = [path.stem for path in segments_folder().glob("*.yaml")]
    rows = sqlfile.execute(
        warehouse, "engage/segment_retire_missing", {"at": at, "segments": there}
    )
    for (name,) in rows:
        report(f"{name}: its file is gone, its members stay as they were")


def _passes(warehouse: Warehouse, chosen: list[_Segment]) -> list[_Pass]:
    """The segments grouped by the state they were left in; usually one group."""
    rows = warehouse.execute(
        "select segment, definition_hash, last_evaluated_at, last_batch"
        " from mkt_engage.segments where retired_at is null"
    )
    known = {row[0]: row[1:] for row in rows}
    groups: dict[tuple[datetime | None, int], list[_Segment]] = {}
    for segment in chosen:
        state = known.get(segment.name)
        is_same = state is not None and state[0] == segment.hash
        key = (state[1], int(state[2])) if state is not None and is_same else (None, 0)
        groups.setdefault(key, []).append(segment)
    return [_Pass(tuple(found), *key) for key, found in groups.items()]


def _evaluate(
    warehouse: Warehouse, one: _Pass, at: datetime, batch: int, *, full: bool
) -> list[SegmentReport]:
    is_new = one.last_at is None
    at = at if one.last_at is None else max(at, one.last_at)
    touched = 0
    if one.last_at is not None:
        trees = [segment.tree for segment in one.segments]
        touched = flips.touch(
            warehouse, trees, last_batch=one.last_batch, last_at=one.last_at, at=at
        )
    is_full = is_new or full
    changes: dict[str, tuple[int, int, int]] = {}
    if is_full or touched:
        changes = _recompute(warehouse, one, at, is_full=is_full)
    return _watermarks(warehouse, one, at, batch, changes, None if is_full else touched)


def _recompute(
    warehouse: Warehouse, one: _Pass, at: datetime, *, is_full: bool
) -> dict[str, tuple[int, int, int]]:
    """Evaluate and write; (entered, of those baseline, left) by segment."""
    if is_full:
        # The aggregates of everyone are hashed; the default would spill them to disk.
        warehouse.execute("set local work_mem = '256MB'")
    else:
        warehouse.execute("analyze segment_touched")
        # A few contacts' events are read by index, however scattered: they are warm or on SSD.
        warehouse.execute("set local random_page_cost = 1.1")
    names = [segment.name for segment in one.segments]
    scope = compiler.EVERYONE if is_full else flips.TOUCHED
    _find(warehouse, one.segments, scope, "live", {"at": at})
    has_baseline = _find_heard(warehouse, one, at)
    current = "all" if is_full else "touched"
    sqlfile.execute(warehouse, f"engage/segment_current_{current}", {"segments": names})
    if is_full:
        warehouse.execute("analyze segment_hits, segment_current")
    rows = sqlfile.execute(
        warehouse,
        "engage/segment_apply_changes",
        {
            "at": at,
            "segments": names,
            "definition_hashes": [segment.hash for segment in one.segments],
            "is_baseline": one.last_at is None,
            "has_baseline": has_baseline,
        },
    )
    changes = {row[0]: (int(row[1]), int(row[2]), int(row[3])) for row in rows}
    if is_full:
        # The next call reads a few contacts' stays; without statistics it would read all.
        warehouse.execute("analyze mkt_engage.segment_memberships")
    return changes


def _find_heard(warehouse: Warehouse, one: _Pass, at: datetime) -> bool:
    """Whether baseline batches came; then also who would be in without what they brought."""
    row = warehouse.execute(
        "select array_agg(batch) from mkt_ops.batches where batch > %s and is_baseline",
        (one.last_batch,),
    ).fetchone()
    if one.last_at is None or row is None or row[0] is None:
        return False
    _find(warehouse, one.segments, flips.TOUCHED, "unheard", {"at": at, "unheard": row[0]})
    return True


def _watermarks(
    warehouse: Warehouse,
    one: _Pass,
    at: datetime,
    batch: int,
    changes: dict[str, tuple[int, int, int]],
    touched: int | None,
) -> list[SegmentReport]:
    none = (0, 0, 0)
    moves = [changes.get(segment.name, none) for segment in one.segments]
    rows = sqlfile.execute(
        warehouse,
        "engage/segment_write_watermarks",
        {
            "at": at,
            "batch": batch,
            "last_batch": one.last_batch,
            "is_full": touched is None,
            "segments": [segment.name for segment in one.segments],
            "definition_hashes": [segment.hash for segment in one.segments],
            "definitions": [segment.text for segment in one.segments],
            "changes": [entered - left for entered, _, left in moves],
        },
    )
    members = {row[0]: int(row[1]) for row in rows}
    return [
        SegmentReport(
            segment.name, members[segment.name], entered, left, baseline, touched is None, touched
        )
        for segment, (entered, baseline, left) in zip(one.segments, moves, strict=True)
    ]


def _find(
    warehouse: Warehouse,
    segments: tuple[_Segment, ...],
    scope: str,
    mode: compiler.Mode,
    instants: dict[str, object],
) -> None:
    """Put the members of the segments into segment_hits, or segment_heard in mode `unheard`."""
    found = _statement(segments, scope, mode)
    into = "segment_heard" if mode == "unheard" else "segment_hits"
    text = f"insert into {into} (contact_id, segment) {found.sql}"
    warehouse.execute(text.encode(), {**found.params, **instants})


_statements: dict[tuple[object, ...], Statement] = {}


def _statement(segments: tuple[_Segment, ...], scope: str, mode: compiler.Mode) -> Statement:
    """The compiled statement of these definitions; compiling takes longer than running it."""
    hashes = tuple((one.name, one.hash) for one in segments)
    key = (hashes, scope, mode, settings().reporting_timezone)
    if key not in _statements:
        if len(_statements) > 32:
            _statements.clear()
        trees = {one.name: one.tree for one in segments}
        _statements[key] = compiler.members_sql(trees, scope=scope, mode=mode)
    return _statements[key]


def history(
    warehouse: Warehouse, days: Sequence[date], *, report: Report = _quiet
) -> dict[date, int]:
    """Write who was in each segment at the end of each day; rows written by day.

    By all we know now and today's definitions (`as_of`). A day is one of the reporting time zone
    and is replaced whole, under a lock of its own; one that is not over yet is left out.
    """
    registry, problems = load_all()
    for problem in problems:
        report(f"not evaluated: {problem}")
    segments = tuple(_chosen(registry, None, []))
    written: dict[date, int] = {}
    for day in sorted(set(days)):
        end = day_window(day, settings().reporting_timezone).end
        if end > clock.now():
            report(f"{day} is not over yet: left out")
        elif segments:
            written[day] = _write_day(warehouse, day, end - _TICK, segments)
            report(f"{day}: {written[day]} memberships")
    return written


def _write_day(
    warehouse: Warehouse, day: date, at: datetime, segments: tuple[_Segment, ...]
) -> int:
    written = {
        "day": day,
        "segments": [segment.name for segment in segments],
        "definition_hashes": [segment.hash for segment in segments],
    }
    with warehouse.transaction():
        lock(warehouse, "segment_history", day)
        warehouse.execute("set local work_mem = '256MB'")
        sqlfile.execute(warehouse, "engage/segment_temporary_tables")
        sqlfile.execute(warehouse, "engage/segment_delete_history", written)
        _find(warehouse, segments, compiler.EVERYONE, "as_of", {"at": at})
        return sqlfile.execute(warehouse, "engage/segment_write_history", written).rowcount
