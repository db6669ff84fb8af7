"""Syncs one stream of one account: what the operators, the demo and the tests call."""

from __future__ import annotations

import logging
from collections.abc import Generator
from dataclasses import asdict, dataclass, field
from datetime import datetime, timedelta
from typing import Any

from marketing_ops.connections import Resolver
from marketing_ops.errors import FatalError, StillRunningError
from marketing_ops.sources.base import Page, ReadRequest, Stream
from marketing_ops.sources.httpclient import DownloadGoneError
from marketing_ops.sync import drift
from marketing_ops.sync.account import AccountShare
from marketing_ops.sync.engine import EPOCH, Engine, Policy
from marketing_ops.sync.job import Job, Kind, Plan, Report, plan_of
from marketing_ops.sync.parts import Parts
from marketing_ops.sync.statements import statements_of
from marketing_ops.warehouse import Warehouse
from marketing_ops.window import Window

_LONG_BACKFILL = timedelta(days=2)
_log = logging.getLogger(__name__)


def log(line: str) -> None:
    """The default for progress lines: this module's logger."""
    _log.info("%s", line)


@dataclass
class SyncReport:
    """What one run did; counts and names only.

    Attributes:
        counts: stream -> the columns of its row in mkt_ops.sync_runs.
        sync_run_ids: stream -> the number of that row.
    """

    account: str
    stream: str
    kind: str
    status: str
    counts: dict[str, dict[str, int]] = field(default_factory=dict)
    sync_run_ids: dict[str, int] = field(default_factory=dict)

    @property
    def balanced(self) -> bool:
        """Whether every fetched record of every stream has one outcome."""
        return all(
            counts["fetched"] == sum(counts.values()) - counts["fetched"]
            for counts in self.counts.values()
        )

    @property
    def written(self) -> int:
        """Rows that changed in the warehouse."""
        return sum(
            counts["inserted"] + counts["updated"] + counts["tombstoned"]
            for counts in self.counts.values()
        )


def sync_stream(
    warehouse: Warehouse,
    account: str,
    stream: str,
    window: Window,
    *,
    kind: Kind | None = None,
    resolve: Resolver,
    report: Report = log,
    patience: float = float("inf"),
    resume: dict[str, Any] | None = None,
) -> SyncReport:
    """Bring one stream of one account up to date in the raw tables.

    Args:
        warehouse: an autocommit connection to a migrated warehouse.
        account: the name of a file in include/sources.
        stream: a stream its system declares (children come with their parent).
        window: what a backfill reads; other kinds go by the cursor.
        kind: None = `initial` when the stream has no cursor yet, else `incremental`.
        resolve: finds the account's connection.
        report: takes lines of progress.
        patience: how many seconds to wait here while the vendor prepares a file.
        resume: the state of the `StillRunningError` that an earlier call raised.

    Raises:
        FatalError: configuration, a refused token or request, books that do not balance.
        RetryableError: unreachable, throttled or interrupted; a rerun goes on where it stopped.
        QuotaExhaustedError: a daily quota is used up; the run is recorded as postponed.
        StillRunningError: the vendor still prepares a file; recorded as postponed.
    """
    plan = plan_of(account, stream)
    job = Job(warehouse, plan, window, report)
    with job.running(kind):
        client, share = job.client(resolve)
        with share.slot(plan.source.pool_slots, report):
            return _Sync(job, client, share, patience, resume).run()


def is_snapshot(account: str, stream: str) -> bool:
    """Whether each run reads the whole stream, since its records show no time of change."""
    return not plan_of(account, stream).stream.cursor


