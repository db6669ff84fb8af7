"""Syncs one stream of one account: what the operators, the demo and the tests call."""

from __future__ import annotations

import hashlib
import json
import logging
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from datetime import datetime, timedelta
from typing import Any, Literal
from weakref import WeakSet

from marketing_ops import clock, settings, sqlfile, yamlfile
from marketing_ops.connections import Connection, Resolver
from marketing_ops.errors import FatalError, MarketingOpsError, QuotaExhaustedError
from marketing_ops.paths import include_root
from marketing_ops.sources import registry
from marketing_ops.sources.base import ReadRequest, Source, Stream
from marketing_ops.sources.httpclient import DownloadGoneError
from marketing_ops.sources.shared import InProcess
from marketing_ops.sync.engine import EPOCH, Engine, Policy
from marketing_ops.sync.statements import statements_of
from marketing_ops.sync.store import Run, Store
from marketing_ops.warehouse import Warehouse, check_version, translated_errors
from marketing_ops.window import Window

Kind = Literal["initial", "incremental", "backfill", "full_refresh"]
Report = Callable[[str], None]

_LONG_BACKFILL = timedelta(days=2)
_CLIENTS_KEPT = 16
_log = logging.getLogger(__name__)

_clients: OrderedDict[str, Any] = OrderedDict()
_checked: WeakSet[Warehouse] = WeakSet()
_sources: dict[tuple[Any, ...], settings.Source] = {}


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

    Raises:
        FatalError: configuration, a refused token or request, books that do not balance.
        RetryableError: unreachable, throttled or interrupted; a rerun goes on where it stopped.
        QuotaExhaustedError: a daily quota is used up; the run is recorded as postponed.
    """
    plan = _planned(account, stream)
    job = _Job(warehouse, plan, window, report)
    with translated_errors():
        if warehouse not in _checked:
            check_version(warehouse)
            _checked.add(warehouse)
        job.open(kind)
    try:
        with translated_errors():
            job.read(resolve)
    except BaseException as error:
        job.close_failed(error)
        raise
    return job.close()


@dataclass(frozen=True)
class _Plan:
    source: settings.Source
    system: Source
    stream: Stream


def _planned(account: str, stream: str) -> _Plan:
    source = _source(account)
    system = registry.system(source.system)
    declared = system.stream(stream)
    if declared is None:
        known = {item.name for item in system.streams}
        hint = yamlfile.did_you_mean(stream, known)
        raise FatalError(f"{source.system} has no stream `{stream}`.{hint}")
    if source.streams.get(stream, declared.schedule) == "off":
        raise FatalError(f"`{stream}` is off in include/sources/{account}.yaml")
    return _Plan(source, system, declared)


def _source(account: str) -> settings.Source:
    """The account's file, read again only when a file in the folder changed."""
    folder = include_root() / "sources"
    marks = tuple(
        (path.name, stat.st_mtime_ns, stat.st_size)
        for path in sorted(folder.glob("*.yaml"))
        for stat in (path.stat(),)
    )
    key = (account, str(folder), marks)
    if key not in _sources:
        if len(_sources) > 100:
            _sources.clear()
        _sources[key] = settings.source(account)
    return _sources[key]


def _client(plan: _Plan, connection: Connection) -> Any:
    """The account's client, kept between calls so that its connections and token live on."""
    if plan.system.client is None:
        raise FatalError(f"{plan.system.system} is only written to: it has nothing to sync")
    facts = [connection.host, connection.port, connection.schema, connection.login]
    secret = json.dumps([*facts, connection.password, connection.extra], default=str)
    digest = hashlib.sha256(secret.encode()).hexdigest()
    key = f"{connection.conn_id}:{plan.source.quota_share}:{digest}"
    if key not in _clients:
        _clients[key] = plan.system.client(connection, plan.source.quota_share, InProcess())
        if len(_clients) > _CLIENTS_KEPT:
            _clients.popitem(last=False)
    return _clients[key]


