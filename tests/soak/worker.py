"""What a worker process does. Each order gets a process of its own, forked from a warm one, that
may be killed at any moment; waits are cut short, and batches and pages are small.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import time
import traceback
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import datetime
from functools import partial
from multiprocessing.connection import Connection as Pipe
from typing import Any

import psycopg

from marketing_ops import clock
from marketing_ops.connections import Connection
from marketing_ops.errors import MarketingOpsError, RetryableError
from marketing_ops.paths import INCLUDE_VARIABLE
from marketing_ops.sources import registry
from marketing_ops.sources.base import Source
from marketing_ops.sources.hubspot import client as hubspot
from marketing_ops.sources.hubspot import search
from marketing_ops.sources.mailchimp import client as mailchimp
from marketing_ops.sources.mailchimp import compare
from marketing_ops.sources.shopify import client as shopify
from marketing_ops.sync import engine, store
from marketing_ops.sync.reconcile import reconcile_stream
from marketing_ops.sync.replay import replay_rejected, waiting_streams
from marketing_ops.sync.runner import sync_stream
from marketing_ops.window import Window

_LONGEST_WAIT_SECONDS = 0.02
_TRIES = 4


@dataclass(frozen=True)
class Place:
    """Where a worker works.

    Attributes:
        uri: of the warehouse.
        clock_file, include: what the environment of a deployment names.
        connections: by account.
    """

    uri: str
    clock_file: str
    include: str
    connections: dict[str, Connection]


@dataclass(frozen=True)
class Order:
    """One task.

    Attributes:
        act: a kind of run, or `settle`: whatever is due of the whole account.
        window: what a backfill reads.
        rows: how many rows make a batch. page: the records of a page, 0 = as declared.
        dies_at: the statement before which the process kills itself with SIGKILL; 0 = none.
        dies_after: the seconds after which it is killed from outside; 0 = it is not.
    """

    system: str
    account: str
    stream: str = ""
    act: str = "sync"
    window: Window | None = None
    rows: int = engine.BATCH_ROWS
    page: int = 0
    dies_at: int = 0
    dies_after: float = 0.0

    def line(self) -> str:
        """The order in a few words."""
        end = f", dies before statement {self.dies_at}" if self.dies_at else ""
        end += f", dies after {self.dies_after:.2f} s" if self.dies_after else ""
        return f"{self.act} {self.system} {self.stream}{end}"


@dataclass(frozen=True)
class Outcome:
    """How a process ended: `done`, `error` (one of ours), `crash` (any other), `killed`."""

    end: str
    says: str = ""
    again: dict[str, int] = field(default_factory=dict)
    """Of a settled account: the streams of which a second run wrote rows, and how many."""


class _Mortal(psycopg.Connection[Any]):
    """A connection whose process is killed before its n-th statement."""

    left = 0

    def execute(self, *arguments: Any, **options: Any) -> Any:
        self.left -= 1
        if self.left == 0:
            os.kill(os.getpid(), signal.SIGKILL)
        return super().execute(*arguments, **options)


class Workers:
    """Starts processes; the place is that of all of them."""

    def __init__(self, place: Place) -> None:
        self.place = place
        self._context = multiprocessing.get_context("forkserver")
        self._context.set_forkserver_preload([__name__])

    def run(self, orders: list[Order]) -> list[Outcome]:
        """Work on all orders at once; how each ended, in their order."""
        return [wait() for wait in [self._start(order) for order in orders]]

    def _start(self, order: Order) -> Callable[[], Outcome]:
        here, there = self._context.Pipe(duplex=False)
        process = self._context.Process(target=_work, args=(self.place, order, there))
        process.start()
        there.close()

        def wait() -> Outcome:
            if order.dies_after and not here.poll(order.dies_after):
                process.kill()
            try:
                found: Outcome = here.recv()
            except EOFError:
                is_meant = order.dies_at or order.dies_after
                found = Outcome("killed" if is_meant else "crash", "it ended without a word")
            process.join()
            return found

        return wait


def _work(place: Place, order: Order, pipe: Pipe) -> None:
    os.environ[clock.CLOCK_FILE_VARIABLE] = place.clock_file
    os.environ[INCLUDE_VARIABLE] = place.include
    _prepare(order)
    pipe.send(_outcome(place, order))


def _prepare(order: Order) -> None:
    engine.BATCH_ROWS = order.rows
    store.FEW_ROWS = min(store.FEW_ROWS, order.rows * 2)
    hubspot.SEARCHES_PER_SECOND = hubspot.SAFE_SEARCHES_PER_SECOND = 1e6
    search.WORTH_CUTTING, compare._FEW = 40, 40
    brief = {"sleep": lambda seconds: time.sleep(min(seconds, _LONGEST_WAIT_SECONDS))}
    clients: dict[str, Callable[..., Any]] = {
        "hubspot": partial(hubspot.HubSpotClient, **brief),
        "shopify": partial(shopify.ShopifyClient, **brief),
        "mailchimp": lambda known, share, _: mailchimp.MailchimpClient(known, share, **brief),
    }
    source: Source = registry.SYSTEMS[order.system]
    streams = source.streams
    if order.page:
        streams = tuple(replace(one, page_size=min(order.page, one.page_size)) for one in streams)
    changed = replace(source, client=clients[order.system], streams=streams)
    registry.SYSTEMS[order.system] = changed


def _outcome(place: Place, order: Order) -> Outcome:
    try:
        with _Mortal.connect(
            place.uri, autocommit=True, options="-c timezone=UTC -c jit=off"
        ) as warehouse:
            warehouse.left = order.dies_at
            work = _Work(warehouse, order, place.connections.__getitem__)
            return Outcome("done", again=work.settle() if order.act == "settle" else work.once())
    except MarketingOpsError as error:
        return Outcome("error", f"{type(error).__name__}: {error}")
    except Exception:
        return Outcome("crash", traceback.format_exc())


class _Work:
    def __init__(
        self, warehouse: _Mortal, order: Order, resolve: Callable[[str], Connection]
    ) -> None:
        self.warehouse, self.order, self.resolve = warehouse, order, resolve

    def once(self) -> dict[str, int]:
        """The one run that was ordered."""
        act, stream = self.order.act, self.order.stream
        if act == "reconcile":
            self._reconcile(stream)
        elif act == "replay":
            self._replay(stream)
        else:
            self._sync(stream, None if act == "sync" else act)
        return {}

    def settle(self) -> dict[str, int]:
        """Whatever is due, then a second run of each stream; those of which it wrote rows."""
        source = registry.SYSTEMS[self.order.system]
        names = [stream.name for stream in source.streams]
        for name in names:
            self._patiently(partial(self._sync, name))
        for name in waiting_streams(self.warehouse, self.order.account):
            self._patiently(partial(self._replay, name))
        for name in filter(source.can_reconcile, names):
            self._patiently(partial(self._reconcile, name))
        for name in names:
            self._sync(name)
        written = Counter({name: self._sync(name) for name in names})
        return dict(+written)

    def _patiently(self, work: Callable[[], Any]) -> None:
        """As a task's retries do."""
        for left in reversed(range(_TRIES)):
            try:
                work()
            except RetryableError:
                if not left:
                    raise
            else:
                return

    def _sync(self, stream: str, kind: Any = None) -> int:
        window = self.order.window or Window(_now(), _now())
        report = sync_stream(
            self.warehouse,
            self.order.account,
            stream,
            window,
            kind=kind,
            resolve=self.resolve,
            report=_quiet,
        )
        assert report.balanced
        return report.written

    def _reconcile(self, stream: str) -> None:
        reconcile_stream(
            self.warehouse, self.order.account, stream, resolve=self.resolve, report=_quiet
        )

    def _replay(self, stream: str) -> None:
        replay_rejected(
            self.warehouse,
            self.order.account,
            stream,
            resolve=self.resolve,
            is_dry_run=False,
            report=_quiet,
        )


def _now() -> datetime:
    return clock.now()


def _quiet(_line: str) -> None:
    pass
