"""A made-up vendor with every way a record can live: a server that behaves, and its source."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime, timedelta
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlencode, urlsplit

import orjson

from marketing_ops.connections import Connection
from marketing_ops.errors import StillRunningError
from marketing_ops.sources.base import (
    Column,
    ConnectionForm,
    Key,
    Page,
    ReadRequest,
    Source,
    Stream,
)
from marketing_ops.sources.httpclient import Answer, HttpClient, raise_for_status
from marketing_ops.sources.shared import Shared

START = datetime(2026, 1, 1, tzinfo=UTC)
PAGE = 10
FILE_POLLS = 2
"""How often the file of `files` is asked for before it is ready."""

Record = dict[str, Any]


def iso(at: datetime) -> str:
    return at.strftime("%Y-%m-%dT%H:%M:%SZ")


def person(number: int, at: datetime = START, **changes: Any) -> Record:
    """A person as the API shows one."""
    return {
        "id": str(number),
        "name": f"Name {number}",
        "score": number,
        "merged_ids": None,
        "updated_at": iso(at),
        **changes,
    }


class Acme:
    """The vendor: people with a change time, badges without; counts its calls, fails on demand.

    Attributes:
        people, badges, teams: what there is, by id.
        fail: called with each path before it is answered; returns (status, body) or None.
        delay: seconds each answer takes.
        behind: seconds the vendor's clock is behind ours.
    """

    def __init__(self) -> None:
        self.people: dict[str, Record] = {}
        self.badges: dict[str, Record] = {}
        self.teams: dict[str, Record] = {}
        self.calls: list[str] = []
        self.fail: Callable[[str], tuple[int, bytes] | None] = lambda _path: None
        self.delay = 0.0
        self.behind = 0.0
        self.most_at_once = self.at_once = 0
        self._lock = threading.Lock()
        self.server = ThreadingHTTPServer(("127.0.0.1", 0), _handler(self))
        self.server.daemon_threads = True
        threading.Thread(target=self.server.serve_forever, args=(0.01,), daemon=True).start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server.server_address[1]}"

    def close(self) -> None:
        self.server.shutdown()
        self.server.server_close()

    def add(self, *people: Record) -> None:
        self.people.update({one["id"]: one for one in people})

    def answer(self, path: str) -> tuple[int, bytes]:
        """What a GET of `path` answers."""
        with self._lock:
            self.calls.append(path)
            self.at_once += 1
            self.most_at_once = max(self.most_at_once, self.at_once)
        time.sleep(self.delay)
        try:
            failed = self.fail(path)
            return failed or (200, json.dumps(self._found(path)).encode())
        finally:
            with self._lock:
                self.at_once -= 1

    def _found(self, path: str) -> Any:
        parts = urlsplit(path)
        asked = {name: values[0] for name, values in parse_qs(parts.query).items()}
        records = sorted(self._kind(parts.path).values(), key=lambda one: int(one["id"]))
        if "ids" in asked:
            return [one for one in records if one["id"] in asked["ids"].split(",")]
        low, high = int(asked.get("low", 0)), int(asked.get("high", 1 << 60))
        records = [one for one in records if low <= int(one["id"]) < high]
        if "count" in asked:
            return {"count": len(records)}
        if "since" in asked:
            records = [one for one in records if one["updated_at"] >= asked["since"]]
            records.sort(key=lambda one: (one["updated_at"], int(one["id"])))
        start = int(asked.get("after", 0))
        return {"records": records[start : start + PAGE], "more": start + PAGE < len(records)}

    def _kind(self, path: str) -> dict[str, Record]:
        kinds = {"/badges": self.badges, "/teams": self.teams}
        return kinds.get(path, self.people)


def _handler(acme: Acme) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            status, body = acme.answer(self.path)
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def date_time_string(self, timestamp: float | None = None) -> str:
            return super().date_time_string(time.time() - acme.behind)

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    return Handler


# ---------------------------------------------------------------- the source


def _column(name: str, kind: Any) -> Column:
    return Column(name, kind, name)


PEOPLE = Stream(
    name="people",
    columns=(
        _column("id", "text"),
        _column("name", "text"),
        _column("score", "bigint"),
        _column("merged_ids", "text"),
        _column("updated_at", "timestamptz"),
    ),
    cursor="updated_at",
    overlap=timedelta(minutes=1),
    absorbs="merged_ids",
    is_complete=True,
    is_reconciled=True,
    max_slices=4,
    dag="crm",
)
BADGES = Stream(
    name="badges",
    columns=(_column("id", "text"), _column("title", "text")),
    is_complete=True,
    dag="crm",
)
TEAMS = Stream(
    name="teams",
    columns=(_column("id", "text"), _column("title", "text")),
    children=(
        Stream(
            name="seats",
            parent="teams",
            parent_column="team_id",
            nested="seats",
            columns=(_column("id", "text"), Column("team_id", "text", "__parentId")),
        ),
    ),
    is_complete=True,
    dag="crm",
)
FILES = Stream(
    name="files",
    columns=(_column("id", "text"), _column("updated_at", "timestamptz")),
    cursor="updated_at",
    has_bulk=True,
    dag="crm",
)


class AcmeClient:
    """Its client: a key in a header, one error map."""

    def __init__(self, connection: Connection, _share: float, shared: Shared) -> None:
        self.shared = shared
        self.http = HttpClient(
            connection.conn_id,
            connection.base_url("http"),
            headers={"Accept": "application/json"},
            errors=self._check,
            sleep=lambda _seconds: None,
        )

    def _check(self, answer: Answer) -> None:
        raise_for_status("acme", answer, {401: "the key is refused"})

    def get(self, path: str, **params: Any) -> Any:
        query = urlencode({name: value for name, value in params.items() if value is not None})
        return orjson.loads(self.http.call("GET", f"{path}?{query}", is_read=True).body)


def read(client: AcmeClient, stream: Stream, request: ReadRequest) -> Iterator[Page]:
    if request.is_bulk:
        yield from _file(client, request)
        return
    part = dict(request.part or {})
    since = iso(request.since) if request.since else None
    after = int((request.resume or {}).get("after", 0))
    while True:
        found = client.get(f"/{stream.name}", after=after, since=since, **part)
        after += len(found["records"])
        count = None if found["more"] or not part else client.get("/people", count=1, **part)
        yield Page(
            found["records"],
            state={"after": after},
            has_more=found["more"],
            expected=count and count["count"],
        )
        if not found["more"]:
            return


def _file(client: AcmeClient, request: ReadRequest) -> Iterator[Page]:
    polled = int((request.resume or {}).get("polled", 0))
    yield Page(state={"polled": polled}, has_more=True)
    if polled < FILE_POLLS:
        raise StillRunningError("`acme` writes", retry_after=60.0, state={"polled": polled + 1})
    yield Page(client.get("/people")["records"])


def count(client: AcmeClient, stream: Stream, part: Mapping[str, Any] | None) -> int | None:
    return int(client.get(f"/{stream.name}", count=1, **(part or {}))["count"])


def slices(client: AcmeClient, stream: Stream, wanted: int) -> list[dict[str, Any]]:
    """Id ranges of equal width; the last one is open."""
    total = count(client, stream, None) or 1
    width = total // wanted + 1
    found: list[dict[str, Any]] = [
        {"low": number * width, "high": (number + 1) * width} for number in range(wanted)
    ]
    del found[-1]["high"]
    return found


def keys(client: AcmeClient, stream: Stream, part: Mapping[str, Any] | None) -> Iterator[list[Key]]:
    for page in read(client, stream, ReadRequest(None, START, part=part)):
        yield [(one["id"], one["updated_at"]) for one in page.records]


def fetch(client: AcmeClient, stream: Stream, ids: list[str]) -> list[Record]:
    return list(client.get(f"/{stream.name}", ids=",".join(ids)))


ACME = Source(
    system="acme",
    form=ConnectionForm("marketing_ops_acme", "Acme", "marketing_ops.sources.acme.AcmeHook"),
    client=AcmeClient,
    read=read,
    streams=(PEOPLE, BADGES, TEAMS, FILES),
    count=count,
    slices=slices,
    keys=keys,
    fetch=fetch,
)
resolve = partial(Connection, conn_type="marketing_ops_acme")
