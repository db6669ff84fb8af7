"""Who enters: candidates by event and segment, judged once each, and the guard on their number."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import orjson

from marketing_ops import incidents, sqlfile
from marketing_ops.campaigns import rules
from marketing_ops.campaigns.book import Book, State, reentry
from marketing_ops.campaigns.versions import Version
from marketing_ops.warehouse import Warehouse

MOST_ROUNDS = 1000
"""More candidates of one contact in one tick than this are a broken source."""


@dataclass(frozen=True)
class Evaluation:
    """One evaluation of a segment: its instant, the last batch it saw, the definition's hash."""

    at: datetime
    batch: int
    hash: str


@dataclass(frozen=True)
class Mark:
    """How far one shard's facts were acted on, for all campaigns or one of its own.

    Attributes:
        segments: the evaluation of each segment whose entries were acted on.
    """

    shard: int
    batch: int
    at: datetime
    segments: dict[str, Evaluation]
    is_existing: bool = False


@dataclass(frozen=True)
class Facts:
    """What one transaction of a tick may see: batches up to `batch`, instants up to `at`."""

    tick_id: int
    at: datetime
    batch: int
    shards: list[int]
    marks: dict[int, Mark]
    own_marks: dict[tuple[int, int], Mark]
    types: set[str]
    evaluated: dict[str, Evaluation]

    def marks_of(self, campaign_id: int) -> list[Mark]:
        """The marks by which one campaign takes its entries: its own where it has them."""
        return [self.own_marks.get((campaign_id, s), self.marks[s]) for s in self.shards]


def gather(
    warehouse: Warehouse, book: Book, states: Iterable[State], facts: Facts
) -> list[Version]:
    """Fill `tick_candidates` with whom the facts bring; returns the versions that got some."""
    found = []
    for state in states:
        if not state.is_open:
            continue
        version = book.entry(state)
        count = _gather_events(warehouse, state, version, facts)
        count += _gather_segment(warehouse, state, version, facts)
        if count:
            found.append(version)
    if found:
        sqlfile.execute(warehouse, "engage/tick_clean_candidates")
    for version in found:
        if version.audience is not None:
            _keep_audience(warehouse, version, version.audience, facts)
    return found


def _gather_events(warehouse: Warehouse, state: State, version: Version, facts: Facts) -> int:
    entry = version.campaign.entry
    if entry.event is None or entry.event not in facts.types:
        return 0
    marks = [
        {"shard": mark.shard, "lower_batch": mark.batch, "lower_at": mark.at}
        for mark in facts.marks_of(state.campaign_id)
    ]
    where = version.entry_where
    params = {
        "campaign_id": state.campaign_id,
        "version": version.version,
        "event_type": entry.event,
        "key": entry.key,
        "is_keyed": entry.mode == "per_key",
        "started_at": state.started_at,
        "started_batch": state.started_batch,
        "marks": json(marks),
        **where[1],
    }
    sql = rules.into("engage/tick_event_candidates", where)
    return warehouse.execute(sql.encode(), params).rowcount


def _gather_segment(warehouse: Warehouse, state: State, version: Version, facts: Facts) -> int:
    entry = version.campaign.entry
    if entry.segment is None or entry.segment not in facts.evaluated:
        return 0
    marks = facts.marks_of(state.campaign_id)
    common = {
        "campaign_id": state.campaign_id,
        "version": version.version,
        "segment": entry.segment,
    }
    count = 0
    existing = [mark.shard for mark in marks if mark.is_existing]
    if existing:
        params = common | {"shards": existing, "at": facts.at}
        count += sqlfile.execute(warehouse, "engage/tick_existing_candidates", params).rowcount
    now = facts.evaluated[entry.segment]
    rows = [
        row
        for mark in marks
        if (row := _since(mark.segments.get(entry.segment), now, mark, state, entry.on))
    ]
    if rows:
        params = common | {
            "is_leave": entry.on == "leave",
            "marks": json(rows),
            "earliest": min(row["lower"] for row in rows),
            "upper": now.at,
        }
        count += sqlfile.execute(warehouse, "engage/tick_segment_candidates", params).rowcount
    return count


