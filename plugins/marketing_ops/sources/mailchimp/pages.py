"""Reads a stream list by list, page by page."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from datetime import datetime
from typing import Any

from marketing_ops.sources.base import Page, ReadRequest, Stream
from marketing_ops.sources.mailchimp.answers import GoneError
from marketing_ops.sources.mailchimp.client import MailchimpClient
from marketing_ops.sources.mailchimp.listing import Listing, Rows
from marketing_ops.sources.mailchimp.parents import SECOND, Parent, asked, instant, parents_of
from marketing_ops.sources.mailchimp.records import shaped

_LONGEST_SEQUENCE = 10_000
"""Positions far down a list are slow at Mailchimp: before that a new sequence starts by time."""

Place = dict[str, Any]
"""Where in a list to go on: `since` or `offset`."""


def read(client: MailchimpClient, stream: Stream, request: ReadRequest) -> Iterator[Page]:
    """The pages of every list that the request asks for.

    `state` names the list and the place in it. A list that was deleted meanwhile has no pages.
    `expected` is what Mailchimp counts, where the read is a whole.
    """
    resume = dict(request.resume or {})
    parents = parents_of(client, stream, request)
    labels = [parent.label for parent in parents]
    if resume.get("parent") in labels:
        start = labels.index(resume["parent"])
    else:
        start, resume = 0, {}  # a new read, or the list was deleted since
    counted: int | None = resume.get("counted", 0) if request.is_full else None
    for number in range(start, len(parents)):
        reader = _Reader(client, stream, parents[number], is_full=request.is_full)
        following = labels[number + 1] if number + 1 < len(parents) else None
        for rows, place in reader.pages(resume.get("place") or {}):
            if place is None:
                counted = _sum(counted, reader.total)
            at = labels[number] if place is not None else following
            yield Page(
                records=reader.wanted(shaped(stream, parents[number], rows)),
                state={"parent": at, "place": place, "counted": counted},
                has_more=at is not None,
                expected=counted if at is None else None,
            )
        resume = {}
    if not parents:
        yield Page(expected=counted)


def read_rows(
    client: MailchimpClient, stream: Stream, parent: Parent, ask: dict[str, str]
) -> Iterator[Rows]:
    """The rows of one list with other parameters than the stream's own."""
    lean = replace(stream, api={**stream.api, "ask": ask})
    for rows, _ in _Reader(client, lean, parent, is_full=True).pages({}):
        yield rows


def _sum(counted: int | None, more: int | None) -> int | None:
    return None if counted is None or more is None else counted + more


class _Reader:
    """Reads one list.

    Attributes:
        total: after the last page: how many records Mailchimp counts; None = they cannot be
            compared with those read.
    """

    def __init__(
        self, client: MailchimpClient, stream: Stream, parent: Parent, *, is_full: bool
    ) -> None:
        self.client, self.stream, self.parent, self.is_full = client, stream, parent, is_full
        self.total: int | None = None

    def pages(self, place: Place) -> Iterator[tuple[Rows, Place | None]]:
        """Pages of rows and the place after them, None with the last one."""
        found = self._by_change(place) if self._is_by_change else self._by_position(place)
        try:
            yield from found
        except GoneError:
            # The audience or campaign was deleted meanwhile; its own stream says so.
            self.total = 0
            yield [], None

    def wanted(self, records: list[Any]) -> list[Any]:
        """Those within the window; what shows no time is kept, and rejected later."""
        if self.is_full or not self.stream.cursor:
            return records
        (path,) = [c.path for c in self.stream.columns if c.name == self.stream.cursor]
        return [record for record in records if self._is_inside(record, path)]

    def _is_inside(self, record: Any, path: str) -> bool:
        at = instant(record.get(path)) if isinstance(record, dict) else None
        since, before = self.parent.since, self.parent.before
        return at is None or ((since is None or at >= since) and (before is None or at < before))

    @property
    def _is_by_change(self) -> bool:
        return self.stream.cursor == "last_changed"

    def _listing(self, **more: str) -> Listing:
        api = self.stream.api
        path = api["path"].format(list=self.parent.id, campaign=self.parent.id)
        return Listing(
            self.client,
            path,
            api["root"],
            {**api["ask"], **more},
            key=api["id"],
            size=self.stream.page_size,
        )

    def _by_position(self, place: Place) -> Iterator[tuple[Rows, Place | None]]:
        more = {}
        has_events = bool(self.stream.api["events"])
        if has_events and self.parent.since is not None:
            more["since"] = asked(self.parent.since - SECOND)
        listing = self._listing(**more)
        # Rows may have left since an earlier run: it goes on a page above where that one was.
        start = max(int(place.get("offset", 0)) - self.stream.page_size, 0)
        for rows, offset in listing.pages(start):
            if offset is None and not has_events:
                self.total = listing.total
            yield rows, None if offset is None else {"offset": offset}

    def _by_change(self, place: Place) -> Iterator[tuple[Rows, Place | None]]:
        """Pages in the order of change, in sequences that each start at a time.

        Whether Mailchimp's limits are inclusive is not known (2026-11): both are widened by a
        second. A whole list has no end: what changes while it is read moves there, and is read.
        """
        since = last = instant(place.get("since")) or self.parent.since
        while True:
            sequence = self._sequence(since)
            for rows, offset in sequence.pages():
                last = _last_change(rows) or last
                if offset is None:
                    is_whole = since is None and self.parent.before is None
                    self.total = sequence.total if is_whole else None
                    yield rows, None
                    return
                yield rows, {"since": last.isoformat() if last else None}
                if offset >= _LONGEST_SEQUENCE and last != since:
                    since = last
                    break

    def _sequence(self, since: datetime | None) -> Listing:
        ask = {"sort_field": "last_changed", "sort_dir": "ASC"}
        if since is not None:
            ask["since_last_changed"] = asked(since - SECOND)
        if self.parent.before is not None:
            ask["before_last_changed"] = asked(self.parent.before + SECOND)
        return self._listing(**ask)


def _last_change(rows: Rows) -> datetime | None:
    found = [instant(row.get("last_changed")) for row in rows if isinstance(row, dict)]
    return max((at for at in found if at is not None), default=None)
