"""How vendors hand out long lists: cursors, tokens, offsets, links, and windows below a cap.

Each paginator yields `(records, state)`. `state` is JSON: given back to the same paginator, it goes
on after these records. It is None with the last page. What would page for ever is FatalError.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Hashable, Iterator
from typing import Any
from urllib.parse import urljoin

from marketing_ops.errors import FatalError
from marketing_ops.sources.httpclient import origin_of

Records = list[Any]

_MOST_RETREATS = 1000
"""So often a page is asked for further up before one is reached that was not yet read."""

_LINK = re.compile(r'<([^>]*)>((?:[^",]|"(?:[^"\\]|\\.)*")*)')
_PARAMETER = re.compile(r';\s*([^\s=;]+)\s*(?:=\s*(?:"((?:[^"\\]|\\.)*)"|([^\s;"]+)))?')


def by_cursor(
    call: Callable[[str | None], tuple[Records, str | None]], *, name: str, after: str | None = None
) -> Iterator[tuple[Records, str | None]]:
    """Pages that each name the next one. A page may be empty and still not be the last.

    Args:
        call: the page after a cursor (None = the first page) and the cursor after it, None or ""
            when it is the last.
        name: what is read, for errors.
        after: where to go on.
    """
    guard = _Guard(name)
    while True:
        guard.check(after)
        records, found = call(after)
        after = found or None
        yield records, after
        if after is None:
            return


def by_token(
    call: Callable[[str | None], tuple[Records, str | None]], *, name: str, token: str | None = None
) -> Iterator[tuple[Records, str | None]]:
    """Pages by a token. Only its absence ends them, whether there are records or not."""
    return by_cursor(call, name=name, after=token)


def by_link(
    call: Callable[[str], tuple[Records, str]], *, name: str, first: str
) -> Iterator[tuple[Records, str | None]]:
    """Pages whose Link header (RFC 8288) names the next one's URL, on the same host.

    Args:
        call: the page at a URL and its Link header, "" when it has none.
        name: what is read, for errors.
        first: the whole URL of the page to begin with.

    Raises:
        FatalError: the next page lies on another host: no secret leaves for it.
    """
    guard = _Guard(name)
    url: str | None = first
    while url is not None:
        guard.check(url)
        records, header = call(url)
        target = next_link(header)
        following = urljoin(url, target) if target else None
        if following is not None and origin_of(following) != origin_of(first):
            raise FatalError(
                f"the pages of {name} go on at another host, which is refused so that no secret"
                " leaves for it"
            )
        url = following
        yield records, url


def next_link(header: str) -> str:
    """The target with `rel="next"` in a Link header, "" without one."""
    for target, parameters in _LINK.findall(header):
        for parameter, quoted, plain in _PARAMETER.findall(parameters):
            if parameter.lower() == "rel":
                if "next" in (quoted or plain).lower().split():
                    return str(target).strip()
                break  # only the first rel of a link counts (RFC 8288, 3.3)
    return ""


def by_offset(
    call: Callable[[int, int], tuple[Records, int | None]],
    *,
    name: str,
    size: int,
    start: int = 0,
    overlap: int = 0,
    key: Callable[[Any], Hashable] | None = None,
) -> Iterator[tuple[Records, int | None]]:
    """Pages by position in a window that is frozen but whose rows may shift.

    A row that leaves moves those after it forward, past the position that is asked for next. With
    `overlap` and `key` each page begins with rows of the one before, and one that shows none of
    them is asked for again further up: no row that stays in the window is skipped, whatever leaves
    before it. Rows may come twice. An empty page is the last one, whatever the vendor's total says:
    the caller's books compare that.

    Args:
        call: the records from a position on and how many there are in all, None = unknown.
        name: what is read, for errors.
        size: records asked for at a time.
        start: where to begin, or to go on; then `overlap` rows before it are read again, which
            cannot be checked: when rows may have shifted further meanwhile, begin anew.
        overlap: how many rows of a page the next one repeats.
        key: tells versions of records apart (id and time of change), so that one that moved to
            another place does not pass for one that stayed.
    """
    if not 0 <= overlap < size:
        raise FatalError(f"{name}: an overlap of {overlap} rows needs larger pages than {size}")
    offset = max(start - overlap, 0)
    seen: set[Hashable] = set()
    furthest = retreats = 0
    while True:
        records, total = call(offset, size)
        if seen and key is not None and offset and seen.isdisjoint(map(key, records)):
            retreats += 1
            if retreats > _MOST_RETREATS:
                raise FatalError(f"rows of {name} move faster than they are read")
            offset = max(offset - size + 1, 0)
            continue
        end = offset + len(records)
        if end > furthest:
            furthest, retreats = end, 0
        is_last = not records or (len(records) < size if total is None else end >= total)
        yield records, None if is_last else end
        if is_last:
            return
        if len(records) <= overlap:
            raise FatalError(f"{name} shows fewer records at a time than it was asked for")
        seen = set(map(key, records)) if key is not None and overlap else set()
        offset = end - overlap


def by_windows(
    count: Callable[[int, int], int], low: int, high: int, *, cap: int, name: str = "the source"
) -> Iterator[tuple[int, int]]:
    """Cut [low, high) into windows, in order and without gaps, that hold at most `cap` records.

    Args:
        count: how many records lie in [a, b) now.
        low: the start in the smallest unit the vendor tells apart (epoch milliseconds).
        high: the end.
        cap: how many records of one window the vendor hands out.
        name: what is read, for errors.

    Raises:
        DenseError: more than `cap` records lie in one such unit.
    """
    waiting = [(low, high)] if low < high else []
    while waiting:
        a, b = waiting.pop()
        if count(a, b) <= cap:
            yield a, b
        elif b - a == 1:
            raise DenseError(
                f"more than {cap} records of {name} changed in one moment ({a}), which is all it"
                " hands out of a window: run a full refresh, which does not search",
                at=a,
            )
        else:
            middle = (a + b) // 2
            waiting += [(middle, b), (a, middle)]


class DenseError(FatalError):
    """One moment holds more records than the vendor hands out of a window.

    Attributes:
        at: that moment, in the unit of the windows.
    """

    def __init__(self, message: str, *, at: int) -> None:
        super().__init__(message)
        self.at = at


class _Guard:
    """Notices pages that go round in circles, however long, without keeping them all (Brent)."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._mark: str | None = None
        self._last: str | None = None
        self._steps, self._lap = 0, 1

    def check(self, place: str | None) -> None:
        """Raise FatalError when `place` is where an earlier page was."""
        if self._steps and place in (self._mark, self._last):
            raise FatalError(f"{self._name} repeats a page: reading it would not end")
        self._last = place
        self._steps += 1
        if self._steps >= self._lap:
            self._mark, self._lap, self._steps = place, self._lap * 2, 1
