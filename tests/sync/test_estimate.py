from __future__ import annotations

import json
import threading
from collections.abc import Iterator, Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from marketing_ops.errors import FatalError
from marketing_ops.sources.base import Column, ConnectionForm, Quota, Source, Stream
from marketing_ops.sources.httpclient import HttpClient, raise_for_status
from marketing_ops.sync.estimate import estimate

PEOPLE = Stream("people", (Column("id", "text", "id"),), cursor="", page_size=100)
FORM = ConnectionForm("marketing_ops_tiny", "Tiny", "tiny.TinyHook")


class Tiny(BaseHTTPRequestHandler):
    """A vendor that answers how many people there are."""

    total = 12_345

    def do_GET(self) -> None:
        """`/people/count` is known, nothing else."""
        body = json.dumps({"total": self.total}).encode()
        self.send_response(200 if self.path == "/people/count" else 403)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: Any) -> None:
        """Say nothing."""


@pytest.fixture
def tiny() -> Iterator[HttpClient]:
    """A client of the vendor, over real HTTP."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), Tiny)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield HttpClient(
        "tiny",
        f"http://127.0.0.1:{server.server_port}",
        headers={},
        errors=lambda answer: raise_for_status("tiny", answer, {403: "grant it the scope"}),
    )
    server.shutdown()
    server.server_close()


def _count(client: HttpClient, stream: Stream, _part: Mapping[str, Any] | None) -> int:
    answer = client.call("GET", f"/{stream.name}/count", is_read=True)
    return int(json.loads(answer.body)["total"])


def _source(quota: Quota) -> Source:
    return Source("tiny", FORM, streams=(PEOPLE,), count=_count, quota=lambda *_: quota)


def test_records_calls_quota_and_minutes(tiny: HttpClient) -> None:
    """The vendor's own count, pages rounded up, our share of its pace, its daily quota."""
    found = estimate(tiny, _source(Quota(0.5, 1_000, 900)), PEOPLE, 0.5)
    assert (found.records, found.calls, found.calls_per_second) == (12_345, 124, 0.25)
    assert found.line() == (
        "people: 12,345 records, 124 calls, 12 % of the daily quota,"
        " at least 8 min at 0.25 calls a second"
    )


def test_more_than_is_left_today_is_said(tiny: HttpClient) -> None:
    """Nobody should learn in the night that the quota does not do."""
    line = estimate(tiny, _source(Quota(10, 1_000, 100)), PEOPLE, 1).line()
    assert "more than the 100 left today: it will be postponed" in line
    assert "less than a minute at 10 calls a second" in line


def test_what_is_unknown_is_said_to_be_unknown(tiny: HttpClient) -> None:
    """A vendor that says nothing is not guessed."""
    found = estimate(tiny, Source("tiny", FORM, streams=(PEOPLE,)), PEOPLE, 0.5)
    assert found.line() == "people: records unknown, calls unknown, minutes unknown"


def test_a_file_takes_no_call_a_page(tiny: HttpClient) -> None:
    """Where the vendor prepares one file, pages would be a wrong promise."""
    stream = Stream("people", (Column("id", "text", "id"),), has_bulk=True)
    line = estimate(tiny, _source(Quota(10)), stream, 0.5).line()
    assert line == "people: 12,345 records, read as one file"


def test_a_refused_question_is_the_vendors_answer(tiny: HttpClient) -> None:
    """A missing scope is found before the read begins, with what to do."""
    unknown = Stream("secrets", (Column("id", "text", "id"),))
    with pytest.raises(FatalError, match="grant it the scope"):
        estimate(tiny, _source(Quota(10)), unknown, 0.5)