class _Job:
    """One run from its first to its last row in mkt_ops.sync_runs."""

    def __init__(self, warehouse: Warehouse, plan: _Plan, window: Window, report: Report) -> None:
        self.warehouse, self.plan, self.window, self.report = warehouse, plan, window, report
        self.account, self.stream = plan.source.source, plan.stream
        self.started_at = clock.now()
        # The second that runs now is included; what comes late in it, the overlap brings.
        self.until = self.started_at.replace(microsecond=0) + timedelta(seconds=1)
        self.kind: str = ""
        self.cursor_at: datetime | None = None
        self.state: dict[str, Any] = {}
        self.reason: str | None = None
        self.runs: dict[str, int] = {}
        self.store: Store | None = None
        self.engine: Engine | None = None

    def open(self, kind: Kind | None) -> None:
        """Read cursor and account, number the run; a run left over by a kill is marked failed."""
        window = self.window if kind == "backfill" else None
        params = {
            "account": self.account,
            "system": self.plan.source.system,
            "stream": self.stream.name,
            "streams": [member.name for member in self.stream.family()],
            "kind": kind,
            "window_start": window.start if window else None,
            "window_end": window.end if window else None,
            "started_at": self.started_at,
        }
        rows = sqlfile.execute(self.warehouse, "ops/begin_sync_runs", params).fetchall()
        self.runs = {str(row[1]): int(row[0]) for row in rows}
        _, _, self.kind, self.cursor_at, state, blocked_until, self.reason, *_ = rows[0]
        self.state = dict(state or {}) if self.kind == "initial" else {}
        if blocked_until is not None and blocked_until > self.started_at:
            wait = (blocked_until - self.started_at).total_seconds()
            self._end("postponed", self.reason)
            raise QuotaExhaustedError(
                f"`{self.account}` is postponed: {self.reason}", reset_seconds=wait
            )

    def read(self, resolve: Resolver) -> None:
        """Read and store; what is committed stays whatever happens later."""
        connection = resolve(self.plan.source.connection)
        client = _client(self.plan, connection)
        request = self._request()
        run = self._run(request)
        if run.keeps_seen and "bulk" in self.state:
            # Rows were there before: only a read from the file's start shows what is gone.
            self.state = {"bulk": self.state["bulk"], "fresh": False}
            request = self._request()
        self.store = Store(self.warehouse, run)
        self.engine = Engine(self.stream, self.store, self._policy(), self.report)
        assert self.plan.system.read is not None
        pages = self.plan.system.read(client, self.stream, request)
        try:
            self.engine.run(pages)
        except DownloadGoneError:
            self._forget_state()
            raise

    def _request(self) -> ReadRequest:
        if self.kind == "backfill":
            is_long = self.window.end - self.window.start > _LONG_BACKFILL
            is_bulk = self.stream.has_bulk and is_long and not self.stream.filter_margin
            return ReadRequest(self.window.start, self.window.end, is_bulk=is_bulk)
        if self.kind == "incremental":
            return ReadRequest(self.cursor_at, self.until)
        return ReadRequest(
            None, self.until, self.stream.has_bulk, is_full=True, resume=self.state or None
        )

    def _policy(self) -> Policy:
        is_initial = self.kind == "initial"
        is_ordered = self.stream.is_ascending and not self.stream.is_newest_first
        return Policy(
            moves_cursor=self.kind != "backfill",
            keeps_state=is_initial,
            until=self.until,
            cursor_each_batch=self.kind == "incremental" and is_ordered,
            floor=EPOCH if is_initial else None,
            state=self.state,
        )

    def _run(self, request: ReadRequest) -> Run:
        names = {member.name for member in self.stream.family() if not member.deletes}
        fresh = self._fresh() if self.kind == "initial" else set()
        keeps_seen = request.is_bulk and not names <= fresh
        return Run(
            account=self.account,
            system=self.plan.source.system,
            stream=self.stream,
            runs=self.runs,
            started_at=self.started_at,
            max_reject_ratio=settings.settings().limits.max_reject_ratio,
            fresh=set() if keeps_seen else fresh,
            keeps_seen=keeps_seen,
            is_full=request.is_full,
        )

    def _fresh(self) -> set[str]:
        """The streams whose tables had no row of the account when the initial load began."""
        members = [member for member in self.stream.family() if not member.deletes]
        if "fresh" in self.state:
            return {member.name for member in members} if self.state["fresh"] else set()
        found = set()
        for member in members:
            query = statements_of(self.plan.source.system, member).is_empty
            row = self.warehouse.execute(query, {"account": self.account}).fetchone()
            if row is not None and row[0]:
                found.add(member.name)
        return found

    def _forget_state(self) -> None:
        """The file an interrupted load was reading is gone: the next try asks for a new one."""
        self.warehouse.execute(
            "update mkt_ops.sync_cursors set page_state = null where account = %s and stream = %s",
            (self.account, self.stream.name),
        )

    def close(self) -> SyncReport:
        """Report a run that succeeded; its end was committed with its last batch."""
        assert self.store is not None and self.engine is not None
        if self.reason is not None:
            self._write_account_state(None, None)
        counts = {name: asdict(value) for name, value in self.store.totals.items()}
        report = SyncReport(self.account, self.stream.name, self.kind, "success", counts, self.runs)
        if not report.balanced:
            raise FatalError(f"the books of {self.stream.name} do not balance")
        if report.written or any(value["rejected"] for value in counts.values()):
            self.report(self.engine.line())
        return report

    def close_failed(self, error: BaseException) -> None:
        """Record how a run failed. What it committed stays; its cursor covers just that."""
        if self.warehouse.closed or self.warehouse.broken:
            return  # the next run finds it abandoned
        said = str(error) if isinstance(error, MarketingOpsError) else type(error).__name__
        if self.store is not None and isinstance(error, FatalError):
            self.store.keep_rejects()
        if isinstance(error, QuotaExhaustedError):
            until = clock.now() + timedelta(seconds=error.reset_seconds)
            self._write_account_state(until, said)
            self._end("postponed", said)
            return
        if isinstance(error, FatalError):
            self._write_account_state(None, said)
        self._end("failed", said)

    def _write_account_state(self, until: datetime | None, reason: str | None) -> None:
        params = {
            "account": self.account,
            "blocked_until": until,
            "reason": reason,
            "updated_at": clock.now(),
        }
        sqlfile.execute(self.warehouse, "ops/write_account_state", params)

    def _end(self, status: str, error: str | None) -> None:
        params = {
            "runs": list(self.runs.values()),
            "status": status,
            "finished_at": clock.now(),
            "error": error,
        }
        sqlfile.execute(self.warehouse, "ops/end_sync_runs", params)
