"""CRM objects by search: by change or by id, counted, cut into parts.

Search hands out 10,000 records of a question and its rows move while it is paged through. So no
question is paged: each page asks anew from where the last one ended.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from marketing_ops.errors import FatalError, RetryableError
from marketing_ops.sources.base import ReadRequest, Stream
from marketing_ops.sources.hubspot.client import HubSpotClient
from marketing_ops.sources.hubspot.records import ID, id_of, ms_of, names_of, path_of, to_ms
from marketing_ops.sources.paging import by_windows

WORTH_CUTTING = 50_000
"""Fewer records are read sooner than the questions are asked by which to cut them."""

Filters = list[dict[str, Any]]
Pages = Iterator[tuple[list[Any], dict[str, Any] | None]]
Version = tuple[int | None, int | None]
"""A record's time of change (epoch ms) and its id; None where it is damaged."""


@dataclass(frozen=True)
class Found:
    """One answer to a search: records, and how many match in all."""

    records: list[Any]
    total: int

    @property
    def is_all(self) -> bool:
        """Nothing is left to ask for."""
        return len(self.records) >= self.total


def by_id(hubspot: HubSpotClient, stream: Stream, request: ReadRequest) -> Pages:
    """The records of a part, by id; `state` names the last one."""
    last = int((request.resume or {}).get("id", 0))
    bounds = _bounds(request.part)
    while True:
        filters = [*bounds, _filter(ID, "GT", last)] if last else bounds
        found = search(hubspot, stream, filters, sort=ID)
        ids = [key for key in map(id_of, found.records) if key is not None]
        if not found.is_all and max(ids, default=0) <= last:
            raise _stuck(hubspot, stream)
        last = max([last, *ids])
        yield found.records, None if found.is_all else {"id": last}
        if found.is_all:
            return


def by_change(hubspot: HubSpotClient, stream: Stream, request: ReadRequest) -> Pages:
    """The records of a window, by time of change in ms; `state` names the last one's.

    Each question starts at the instant of the last record, whose records come again and are left
    out. When a whole page is of one instant, the rest of that instant is read by id.
    """
    resume = request.resume or {}
    until = int(resume.get("until", to_ms(request.until)))
    at = int(resume.get("at", 0 if request.since is None else to_ms(request.since)))
    after, seen = resume.get("after"), set[Version]()
    while True:
        if after is None:
            window = [_changed(stream, "GTE", at), _changed(stream, "LT", until)]
            found = search(hubspot, stream, window, sort=stream.api["modified"])
            fresh, is_last = _unseen(stream, found.records, seen), found.is_all
            last, newest = _newest(stream, found.records)
            if last > at:
                at, seen = last, newest
            elif not is_last:
                if last < at:
                    raise _stuck(hubspot, stream)
                after, seen = 0, seen | newest
        else:
            moment = [_changed(stream, "GTE", at), _changed(stream, "LT", at + 1)]
            found = search(hubspot, stream, [*moment, _filter(ID, "GT", after)], sort=ID)
            fresh = _unseen(stream, found.records, seen)
            before, after = after, max(filter(None, map(id_of, found.records)), default=after)
            if found.is_all:
                at, after, seen = at + 1, None, set()
            elif after <= before:
                raise _stuck(hubspot, stream)
            is_last = at >= until
        yield fresh, None if is_last else {"at": at, "after": after, "until": until}
        if is_last:
            return


def search(
    hubspot: HubSpotClient,
    stream: Stream,
    filters: Filters,
    *,
    sort: str,
    size: int | None = None,
    is_down: bool = False,
) -> Found:
    """The first records that pass all filters, and how many do.

    Raises:
        RetryableError: it counts records and shows none.
    """
    body = {
        "filterGroups": [{"filters": filters}] if filters else [],
        # HubSpot takes one sort only: of equal ones the order is not known.
        "sorts": [{"propertyName": sort, "direction": "DESCENDING" if is_down else "ASCENDING"}],
        "properties": stream.api.get("searched") or names_of(stream),
        "limit": size or stream.page_size,
        "after": "0",
    }
    answer = hubspot.ask(f"{path_of(stream)}/search", body)
    records, total = answer.get("results"), answer.get("total")
    if not isinstance(records, list) or not isinstance(total, int):
        raise FatalError(f"`{hubspot.name}` searches {stream.name} without result: broken contract")
    if total and not records:
        raise RetryableError(f"`{hubspot.name}` counts {total} {stream.name} and shows none")
    return Found(records, total)


def count(hubspot: HubSpotClient, stream: Stream, part: Mapping[str, Any] | None) -> int:
    """How many records there are, or of a part."""
    return search(hubspot, stream, _bounds(part), sort=ID, size=1).total


def slices(hubspot: HubSpotClient, stream: Stream, most: int) -> list[dict[str, Any]]:
    """Cut all records by id into at most `most` parts of about one size.

    A part is `{"from": id or None, "to": id or None}`; the first and the last are open, so that
    what is made meanwhile lies in one of them.
    """
    total = count(hubspot, stream, None)
    if total < WORTH_CUTTING or most < 2:
        return [{"from": None, "to": None}]
    counts: dict[tuple[int, int], int] = {}

    def within(low: int, high: int) -> int:
        counts[low, high] = count(hubspot, stream, {"from": low, "to": high})
        return counts[low, high]

    low, high = (_edge(hubspot, stream, is_last=is_last) for is_last in (False, True))
    cuts, held = list[int](), 0
    cap = max(total // most // 2, 1)
    for window in by_windows(within, low, high + 1, cap=cap, name=stream.name):
        held += counts[window]
        # Each part that is closed has its full share, so that there are never more than asked for.
        if held >= total / most and len(cuts) < most - 1:
            cuts.append(window[1])
            held = 0
    return [
        {"from": start, "to": end} for start, end in zip([None, *cuts], [*cuts, None], strict=True)
    ]


def _newest(stream: Stream, records: list[Any]) -> tuple[int, set[Version]]:
    """The last instant of a page, and the records of that instant."""
    versions = {_version(stream, record) for record in records}
    last = max((at for at, key in versions if at is not None), default=-1)
    return last, {(at, key) for at, key in versions if at == last and key is not None}


def _version(stream: Stream, record: Any) -> Version:
    return _time_of(stream, record), id_of(record)


def _time_of(stream: Stream, record: Any) -> int | None:
    try:
        return ms_of(record["properties"][stream.api["modified"]])
    except (KeyError, TypeError, ValueError, AttributeError):
        return None


def _unseen(stream: Stream, records: list[Any], seen: set[Version]) -> list[Any]:
    """Without the versions of records that the page before showed."""
    return [record for record in records if _version(stream, record) not in seen]


def _bounds(part: Mapping[str, Any] | None) -> Filters:
    known = part or {}
    bounds = (("GTE", known.get("from")), ("LT", known.get("to")))
    return [_filter(ID, operator, value) for operator, value in bounds if value is not None]


def _edge(hubspot: HubSpotClient, stream: Stream, *, is_last: bool) -> int:
    found = search(hubspot, stream, [], sort=ID, size=1, is_down=is_last)
    return next(filter(None, map(id_of, found.records)), 0)


def _changed(stream: Stream, operator: str, at: int) -> dict[str, Any]:
    return _filter(stream.api["modified"], operator, at)


def _filter(name: str, operator: str, value: Any) -> dict[str, Any]:
    return {"propertyName": name, "operator": operator, "value": str(value)}


def _stuck(hubspot: HubSpotClient, stream: Stream) -> FatalError:
    return FatalError(f"`{hubspot.name}` repeats a page of {stream.name}: reading it would not end")
