"""Tries the rejected records of a stream again: fresh from the vendor, else as they were kept."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, field
from typing import Any

import orjson

from marketing_ops import clock, settings, sqlfile
from marketing_ops.connections import Resolver
from marketing_ops.sources import registry
from marketing_ops.sources.base import Page, Stream
from marketing_ops.sync.batch import Batch
from marketing_ops.sync.job import Job, Plan, Report, plan_of
from marketing_ops.sync.runner import log
from marketing_ops.sync.store import Progress
from marketing_ops.warehouse import Warehouse

_AT_A_TIME = 100


@dataclass
class ReplayReport:
    """What became of the rejected records that waited; counts only.

    Attributes:
        waiting: records that were rejected and not replayed yet.
        stored: are in their table now (in a dry run: would be).
        gone: the vendor does not know them any more; nothing is left to store.
        still_rejected: why -> how many; they go on waiting.
        counts: stream -> the columns of its row in mkt_ops.sync_runs.
    """

    account: str
    stream: str
    is_dry_run: bool
    waiting: int = 0
    stored: int = 0
    gone: int = 0
    still_rejected: Counter[str] = field(default_factory=Counter)
    counts: dict[str, dict[str, int]] = field(default_factory=dict)

    def line(self) -> str:
        """One readable line for a task log."""
        verb = "would be stored" if self.is_dry_run else "stored"
        left = sum(self.still_rejected.values())
        why = "".join(f"; {count} {reason}" for reason, count in self.still_rejected.most_common(5))
        return (
            f"{self.account} {self.stream}: {self.waiting} rejected records waited: {self.stored}"
            f" {verb}, {self.gone} gone at the source, {left} still rejected{why}"
        )


@dataclass(frozen=True)
class _Waiting:
    rejected_id: int
    stream: str
    record_id: str | None
    reason: str
    payload: bytes

    def parsed(self) -> Any:
        """The kept bytes as a record; None when they are none (cut, not JSON, not UTF-8)."""
        try:
            return orjson.loads(self.payload)
        except orjson.JSONDecodeError:
            return None


def replay_rejected(
    warehouse: Warehouse,
    account: str,
    stream: str,
    *,
    resolve: Resolver,
    is_dry_run: bool,
    report: Report = log,
) -> ReplayReport:
    """Store what can be stored of a stream's rejected records and of its children's.

    Where the vendor can be asked for a record by its id, the record is read anew: it may have been
    mended there. Otherwise the kept bytes are tried again, for instance after an upgrade. A child
    is replayed with its parent. A dry run tries the kept bytes only and changes nothing.

    Raises:
        RetryableError, FatalError: of the source; what was stored stays, a rerun does the rest.
    """
    plan = plan_of(account, stream)
    found = ReplayReport(account, stream, is_dry_run)
    if is_dry_run:
        for row in _waiting(warehouse, plan):
            _try_kept(plan.stream, row, found)
        report(found.line())
        return found
    job = Job(warehouse, plan, None, report)
    with job.running("replay"):
        client, share = job.client(resolve)
        with share.slot(plan.source.pool_slots, report):
            _Replay(job, client, found).run()
    report(found.line())
    return found


def waiting_streams(warehouse: Warehouse, account: str) -> list[str]:
    """The streams of an account that have rejected records waiting, children under their parent.

    Raises:
        FatalError: there is no such account; says the nearest name.
    """
    system = registry.system(settings.source(account).system)
    rows = warehouse.execute(
        "select distinct stream from mkt_ops.rejected_records"
        " where account = %s and replayed_at is null",
        (account,),
    ).fetchall()
    names = {row[0] for row in rows}
    return [
        stream.name
        for stream in system.streams
        if names & {member.name for member in stream.family()}
    ]


def _waiting(warehouse: Warehouse, plan: Plan) -> Iterator[_Waiting]:
    """The records that wait now, oldest first, a page in memory at a time.

    What is rejected again meanwhile waits anew behind them and is not tried a second time.
    """
    row = warehouse.execute("select max(rejected_id) from mkt_ops.rejected_records").fetchone()
    after, last = 0, (row and row[0]) or 0
    while True:
        params = {
            "account": plan.account,
            "streams": [member.name for member in plan.stream.family()],
            "after": after,
            "last": last,
            "size": _AT_A_TIME,
        }
        rows = sqlfile.execute(warehouse, "ops/waiting_rejects", params).fetchall()
        for row in rows:
            rejected_id, stream, record_id, reason, payload = row
            yield _Waiting(rejected_id, stream, record_id, reason, bytes(payload))
        if len(rows) < _AT_A_TIME:
            return
        after = int(rows[-1][0])


def _try_kept(stream: Stream, row: _Waiting, found: ReplayReport) -> Any:
    """The record in a row's kept bytes if it can be stored now, else None; counted either way."""
    found.waiting += 1
    record = row.parsed() if row.stream == stream.name else None
    if row.stream != stream.name:
        found.still_rejected["are read anew with their parent"] += 1
    elif record is None:
        found.still_rejected[row.reason] += 1
    else:
        trial = Batch(stream)
        trial.add_page(Page(records=[row.parsed()]))
        if not trial.rejects:
            found.stored += 1
            return record
        found.still_rejected[trial.rejects[0].reason] += 1
    return None