def _since(
    seen: Evaluation | None, now: Evaluation, mark: Mark, state: State, on: str
) -> dict[str, Any] | None:
    """From where a shard has to look at the stays of a segment; None when there is nothing new.

    A segment may be evaluated twice at one instant, of a clock that stands still, when a batch
    came between: then the stays of that very instant are looked at again.
    """
    if on == "leave" and seen is not None and seen.hash != now.hash:
        return None  # an edit ended stays that nobody left
    lower = max(seen.at, state.started_at) if seen else state.started_at
    is_again = seen is not None and seen.at == now.at == lower and seen.batch < now.batch
    if lower > now.at or (lower == now.at and not is_again):
        return None
    return {"shard": mark.shard, "lower": lower, "is_again": is_again}


def _keep_audience(
    warehouse: Warehouse, version: Version, audience: rules.Condition, facts: Facts
) -> None:
    params = {
        "campaign_id": version.campaign_id,
        "at": facts.at,
        "batch": facts.batch,
        **audience[1],
    }
    warehouse.execute(rules.into("engage/tick_audience", audience).encode(), params)


def enrol(warehouse: Warehouse, found: list[Version], facts: Facts) -> tuple[int, set[int]]:
    """Take the candidates, each contact's earliest first.

    Returns:
        How many entered, and the campaigns whose guard on entries tripped.

    One contact's second candidate is judged after its first has entered, so that cool-down and
    re-entry give the same answer as if each had come alone.
    """
    by_id = {version.campaign_id: version for version in found}
    judges = [reentry(number, version.campaign) for number, version in by_id.items()]
    entered, tripped = 0, set()
    for _ in range(MOST_ROUNDS):
        rows = sqlfile.execute(
            warehouse, "engage/tick_take_candidates", {"rules": json(judges)}
        ).fetchall()
        if not rows:
            break
        for campaign_id, taken, _judged in rows:
            if taken and _is_too_much(warehouse, by_id[campaign_id], int(taken), facts):
                _trip(warehouse, by_id[campaign_id], int(taken), facts)
                tripped.add(int(campaign_id))
        params = {
            "rules": json(judges),
            "at": facts.at,
            "entered_on": facts.at.date(),
            "seq": 1,
        }
        entered += sqlfile.execute(warehouse, "engage/tick_enrol", params).rowcount
    return entered, tripped


def _is_too_much(warehouse: Warehouse, version: Version, coming: int, facts: Facts) -> bool:
    limit = version.campaign.guards.max_entries
    if limit is None:
        return False
    row = warehouse.execute(
        "select count(*) from mkt_engage.enrolments where campaign_id = %s and entered_at > %s",
        (version.campaign_id, facts.at - limit.per),
    ).fetchone()
    assert row is not None
    return int(row[0]) + coming > limit.count


def _trip(warehouse: Warehouse, version: Version, coming: int, facts: Facts) -> None:
    """Stop a campaign's entries, since more would come than `guards.max_entries` allows.

    Nobody of these shards enters then, those who did before go on, and the people held back
    are known by the campaign's marks, which stay where they are until `resume`.
    """
    limit = version.campaign.guards.max_entries
    assert limit is not None
    name = version.campaign.campaign
    warehouse.execute("delete from tick_candidates where campaign_id = %s", (version.campaign_id,))
    warehouse.execute(
        "update mkt_engage.campaigns set entries_stopped_at = %s"
        " where campaign_id = %s and entries_stopped_at is null",
        (facts.at, version.campaign_id),
    )
    incidents.open_incident(
        warehouse,
        f"campaign {name}: more entries than guards.max_entries allows; entries are stopped",
        f"campaigns.{name}",
        {"limit": limit.count, "per_seconds": limit.per.total_seconds(), "coming": coming},
    )


def json(rows: Any) -> str:
    """Rows for `jsonb_to_recordset`."""
    return orjson.dumps(rows).decode()
