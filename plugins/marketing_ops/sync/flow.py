"""Two helpers that let fetching, parsing and storing overlap, and stop together."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable, Generator, Iterable, Iterator
from typing import Generic, TypeVar

T = TypeVar("T")

_END = object()
_TICK_SECONDS = 0.2


def ahead(items: Iterator[T], depth: int) -> Generator[T, None, None]:
    """`items`, read by a thread that is at most `depth` of them ahead.

    An error of the source is raised where the items end. Closing the generator stops the thread
    at its next item.
    """
    line: queue.Queue[object] = queue.Queue(maxsize=depth)
    stopped = threading.Event()
    failed: list[BaseException] = []

    def fetch() -> None:
        try:
            for item in items:
                if not _put(line, item, stopped):
                    return
        except BaseException as error:  # raised again in the reader's thread
            failed.append(error)
        finally:
            _put(line, _END, stopped)

    thread = threading.Thread(target=fetch, name="sync-fetch", daemon=True)
    thread.start()
    try:
        while (item := line.get()) is not _END:
            yield item  # type: ignore[misc]  # whatever is no end is an item
        if failed:
            raise failed[0]
    finally:
        stopped.set()
        thread.join()


def _put(line: queue.Queue[object], item: object, stopped: threading.Event) -> bool:
    while not stopped.is_set():
        try:
            line.put(item, timeout=_TICK_SECONDS)
        except queue.Full:
            continue
        return True
    return False


class Behind(Generic[T]):
    """Hands items to `work` in a thread of its own, one at a time: two items are alive at most.

    Use as a context manager: leaving it waits for the work handed over. After an error in either
    thread no further item is worked on.
    """

    def __init__(self, work: Callable[[T], None]) -> None:
        self._work = work
        self._line: queue.SimpleQueue[object] = queue.SimpleQueue()
        self._idle = threading.Semaphore(1)
        self._failed: list[BaseException] = []
        self._thread = threading.Thread(target=self._run, name="sync-load", daemon=True)

    def __enter__(self) -> Behind[T]:
        self._thread.start()
        return self

    def __exit__(self, kind: object, error: object, trace: object) -> None:
        self._line.put(_END)
        self._thread.join()
        if error is None and self._failed:
            raise self._failed[0]

    def put(self, item: T) -> None:
        """Hand over an item as soon as the one before it is done.

        Raises:
            The error that `work` raised for an earlier item.
        """
        self._idle.acquire()
        if self._failed:
            raise self._failed[0]
        self._line.put(item)

    def _run(self) -> None:
        while (item := self._line.get()) is not _END:
            try:
                self._work(item)  # type: ignore[arg-type]  # whatever is no end is an item
            except BaseException as error:  # raised again in the other thread
                self._failed.append(error)
            finally:
                del item
                self._idle.release()


def together(
    sources: Iterable[Callable[[], Iterator[T]]], threads: int, depth: int
) -> Generator[tuple[int, T], None, None]:
    """The items of several sources as they come, each with its source's number.

    `threads` sources are read at a time, in their order; at most `depth` items wait. The items of
    one source keep their order. The first error of a source is raised after what was read before
    it; closing the generator stops every thread at its next item.
    """
    line: queue.Queue[object] = queue.Queue(maxsize=depth)
    stopped = threading.Event()
    failed: list[BaseException] = []
    waiting = iter(list(enumerate(sources)))
    turn = threading.Lock()

    def fetch() -> None:
        try:
            while True:
                with turn:
                    number, source = next(waiting, (-1, None))
                if source is None:
                    return
                for item in source():
                    if not _put(line, (number, item), stopped):
                        return
        except BaseException as error:  # raised again in the reader's thread
            failed.append(error)
        finally:
            _put(line, _END, stopped)

    workers = [
        threading.Thread(target=fetch, name=f"sync-fetch-{number}", daemon=True)
        for number in range(threads)
    ]
    for worker in workers:
        worker.start()
    running = len(workers)
    try:
        while running and not failed:
            item = line.get()
            if item is _END:
                running -= 1
            else:
                yield item  # type: ignore[misc]  # whatever is no end is an item
        while not line.empty():  # what was read before the error
            if (item := line.get_nowait()) is not _END:
                yield item  # type: ignore[misc]
        if failed:
            raise failed[0]
    finally:
        stopped.set()
        for worker in workers:
            worker.join()
