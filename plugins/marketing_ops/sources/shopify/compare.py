"""How many records a shop has, which ones, and records by their id: what a comparison asks."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any

import orjson

from marketing_ops import clock
from marketing_ops.sources.base import Key, Page, Quota, ReadRequest, Stream
from marketing_ops.sources.shopify import bulk, pages
from marketing_ops.sources.shopify.answers import TooCostlyError
from marketing_ops.sources.shopify.client import ShopifyClient

_KEYS_A_PAGE = 250
_FEW_PAGES = 20
_POINTS_A_RECORD = 3.0
"""What a record of a page costs, roughly: its nested lists count too."""


def count(shop: ShopifyClient, stream: Stream, _part: Mapping[str, Any] | None) -> int | None:
    """How many records of a stream the shop has; None for events, which it does not count, and
    where it only says "at least" so many.
    """
    if stream.deletes:
        return None
    field = f"{stream.api['root']}Count"
    found = shop.query(f"{{{field}(limit:null){{count precision}}}}")[field]
    return int(found["count"]) if found.get("precision") == "EXACT" else None


def keys(
    shop: ShopifyClient, stream: Stream, _part: Mapping[str, Any] | None
) -> Iterator[list[Key]]:
    """The keys of every record: page by page of a small shop, as one file of a large one."""
    api = {**stream.api, "selection": "id updatedAt", "connections": {}}
    lean = replace(
        stream, children=(), page_size=_KEYS_A_PAGE, filter_margin=stream.overlap * 0, api=api
    )
    total = count(shop, stream, None)
    is_few = total is not None and total <= _FEW_PAGES * _KEYS_A_PAGE
    read = pages.read if is_few else bulk.read
    for page in read(shop, lean, ReadRequest(None, clock.now(), is_bulk=not is_few, is_full=True)):
        yield [_key(record) for record in _records(page)]


def _records(page: Page) -> Iterator[Any]:
    yield from page.records
    for line in page.lines.splitlines():
        yield orjson.loads(line)


def _key(record: dict[str, Any]) -> Key:
    return str(record["id"]).rpartition("/")[2], str(record.get("updatedAt") or "")


def fetch(shop: ShopifyClient, stream: Stream, ids: list[str]) -> list[dict[str, Any]]:
    """The records with these ids, nested lists complete; what is gone is left out."""
    found: list[dict[str, Any]] = []
    size = min(stream.page_size, 100)
    while ids:
        now, rest = ids[:size], ids[size:]
        wanted = [f"gid://shopify/{stream.api['node']}/{key}" for key in now]
        try:
            nodes = shop.query(pages.nodes_query(stream), {"ids": wanted})["nodes"]
        except TooCostlyError:
            if size == 1:
                raise
            size = max(size // 2, 1)
            continue
        found += [node for node in nodes if node]
        ids = rest
    for node in found:
        pages.complete(shop, stream, node)
    return found


def quota(shop: ShopifyClient, stream: Stream) -> Quota:
    """Pages a second that the shop's bucket of query cost refills for; there is no daily quota."""
    rate = shop.restore_rate()
    if rate is None:
        return Quota()
    return Quota(calls_per_second=rate / (_POINTS_A_RECORD * stream.page_size))