class _Replay:
    def __init__(self, job: Job, client: Any, found: ReplayReport) -> None:
        self.job, self.client, self.found = job, client, found
        self.stream = job.stream
        # What is still broken is no news: it must not fail the run for its share.
        self.store = job.open_store(max_reject_ratio=1.0)

    def run(self) -> None:
        system = self.job.plan.system
        fetch = system.fetch if system.can_reconcile(self.stream.name) else None
        page: list[_Waiting] = []
        for row in _waiting(self.job.warehouse, self.job.plan):
            page.append(row)
            if len(page) == _AT_A_TIME:
                self._replay(page, fetch)
                page = []
        self._replay(page, fetch)
        with self.job.warehouse.transaction():
            self.store.close_books()
        self.found.counts = {name: asdict(value) for name, value in self.store.totals.items()}

    def _replay(
        self, page: list[_Waiting], fetch: Callable[..., list[dict[str, Any]]] | None
    ) -> None:
        """Store a page of records, then mark those that are done."""
        asked = {row.rejected_id: _root_id(self.stream, row) for row in page}
        ids = sorted({key for key in asked.values() if key}) if fetch else []
        fresh = fetch(self.client, self.stream, ids) if fetch and ids else []
        batch = Batch(self.stream)
        batch.add_page(Page(records=fresh))
        here = batch.ids()
        broken = {reject.record_id for reject in batch.rejects}
        done: list[int] = []
        for row in page:
            key = asked[row.rejected_id] if fetch else None
            if key is None:
                record = _try_kept(self.stream, row, self.found)
                if record is not None:
                    batch.add_page(Page(records=[record]))
                    done.append(row.rejected_id)
                continue
            self.found.waiting += 1
            done.append(row.rejected_id)
            if key not in here:
                self.found.gone += 1
            elif key in broken:
                self.found.still_rejected["are still broken at the source"] += 1
            else:
                self.found.stored += 1
        with self.job.warehouse.transaction():
            # First these, so that a record that is broken again is kept anew, as it is now.
            self._mark(done)
            self.store.commit(batch, Progress(None, None, False), is_last=False)

    def _mark(self, done: list[int]) -> None:
        self.job.warehouse.execute(
            "update mkt_ops.rejected_records set replayed_at = %s"
            " where rejected_id = any(%s::bigint[])",
            (clock.now(), done),
        )


def _root_id(stream: Stream, row: _Waiting) -> str | None:
    """The id of the record to ask the vendor for: the row's own, or its parent's."""
    if row.stream == stream.name:
        return row.record_id
    parent = row.parsed()
    key = parent.get("__parentId") if isinstance(parent, dict) else None
    return str(key).rpartition("/")[2] if key else None
