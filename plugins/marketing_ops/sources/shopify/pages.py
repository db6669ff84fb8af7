"""Reads a stream page by page through nested GraphQL connections."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

from marketing_ops.errors import FatalError
from marketing_ops.sources.base import Page, ReadRequest, Stream
from marketing_ops.sources.shopify.answers import TooCostlyError
from marketing_ops.sources.shopify.client import ShopifyClient

# Shopify stops paging at 25,000 objects (2026-10): a new sequence starts before that.
_LONGEST_SEQUENCE = 20_000
_NESTED_PAGE = 100


def search(
    stream: Stream, since: datetime | None, until: datetime | None, restart: str = ""
) -> str:
    """The search text of a window. Timestamps are quoted: unquoted, Shopify drops their time."""
    field = stream.api["by"][0]
    parts = [stream.api["filter"]] if stream.api["filter"] else []
    parts += [restart] if restart else []
    if since is not None:
        parts.append(f"{field}:>='{_instant(since)}'")
    if until is not None:
        parts.append(f"{field}:<'{_instant(until, is_end=True)}'")
    return " ".join(parts)


def _instant(at: datetime, *, is_end: bool = False) -> str:
    """To the second: a start rounds down and an end up, so that a fraction loses nothing."""
    whole = at.astimezone(UTC).replace(microsecond=0)
    if is_end and at.microsecond:
        whole += timedelta(seconds=1)
    return whole.strftime("%Y-%m-%dT%H:%M:%SZ")


def page_query(stream: Stream) -> str:
    """The GraphQL text that reads one page of a stream."""
    api = stream.api
    order = f"sortKey:{api['sort']}" + (",reverse:true" if stream.is_newest_first else "")
    return (
        "query($n:Int!,$after:String,$q:String){"
        f"{api['root']}(first:$n,after:$after,query:$q,{order})"
        f"{{pageInfo{{hasNextPage endCursor}} nodes{{{api['selection']}{_nested(stream)}}}}}}}"
    )


def nested_query(stream: Stream, connection: str) -> str:
    """The GraphQL text that reads one more page of a record's nested connection."""
    api = stream.api
    return (
        "query($id:ID!,$n:Int!,$after:String){node(id:$id){... on "
        f"{api['node']}{{{connection}(first:$n,after:$after)"
        f"{{pageInfo{{hasNextPage endCursor}} nodes{{{api['connections'][connection]}}}}}}}}}}}"
    )


def nodes_query(stream: Stream) -> str:
    """The GraphQL text that reads records by their ids, as a page shows them."""
    api = stream.api
    return (
        f"query($ids:[ID!]!){{nodes(ids:$ids){{... on {api['node']}"
        f"{{{api['selection']}{_nested(stream)}}}}}}}"
    )


def _nested(stream: Stream) -> str:
    size = stream.api["nested_page"]
    return "".join(
        f" {name}(first:{size}){{pageInfo{{hasNextPage endCursor}} nodes{{{fields}}}}}"
        for name, fields in stream.api["connections"].items()
    )


def read(shop: ShopifyClient, stream: Stream, request: ReadRequest) -> Iterator[Page]:
    """The pages of a window, records in the stream's order, nested lists complete.

    `state` of each page names the page after it; with it in `request.resume` reading goes on.
    """
    resume = request.resume or {}
    until = datetime.fromisoformat(resume["until"]) if "until" in resume else request.until
    margin = stream.filter_margin
    since = request.since - margin if request.since is not None else None
    after, restart, in_sequence = resume.get("after"), resume.get("restart", ""), 0
    while True:
        window = search(stream, since, until + margin, restart)
        found = _page(shop, stream, window, after)
        nodes, info = found["nodes"], found["pageInfo"]
        is_past = stream.is_newest_first and _reaches_before(stream, nodes, request.since)
        has_more = bool(info["hasNextPage"]) and not is_past
        if has_more and (not info["endCursor"] or info["endCursor"] == after):
            raise _endless(shop, stream)
        after, in_sequence = info["endCursor"], in_sequence + len(nodes)
        if has_more and in_sequence >= _LONGEST_SEQUENCE:
            after, in_sequence, before = None, 0, restart
            restart = _restart(stream, nodes)
            if restart == before:
                raise FatalError(
                    f"more than {_LONGEST_SEQUENCE} {stream.name} changed in one moment that"
                    f" `{shop.name}` can tell apart: run a full refresh, which reads one file"
                )
        for node in nodes:
            complete(shop, stream, node)
        yield Page(
            records=_inside(stream, nodes, request, until),
            state={"after": after, "until": until.isoformat(), "restart": restart},
            has_more=has_more,
        )
        if not has_more:
            return


