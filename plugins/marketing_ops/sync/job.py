"""One run of one stream of one account: who it is, its rows in mkt_ops.sync_runs, its client."""

from __future__ import annotations

import hashlib
import json
from collections import OrderedDict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Literal
from weakref import WeakSet

from marketing_ops import clock, settings, sqlfile, yamlfile
from marketing_ops.connections import Connection, Resolver
from marketing_ops.errors import (
    FatalError,
    MarketingOpsError,
    QuotaExhaustedError,
    StillRunningError,
)
from marketing_ops.paths import include_root
from marketing_ops.sources import registry
from marketing_ops.sources.base import Source, Stream
from marketing_ops.sync.account import AccountShare, another
from marketing_ops.sync.store import Run, Store
from marketing_ops.warehouse import Warehouse, check_version, translated_errors
from marketing_ops.window import Window

Kind = Literal["initial", "incremental", "backfill", "full_refresh", "replay", "reconcile"]
Report = Callable[[str], None]

_CLIENTS_KEPT = 16

_clients: OrderedDict[str, tuple[Any, AccountShare]] = OrderedDict()
_checked: WeakSet[Warehouse] = WeakSet()
_sources: dict[tuple[Any, ...], settings.Source] = {}


@dataclass(frozen=True)
class Plan:
    """Which stream of which account, and what its system declares."""

    source: settings.Source
    system: Source
    stream: Stream

    @property
    def account(self) -> str:
        """The account's name."""
        return self.source.source


def plan_of(account: str, stream: str) -> Plan:
    """What is to be synced.

    Raises:
        FatalError: no such account or stream, or the stream is off; says the nearest name.
    """
    source = _source(account)
    system = registry.system(source.system)
    declared = system.stream(stream)
    if declared is None:
        known = {item.name for item in system.streams}
        hint = yamlfile.did_you_mean(stream, known)
        raise FatalError(f"{source.system} has no stream `{stream}`.{hint}")
    if source.streams.get(stream, declared.schedule) == "off":
        raise FatalError(f"`{stream}` is off in include/sources/{account}.yaml")
    return Plan(source, system, declared)


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


class Job:
    """A run from its first to its last row in mkt_ops.sync_runs.

    Attributes:
        until: the frozen end of its window: the second that runs now is included; what comes late
            in it, the overlap brings.
        kind, cursor_at, state: what `open` found.
        runs: stream -> its sync_run_id, for the stream and its children.
        store: where its rows go, once there is one.
    """

    def __init__(self, warehouse: Warehouse, plan: Plan, window: Window | None, report: Report):
        self.warehouse, self.plan, self.window, self.report = warehouse, plan, window, report
        self.account, self.stream = plan.account, plan.stream
        self.started_at = clock.now()
        self.until = self.started_at.replace(microsecond=0) + timedelta(seconds=1)
        self.kind: str = ""
        self.cursor_at: datetime | None = None
        self.state: dict[str, Any] = {}
        self.reason: str | None = None
        self.runs: dict[str, int] = {}
        self.store: Store | None = None

    @contextmanager
    def running(self, kind: Kind | None) -> Iterator[Job]:
        """Open the run; an error inside is recorded as its end and raised."""
        with translated_errors():
            if self.warehouse not in _checked:
                check_version(self.warehouse)
                _checked.add(self.warehouse)
            self._open(kind)
        try:
            with translated_errors():
                yield self
        except BaseException as error:
            self._close_failed(error)
            raise
        if self.reason is not None:
            self._write_account_state(None, None)

    def _open(self, kind: Kind | None) -> None:
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
        self.state = dict(state or {})
        if blocked_until is not None and blocked_until > self.started_at:
            wait = (blocked_until - self.started_at).total_seconds()
            self._end("postponed", self.reason)
            raise QuotaExhaustedError(
                f"`{self.account}` is postponed: {self.reason}", reset_seconds=wait
            )

    def client(self, resolve: Resolver) -> tuple[Any, AccountShare]:
        """The account's client and what it shares with other workers, kept between calls so that
        connections and token live on.
        """
        plan = self.plan
        if plan.system.client is None:
            raise FatalError(f"{plan.system.system} is only written to: it has nothing to sync")
        connection = resolve(plan.source.connection)
        key = _key(self.warehouse, plan, connection)
        if key not in _clients:
            share = AccountShare(another(self.warehouse), plan.account, connection)
            made = plan.system.client(connection, plan.source.quota_share, share)
            _clients[key] = (made, share)
            if len(_clients) > _CLIENTS_KEPT:
                _clients.popitem(last=False)[1][1].close()
        return _clients[key]

    def open_store(self, **options: Any) -> Store:
        """The writer of this run's rows; `options` are those of `store.Run`."""
        options.setdefault("max_reject_ratio", settings.settings().limits.max_reject_ratio)
        self.store = Store(
            self.warehouse,
            Run(
                account=self.account,
                system=self.plan.source.system,
                stream=self.stream,
                runs=self.runs,
                started_at=self.started_at,
                asked_at=min(self.started_at, self.until),
                **options,
            ),
        )
        return self.store

    def _close_failed(self, error: BaseException) -> None:
        """Record how a run failed. What it committed stays; its cursor covers just that."""
        if self.warehouse.closed or self.warehouse.broken:
            return  # the next run finds it abandoned
        said = str(error) if isinstance(error, MarketingOpsError) else type(error).__name__
        if self.store is not None and isinstance(error, FatalError):
            self.store.keep_rejects()
        if isinstance(error, QuotaExhaustedError):
            until = clock.now() + timedelta(seconds=error.reset_seconds)
            self._write_account_state(until, said)
        elif isinstance(error, FatalError):
            self._write_account_state(None, said)
        is_waiting = isinstance(error, QuotaExhaustedError | StillRunningError)
        self._end("postponed" if is_waiting else "failed", said)

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


def _key(warehouse: Warehouse, plan: Plan, connection: Connection) -> str:
    """A client serves one account of one connection, in one warehouse, until any of it changes."""
    address = [connection.host, connection.port, connection.schema, connection.login]
    secrets = [connection.password, connection.extra]
    facts = [warehouse.info.dsn, plan.account, plan.source.quota_share, *address, *secrets]
    return hashlib.sha256(json.dumps(facts, default=str).encode()).hexdigest()
