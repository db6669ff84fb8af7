"""How many records there are, which ones, and records by their id: what a comparison asks."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import datetime
from itertools import pairwise
from typing import Any

from marketing_ops import clock
from marketing_ops.sources.base import Key, Quota, ReadRequest, Stream
from marketing_ops.sources.mailchimp.answers import GoneError
from marketing_ops.sources.mailchimp.client import MailchimpClient
from marketing_ops.sources.mailchimp.listing import PAGE_SIZE
from marketing_ops.sources.mailchimp.pages import read_rows
from marketing_ops.sources.mailchimp.parents import (
    SECOND,
    Parent,
    asked,
    audience_ids,
    instant,
    parents_of,
)
from marketing_ops.sources.mailchimp.records import member_key, shaped

_FEW = 5 * PAGE_SIZE
"""A span of fewer members is not cut any further."""

Span = tuple[str, datetime | None, datetime | None]


def count(client: MailchimpClient, stream: Stream, part: Mapping[str, Any] | None) -> int | None:
    """How many records of a stream there are now; None for what reports list (too many calls)."""
    if "{campaign}" in stream.api["path"]:
        return None
    if part is not None:
        spans = [
            Parent(key, instant(since), instant(before)) for key, since, before in part["spans"]
        ]
    else:
        spans = parents_of(client, stream, ReadRequest(None, clock.now(), is_full=True))
    return sum(_total(client, stream, span) for span in spans)


def _total(client: MailchimpClient, stream: Stream, parent: Parent) -> int:
    ask: dict[str, Any] = {"fields": "total_items", "count": 1}
    if parent.since is not None:
        ask["since_last_changed"] = asked(parent.since - SECOND)
    if parent.before is not None:
        ask["before_last_changed"] = asked(parent.before)
    return int(client.get(stream.api["path"].format(list=parent.id), ask)["total_items"])


def slices(client: MailchimpClient, stream: Stream, parts: int) -> list[dict[str, Any]]:
    """Spans of change of each audience, packed into at most `parts` parts of about one size.

    By position it cannot be cut, since rows shift. Who changes while the parts are read may leave
    one of them for the end: each part reads that too, see `parents_of`.
    """
    spans = [
        (found, _total(client, stream, Parent(*found)))
        for key in audience_ids(client)
        for found in _cut(client, stream, (key, None, None), parts)
    ]
    most = max(sum(total for _, total in spans) / parts, _FEW)
    packed: list[list[Span]] = [[]]
    held = 0
    for span, total in spans:
        if held and held + total / 2 > most and len(packed) < parts:
            packed.append([])
            held = 0
        packed[-1].append(span)
        held += total
    return [{"spans": [[key, _text(a), _text(b)] for key, a, b in part]} for part in packed]


def _cut(client: MailchimpClient, stream: Stream, span: Span, parts: int) -> list[Span]:
    """Halve a span until no piece holds much; a second cannot be halved."""
    key, since, before = span
    total = _total(client, stream, Parent(*span))
    if total <= _FEW:
        return [span]
    first = since or _first_change(client, stream, key)
    edges = [first, before or clock.now()]
    pieces = [(first, edges[1], total)]
    most = max(total / parts / 2, _FEW)
    while True:
        large = [piece for piece in pieces if piece[2] > most and piece[1] - piece[0] >= 2 * SECOND]
        if not large:
            break
        for low, high, held in large:
            middle = (low + (high - low) / 2).replace(microsecond=0)
            left = _total(client, stream, Parent(key, low, middle))
            pieces.remove((low, high, held))
            pieces += [(low, middle, left), (middle, high, held - left)]
            edges.append(middle)
    starts: list[datetime | None] = [since, *sorted(set(edges))[1:-1], before]
    return [(key, low, high) for low, high in pairwise(starts)]


def _first_change(client: MailchimpClient, stream: Stream, key: str) -> datetime:
    ask = {
        "fields": "members.last_changed",
        "count": 1,
        "sort_field": "last_changed",
        "sort_dir": "ASC",
    }
    rows = client.get(stream.api["path"].format(list=key), ask)["members"]
    at = instant(rows[0].get("last_changed")) if rows else None
    return at or clock.now()


def _text(at: datetime | None) -> str | None:
    return None if at is None else at.isoformat()


def keys(
    client: MailchimpClient, stream: Stream, part: Mapping[str, Any] | None
) -> Iterator[list[Key]]:
    """The key and time of change of every member, archived ones among them."""
    names = ("id", "contact_id", "unique_email_id", "last_changed")
    ask = {"fields": ",".join([*(f"members.{name}" for name in names), "total_items"])}
    request = ReadRequest(None, clock.now(), is_full=True, part=part)
    for parent in parents_of(client, stream, request):
        for rows in read_rows(client, stream, parent, ask):
            found = ((member_key(parent.id, row), str(row["last_changed"])) for row in rows)
            yield [(key, at) for key, at in found if key is not None]


def fetch(client: MailchimpClient, stream: Stream, ids: list[str]) -> list[dict[str, Any]]:
    """Members by their key, each with a call of its own; whoever was deleted is left out."""
    ask = {"exclude_fields": stream.api["ask"]["exclude_fields"].replace("members.", "")}
    found = []
    for key in ids:
        list_id, _, own = key.partition(":")
        try:
            row = client.get(f"/lists/{list_id}/members/{own}", ask)
        except GoneError:
            continue  # deleted for good: the caller learns it by what is missing
        found += shaped(stream, Parent(list_id), [row])
    return found


def quota(_client: MailchimpClient, _stream: Stream) -> Quota:
    """Mailchimp limits connections and no rate: neither by the second nor by the day."""
    return Quota()
