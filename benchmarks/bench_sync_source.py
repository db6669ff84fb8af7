"""A made-up vendor for the benchmark: contacts by pages, by pages in parts, and as one file.

It is declared as any vendor is (`sources/base.py`) and read through the shipped HTTP layer.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import orjson
from bench_sync_data import PAGE_ROWS, PROPERTIES

from marketing_ops.connections import Connection
from marketing_ops.sources.base import (
    Column,
    ColumnType,
    ConnectionForm,
    Page,
    ReadRequest,
    Source,
    Stream,
)
from marketing_ops.sources.httpclient import Answer, HttpClient, raise_for_status
from marketing_ops.sources.shared import Shared

SYSTEM = "bench"

_TYPES: dict[str, ColumnType] = {
    "annualrevenue": "numeric",
    "num_notes": "bigint",
    "createdate": "timestamptz",
    "lastmodifieddate": "timestamptz",
}
_COLUMNS = (
    Column("id", "text", "id"),
    *(Column(name, _TYPES.get(name, "text"), f"properties.{name}") for name in PROPERTIES),
    Column("archived", "boolean", "archived"),
)


def _stream(name: str, **more: Any) -> Stream:
    return Stream(name, _COLUMNS, cursor="lastmodifieddate", is_ascending=False, dag="crm", **more)


STREAMS = (
    _stream("contacts"),
    _stream("contacts_in_parts", max_slices=8),
    _stream("contacts_file", has_bulk=True),
)


class BenchClient:
    """Reads the static server; the connection's `extra.rows` says how many contacts it has."""

    def __init__(self, connection: Connection) -> None:
        self.rows = int(connection.extra["rows"])
        self.http = HttpClient(
            connection.conn_id, connection.base_url(), headers={}, errors=self._check
        )

    def _check(self, answer: Answer) -> None:
        if answer.status >= 400:
            raise_for_status(self.http.name, answer, {})


def build(connection: Connection, quota_share: float, shared: Shared) -> BenchClient:
    """The client of a connection."""
    return BenchClient(connection)


def read(client: BenchClient, stream: Stream, request: ReadRequest) -> Iterator[Page]:
    """The stream as one file or page by page."""
    return _file(client) if request.is_bulk else _pages(client, request)


def _pages(client: BenchClient, request: ReadRequest) -> Iterator[Page]:
    part = request.part or {"from": 0, "to": client.rows}
    after = int((request.resume or {}).get("after", part["from"]))
    while after < part["to"]:
        answer = client.http.call("GET", f"/contacts?limit={PAGE_ROWS}&after={after}", is_read=True)
        found = orjson.loads(answer.body)
        after = int(found["paging"]["next"]["after"]) if "paging" in found else client.rows
        has_more = after < part["to"]
        yield Page(
            found["results"],
            is_escaped=b"\\" in answer.body,
            state={"after": after} if has_more else None,
            has_more=has_more,
            expected=None if has_more else part["to"] - part["from"],
        )


def _file(client: BenchClient) -> Iterator[Page]:
    rest, done = b"", 0
    for chunk in client.http.download(f"{client.http.base_url}/contacts.jsonl"):
        cut = chunk.rfind(b"\n") + 1
        lines, rest = rest + chunk[:cut], chunk[cut:]
        done += len(lines)
        yield Page(lines=lines, state={"bulk": "1", "bytes": done}, has_more=True)
    yield Page(lines=rest, expected=client.rows)


def slices(client: BenchClient, stream: Stream, most: int) -> list[dict[str, Any]]:
    """Equal parts of whole pages."""
    step = -(-client.rows // most // PAGE_ROWS) * PAGE_ROWS
    starts = range(0, client.rows, step)
    return [{"from": start, "to": min(start + step, client.rows)} for start in starts]


def count(client: BenchClient, stream: Stream, part: Mapping[str, Any] | None) -> int:
    """How many contacts there are."""
    return client.rows if part is None else part["to"] - part["from"]


BENCH = Source(
    system=SYSTEM,
    form=ConnectionForm("bench", "Bench", "bench"),
    client=build,
    read=read,
    streams=STREAMS,
    slices=slices,
    count=count,
)
