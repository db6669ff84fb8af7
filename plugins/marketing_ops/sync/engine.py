"""The engine: pages in, merged batches out, with books, rejects and the cursor beside them.

A fetcher thread reads ahead, this thread turns records into COPY text, a loader thread stores.
A read that is over with its first page needs no thread at all.
"""

from __future__ import annotations

import gc
import time
from collections.abc import Callable, Generator, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import chain
from typing import Any

from marketing_ops.errors import FatalError, MarketingOpsError
from marketing_ops.sources.base import Page, Stream
from marketing_ops.sync.batch import Batch
from marketing_ops.sync.flow import Behind, ahead
from marketing_ops.sync.store import Progress, Store

Report = Callable[[str], None]

BATCH_ROWS = 20_000
BATCH_BYTES = 16 * 1024 * 1024
PAGES_AHEAD = 4
REPORT_SECONDS = 10.0
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
"""The cursor after a full read that found nothing: all that was there is covered."""


@dataclass(frozen=True)
class Policy:
    """What a kind of run saves.

    Attributes:
        moves_cursor: False for a backfill.
        keeps_state: save where to go on, for an interrupted initial load.
        until: the frozen end of the window; no cursor goes beyond it. Of an interrupted full read,
            that of its first run: what changed since may have been read before it changed.
        cursor_each_batch: the cursor may follow each batch, since pages come in its order.
        floor: the cursor when nothing at all was found, None = leave it.
        state: what an interrupted run had saved.
    """

    moves_cursor: bool
    keeps_state: bool
    until: datetime
    cursor_each_batch: bool
    floor: datetime | None
    state: dict[str, Any]


@contextmanager
def _no_collector() -> Iterator[None]:
    """Let reference counts alone free records: they hold no cycles, and looking for some among
    the hundred thousands that come and go takes a fifth of the parsing.
    """
    was_on = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_on:
            gc.enable()


@dataclass(frozen=True)
class _Task:
    batch: Batch
    progress: Progress
    is_last: bool