def _endless(shop: ShopifyClient, stream: Stream) -> FatalError:
    return FatalError(f"`{shop.name}` repeats a page of {stream.name}: reading it would not end")


def _restart(stream: Stream, nodes: list[Any]) -> str:
    """The search term with which a new sequence starts at the last record of the one before.

    Records of that very second come twice; the merge finds them unchanged.
    """
    field, key = stream.api["sorted"]
    at = _at(nodes[-1], key)
    if at is None:
        raise FatalError(f"{stream.name} shows a record without {key}: it cannot be read further")
    if stream.is_newest_first:
        return f"{field}:<='{_instant(at, is_end=True)}'"
    return f"{field}:>='{_instant(at)}'"


def _page(shop: ShopifyClient, stream: Stream, window: str, after: str | None) -> dict[str, Any]:
    """One page; when it costs more than a single query may, fewer records are asked for."""
    root = stream.api["root"]
    while True:
        size = shop.page_sizes.get(stream.name, stream.page_size)
        try:
            data = shop.query(page_query(stream), {"n": size, "after": after, "q": window or None})
        except TooCostlyError:
            if size == 1:
                raise
            shop.page_sizes[stream.name] = max(size // 2, 1)
            continue
        found = data.get(root)
        if not isinstance(found, dict) or not isinstance(found.get("nodes"), list):
            raise FatalError(f"`{shop.name}` answers without {root}: its contract is broken")
        return found


def complete(shop: ShopifyClient, stream: Stream, node: Any) -> None:
    """Read the rest of nested lists longer than a page, and leave only their nodes."""
    for name in stream.api["connections"]:
        connection = node.get(name) if isinstance(node, dict) else None
        if not isinstance(connection, dict):
            continue
        info = connection.pop("pageInfo", None) or {}
        if stream.api["nested_page"] == 1:
            continue  # only the first one is wanted
        while info.get("hasNextPage"):
            variables = {"id": node["id"], "n": _NESTED_PAGE, "after": info["endCursor"]}
            parent = shop.query(nested_query(stream, name), variables).get("node")
            if not parent:
                break  # deleted meanwhile: the next run learns of it
            connection["nodes"].extend(parent[name]["nodes"])
            if parent[name]["pageInfo"]["endCursor"] == info["endCursor"]:
                raise FatalError(
                    f"`{shop.name}` repeats a page of {name}: reading it would not end"
                )
            info = parent[name]["pageInfo"]


def _at(node: Any, key: str) -> datetime | None:
    value = node.get(key) if isinstance(node, dict) else None
    try:
        at = datetime.fromisoformat(value) if isinstance(value, str) else None
    except ValueError:
        return None
    return at if at is None or at.tzinfo else at.replace(tzinfo=UTC)


def _reaches_before(stream: Stream, nodes: list[Any], since: datetime | None) -> bool:
    """True when the page, truly sorted newest first, ends before the window's start."""
    key = stream.api["by"][1]
    instants = [at for at in (_at(node, key) for node in nodes) if at is not None]
    if since is None or not instants or instants != sorted(instants, reverse=True):
        return False
    return instants[-1] < since


def _inside(stream: Stream, nodes: list[Any], request: ReadRequest, until: datetime) -> list[Any]:
    """Without what the widened filter showed beyond the window; the unreadable is kept."""
    if not stream.filter_margin:
        return nodes
    kept = []
    for node in nodes:
        at = _at(node, stream.api["by"][1])
        is_early = at is not None and request.since is not None and at < request.since
        if not is_early and (at is None or at < until):
            kept.append(node)
    return kept