class _Sync:
    """Reads a stream through its client into the job's store."""

    def __init__(
        self,
        job: Job,
        client: Any,
        share: AccountShare,
        patience: float,
        resume: dict[str, Any] | None,
    ) -> None:
        self.job, self.client, self.share, self.patience = job, client, share, patience
        self.plan: Plan = job.plan
        self.stream: Stream = job.stream
        self.warehouse = job.warehouse
        self.is_snapshot = not job.stream.cursor
        is_whole = job.kind in ("initial", "full_refresh")
        self.is_full = is_whole or (self.is_snapshot and job.kind == "incremental")
        self.state = resume or (job.state if job.kind == "initial" else {})
        if is_whole and "until" in self.state:
            job.until = datetime.fromisoformat(self.state["until"])

    def run(self) -> SyncReport:
        """Read and store; what is committed stays whatever happens later."""
        job, stream = self.job, self.stream
        fresh = self._fresh() if job.kind == "initial" else set()
        members = {member.name for member in stream.family() if not member.deletes}
        request = self._request()
        keeps_seen = request.is_bulk and not members <= fresh
        if keeps_seen and "bulk" in self.state:
            # Rows were there before: only a read from the file's start shows what is gone.
            self.state = {"bulk": self.state["bulk"], "fresh": False}
            request = self._request()
        parts = self._parts(request)
        expected = self._announce()
        store = job.open_store(
            fresh=set() if keeps_seen else fresh,
            keeps_seen=keeps_seen or self._sweeps(request),
            is_full=request.is_full,
            is_guarded=job.kind != "full_refresh",
        )
        engine = Engine(stream, store, self._policy(), job.report, expected=expected)
        try:
            if parts is None:
                engine.run(self._read(request))
            else:
                self._run_parts(engine, parts, request)
        except DownloadGoneError:
            self._forget_state()
            raise
        except StillRunningError as error:
            # What changes from now on may be too late for the file: no cursor goes beyond this.
            error.state["until"] = self.job.until.isoformat()
            raise
        return self._report(engine)

    def _read(self, request: ReadRequest) -> Generator[Page, None, None]:
        assert self.plan.system.read is not None
        yield from self.plan.system.read(self.client, self.stream, request)

    def _run_parts(self, engine: Engine, parts: Parts, request: ReadRequest) -> None:
        """Read the parts side by side, in as many of the account's slots as are free."""
        slots = self.plan.source.pool_slots
        wanted = min(self.stream.max_slices, len(parts.parts))
        # One slot stays free, so that the account's other streams go on.
        more = self.share.take_slots(max(min(wanted - 1, slots - 2), 0), slots)
        try:
            self.job.report(
                f"{self.job.account} {self.stream.name}: {len(parts.parts)} parts,"
                f" {1 + len(more)} read at a time"
            )
            engine.run(parts.pages(self._read, request, 1 + len(more)), is_threaded=True)
        finally:
            self.share.free_slots(more)

    def _parts(self, request: ReadRequest) -> Parts | None:
        """How a full read is cut, by an interrupted run or anew; None = it is read in one."""
        slices = self.plan.system.slices
        if not self.is_full or request.is_bulk or self.stream.max_slices == 1 or slices is None:
            return None
        found = Parts.of(self.state)
        if found is None:
            made = slices(self.client, self.stream, self.stream.max_slices)
            found = Parts.fresh(made) if len(made) > 1 else None
        return found

    def _announce(self) -> int | None:
        """Say what a full read will take, before it begins; the number of records, if known."""
        is_long = self.is_full and not self.is_snapshot and not self.state
        if not is_long or self.plan.system.count is None:
            return None
        from marketing_ops.sync.estimate import estimate

        found = estimate(self.client, self.plan.system, self.stream, self.plan.source.quota_share)
        self.job.report(f"{self.job.account} {found.line()}")
        return found.records

    def _request(self) -> ReadRequest:
        job, stream = self.job, self.stream
        if job.kind == "backfill":
            assert job.window is not None
            if self.is_snapshot:
                raise FatalError(
                    f"{stream.name} has no history: a run shows what is there now, a backfill"
                    " has nothing to read"
                )
            is_long = job.window.end - job.window.start > _LONG_BACKFILL
            is_bulk = stream.has_bulk and is_long and not stream.filter_margin
            return ReadRequest(
                job.window.start,
                job.window.end,
                is_bulk=is_bulk,
                resume=self.state or None,
                patience=self.patience,
            )
        if not self.is_full:
            return ReadRequest(job.cursor_at, job.until)
        return ReadRequest(
            None,
            job.until,
            stream.has_bulk,
            is_full=True,
            resume=self.state or None,
            patience=self.patience,
        )

    def _sweeps(self, request: ReadRequest) -> bool:
        """Whether a full read page by page finds out what is gone: only if it is read in one go."""
        is_whole = request.is_full and not request.is_bulk and request.resume is None
        return is_whole and self.stream.is_complete and self.job.kind != "initial"

    def _policy(self) -> Policy:
        is_initial = self.job.kind == "initial"
        is_ordered = self.stream.is_ascending and not self.stream.is_newest_first
        return Policy(
            moves_cursor=self.job.kind != "backfill",
            keeps_state=is_initial,
            until=self._vendors_end() if self.is_full else self.job.until,
            cursor_each_batch=self.job.kind == "incremental" and is_ordered,
            floor=EPOCH if is_initial else None,
            state=self.state if is_initial else {},
        )

    def _vendors_end(self) -> datetime:
        """When a full read began by the vendor's clock, if ours is ahead of it: a record may change
        after it was read, and a cursor by our clock would pass that change over.
        """
        ahead = self.client.http.ahead_seconds or 0.0
        return self.job.until - timedelta(seconds=max(ahead, 0.0))

    def _fresh(self) -> set[str]:
        """The streams whose tables had no row of the account when the initial load began."""
        members = [member for member in self.stream.family() if not member.deletes]
        if "fresh" in self.state:
            return {member.name for member in members} if self.state["fresh"] else set()
        found = set()
        for member in members:
            query = statements_of(self.plan.source.system, member).is_empty
            row = self.warehouse.execute(query, {"account": self.job.account}).fetchone()
            if row is not None and row[0]:
                found.add(member.name)
        return found

    def _forget_state(self) -> None:
        """The file an interrupted load was reading is gone: the next try asks for a new one."""
        self.warehouse.execute(
            "update mkt_ops.sync_cursors set page_state = null where account = %s and stream = %s",
            (self.job.account, self.stream.name),
        )

    def _report(self, engine: Engine) -> SyncReport:
        """Report a run that succeeded; its end was committed with its last batch."""
        store, job = engine.store, self.job
        counts = {name: asdict(value) for name, value in store.totals.items()}
        report = SyncReport(job.account, self.stream.name, job.kind, "success", counts, job.runs)
        if not report.balanced:
            raise FatalError(f"the books of {self.stream.name} do not balance")
        if report.written or any(value["rejected"] for value in counts.values()):
            job.report(engine.line())
        if store.run.keeps_seen and store.nameless:
            job.report(
                f"{job.account} {self.stream.name}: {store.nameless} rejected records show no id:"
                " nothing is marked as deleted, since each row may be one of them"
            )
        for line in drift.write(store):
            job.report(line)
        return report