class Engine:
    """Runs one stream's pages through a store."""

    def __init__(
        self,
        stream: Stream,
        store: Store,
        policy: Policy,
        report: Report,
        *,
        expected: int | None = None,
    ) -> None:
        self.stream, self.store, self.policy, self.report = stream, store, policy, report
        self.expected = expected
        self.newest = str(policy.state.get("newest", ""))
        self.records = int(policy.state.get("records", 0))
        self.roots = int(policy.state.get("roots", 0))
        self.unresolved = int(policy.state.get("unresolved", 0))
        self.resumed_roots = self.roots
        self.started = self.reported = time.monotonic()
        self.is_fresh = bool(store.run.fresh)

    def run(self, pages: Generator[Page, None, None], *, is_threaded: bool = False) -> None:
        """Read all pages and store them.

        Args:
            is_threaded: the pages are read ahead already.

        Raises:
            RetryableError, FatalError: of the source or the store; what was committed stays.
        """
        first = next(pages, None) or Page()
        if not first.has_more:
            self._store(self._last_task(self._filled(first), first))
            return
        more = pages if is_threaded else ahead(pages, PAGES_AHEAD)
        with _no_collector(), closing(more), Behind(self._store) as loader:
            for task in self._tasks(chain((first,), more)):
                loader.put(task)

    def _filled(self, page: Page) -> Batch:
        batch = Batch(self.stream)
        batch.add_page(page)
        return batch

    def _tasks(self, pages: Iterator[Page]) -> Iterator[_Task]:
        batch, page = Batch(self.stream), Page()
        try:
            for page in pages:
                batch.add_page(page)
                is_marker = page.has_more and not (page.records or page.lines or page.broken)
                is_full = batch.size >= BATCH_ROWS or batch.bytes >= BATCH_BYTES
                if page.has_more and (is_full or (is_marker and self.policy.keeps_state)):
                    yield self._task(batch, page.state)
                    batch = Batch(self.stream, before=batch)
        except MarketingOpsError:
            # A quota that ends in the middle must not cost what was read before it.
            if batch.size:
                yield self._task(batch, page.state)
            raise
        yield self._last_task(batch, page)

    def _task(self, batch: Batch, state: dict[str, Any] | None) -> _Task:
        self._count(batch)
        kept = None
        if self.policy.keeps_state and state is not None:
            kept = {**state, **self._tally()}
        cursor = self._cursor() if self.policy.cursor_each_batch else None
        moves = self.policy.moves_cursor and (kept is not None or cursor is not None)
        return _Task(batch, Progress(kept, cursor, moves), is_last=False)

    def _last_task(self, batch: Batch, page: Page) -> _Task:
        self._count(batch)
        self._check_source_count(page)
        cursor = self._cursor() or self.policy.floor
        moves = self.policy.moves_cursor and (cursor is not None or bool(self.policy.state))
        self.store.unresolved += self.unresolved
        return _Task(batch, Progress(None, cursor, moves), is_last=True)

    def _count(self, batch: Batch) -> None:
        self.records += batch.records
        self.roots += batch.roots
        self.unresolved += sum(rows.unresolved for rows in batch.children)
        if batch.newest[:-1] > self.newest[:-1]:
            self.newest = batch.newest

    def _tally(self) -> dict[str, Any]:
        """What the run that goes on from here has to know of the part before it."""
        return {
            "newest": self.newest,
            "records": self.records,
            "roots": self.roots,
            "unresolved": self.unresolved,
            "fresh": self.is_fresh,
            "until": self.policy.until.isoformat(),
        }

    def _cursor(self) -> datetime | None:
        """The largest source time received minus the overlap; never beyond the window."""
        if not self.newest:
            return None
        newest = min(datetime.fromisoformat(self.newest), self.policy.until)
        floor = EPOCH + self.stream.overlap
        return (max(newest, floor) - self.stream.overlap).replace(microsecond=0)

    def _check_source_count(self, page: Page) -> None:
        """Compare with the source's own count, where it gives one."""
        if page.expected is None:
            return
        name, on_lines = self.stream.name, [c for c in self.stream.children if c.line_mark]
        roots = page.expected if page.roots is None else page.roots
        self.store.source_counts[name] = roots
        if len(on_lines) == 1:
            self.store.source_counts[on_lines[0].name] = page.expected - roots
        said, read = (page.expected, self.records) if on_lines else (roots, self.roots)
        if read < said or (on_lines and read != said):
            raise FatalError(
                f"the source counts {said} records of {name}, {read} were read: the read is not"
                " marked as complete; run it again"
            )

    def _store(self, task: _Task) -> None:
        self.store.commit(task.batch, task.progress, is_last=task.is_last)
        now = time.monotonic()
        if now - self.reported >= REPORT_SECONDS and not task.is_last:
            self.reported = now
            self.report(self.line())

    def line(self) -> str:
        """A line of progress: counts of what is committed, and the rate."""
        totals = self.store.totals.values()
        fetched = sum(counts.fetched for counts in totals)
        stored = sum(counts.written for counts in totals)
        rejected = sum(counts.rejected for counts in totals)
        seconds = max(time.monotonic() - self.started, 0.001)
        return (
            f"{self.store.run.account} {self.stream.name}: {fetched} fetched, {stored} stored,"
            f" {rejected} rejected, {fetched / seconds:.0f} rows/s{self._remaining(seconds)}"
        )

    def _remaining(self, seconds: float) -> str:
        """How far a read of known size is, and the minutes it still takes at this pace."""
        read_here = self.roots - self.resumed_roots
        if not self.expected or read_here <= 0 or self.roots >= self.expected:
            return ""
        minutes = (self.expected - self.roots) / (read_here / seconds) / 60
        return (
            f", {self.roots / self.expected:.0%} of about {self.expected}, {minutes:.0f} min left"
        )
