"""The HTTP layer against a server that misbehaves: what is repeated, refused and bounded."""

from __future__ import annotations

import gzip
import logging
import traceback
import tracemalloc
import zlib
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any

import pytest

from marketing_ops.errors import (
    FatalError,
    QuotaExhaustedError,
    RetryableError,
    TokenRefusedError,
)
from marketing_ops.sources.httpclient import (
    Answer,
    Auth,
    DownloadGoneError,
    HttpClient,
    ThrottledError,
    json_of,
    pacing,
    patiently,
    raise_for_status,
)
from marketing_ops.sources.shared import InProcess
from tests.conftest import FrozenClock
from tests.sources.loopback import Asked, Loopback, Reply, loopback

NOON = "Mon, 02 Mar 2026 12:00:00 GMT"
LATER = "Mon, 02 Mar 2026 12:00:20 GMT"
MEANINGS = {401: "the token is refused", 403: "a scope is missing"}
Make = Callable[..., HttpClient]


@pytest.fixture
def server() -> Iterator[Loopback]:
    with loopback() as found:
        yield found


@pytest.fixture
def waits() -> list[float]:
    """What was waited for, without waiting."""
    return []


@pytest.fixture
def make(server: Loopback, waits: list[float]) -> Make:
    """Builds clients of the server."""

    def build(path: str = "", **given: Any) -> HttpClient:
        given.setdefault("errors", partial(raise_for_status, "hub", meanings=MEANINGS))
        return HttpClient("hub", server.url + path, **{"sleep": waits.append, **given})

    return build


# ------------------------------------------------------------------ what is repeated


def test_reads_are_tried_three_times(make: Make, server: Loopback, waits: list[float]) -> None:
    """A vendor that fails on its side is asked three times, after growing waits."""
    server.replies = [Reply(503), Reply(502), Reply(body={"a": 1})]
    assert make().get_json("/x") == {"a": 1}
    assert 0.375 <= waits[0] <= 0.625 < 0.75 <= waits[1] <= 1.25
    server.replies = [Reply(503)] * 4
    with pytest.raises(RetryableError, match="fails on its side"):
        make().get_json("/x")
    assert len(server.replies) == 1


def test_waits_of_those_turned_away_together_are_spread(
    make: Make, server: Loopback, waits: list[float]
) -> None:
    """Different pages wait differently, the same page always alike."""
    for page in "abcd":
        server.replies = [Reply(429)]
        make().get_json(f"/{page}")
    assert len(set(waits)) == 4
    server.replies = [Reply(429)]
    make().get_json("/a")
    assert waits[-1] == waits[0]


def test_a_write_is_sent_once(make: Make, server: Loopback, waits: list[float]) -> None:
    """What may have had an effect is not repeated by itself."""
    server.answer = lambda _: Reply(503)
    with pytest.raises(RetryableError):
        make().send_json("POST", "/x", {})
    server.answer = lambda _: Reply(cut=1)
    with pytest.raises(RetryableError, match="broke off"):
        make().send_json("POST", "/x", {})
    assert (len(server.asked), waits) == (2, [])


def test_a_throttled_write_is_repeated(make: Make, server: Loopback, waits: list[float]) -> None:
    """A call that was throttled had no effect."""
    server.replies = [Reply(429, headers={"Retry-After": "2"}), Reply(201, {"id": "7"})]
    assert make().send_json("POST", "/x", {"name": "é"}) == {"id": "7"}
    assert waits == [2.0]
    assert [asked.body for asked in server.asked] == ['{"name":"é"}'.encode()] * 2
    assert server.asked[0].headers["Content-Type"] == "application/json"


def test_long_throttles_are_left_to_the_task(
    make: Make, server: Loopback, waits: list[float]
) -> None:
    """A wait above `short_wait` is raised with its length; up to it, it is waited for."""
    server.answer = lambda _: Reply(429, headers={"Retry-After": "11"})
    with pytest.raises(ThrottledError) as caught:
        make(short_wait=10).get_json("/x")
    assert (caught.value.retry_after, waits, len(server.asked)) == (11.0, [], 1)
    with pytest.raises(ThrottledError):
        make(short_wait=11).get_json("/x")
    assert waits == [11.0, 11.0]


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({"Retry-After": "3"}, 3.0),
        ({"Retry-After": "0.5"}, 0.5),
        ({"Retry-After": LATER}, 20.0),
        ({"Retry-After": LATER, "date": "Mon, 02 Mar 2026 12:00:15 GMT"}, 5.0),
        ({"Retry-After": NOON, "date": LATER}, 0.0),
        *(({"Retry-After": text}, None) for text in ("", "soon", "-1", "nan", "inf", "²")),
        ({}, None),
    ],
)
def test_retry_after(
    headers: dict[str, str], seconds: float | None, frozen_clock: FrozenClock
) -> None:
    """Seconds or a date, told by the server's own clock where it shows it; nonsense is ignored."""
    from urllib3 import HTTPHeaderDict

    assert Answer(429, b"", HTTPHeaderDict(headers)).retry_after() == seconds


def test_a_vendor_says_what_a_quota_means(make: Make, server: Loopback, waits: list[float]) -> None:
    """An error of the vendor's map that is not retryable passes at once."""

    def errors(answer: Answer) -> None:
        raise QuotaExhaustedError("used up", reset_seconds=60)

    with pytest.raises(QuotaExhaustedError):
        make(errors=errors).get_json("/x")
    assert (len(server.asked), waits) == (1, [])


def test_a_gone_file_is_not_waited_for() -> None:
    """A file that is gone needs a new one, not another try."""
    tries: list[int] = []

    def attempt() -> None:
        tries.append(1)
        raise DownloadGoneError("gone")

    with pytest.raises(DownloadGoneError):
        patiently(attempt, lambda _: None)
    assert len(tries) == 1


# ------------------------------------------------------------------ who calls


class Renewing(Auth):
    """Shows `t0`, then `t1` ... as often as it may renew."""

    def __init__(self, renewals: int) -> None:
        self.left, self.number = renewals, 0

    def headers(self, method: str, url: str, body: bytes | None) -> dict[str, str]:
        return {"Authorization": f"t{self.number}"}

    def renew(self) -> bool:
        self.left -= 1
        self.number += 1
        return self.left >= 0


def only(token: str) -> Callable[[Asked], Reply]:
    return lambda asked: Reply(200 if asked.headers.get("Authorization") == token else 401)


@pytest.mark.parametrize("is_read", [True, False])
def test_a_refused_token_is_renewed_once_and_the_call_repeated(
    make: Make, server: Loopback, is_read: bool
) -> None:
    """A write too: a refused call had no effect. A second refusal is final."""
    server.answer = only("t1")
    assert make(auth=Renewing(9)).send_json("POST", "/x", {}, is_read=is_read) == {}
    assert [asked.headers["Authorization"] for asked in server.asked] == ["t0", "t1"]
    server.answer = only("t2")
    with pytest.raises(TokenRefusedError, match=r"`hub` answers 401: the token is refused"):
        make(auth=Renewing(9)).send_json("POST", "/x", {}, is_read=is_read)
    assert len(server.asked) == 4


def test_what_cannot_be_renewed_is_fatal_at_once(make: Make, server: Loopback) -> None:
    """No other token, or no auth at all: one call, one sentence."""
    server.answer = only("never")
    for auth in (Renewing(0), None):
        with pytest.raises(FatalError, match="token is refused"):
            make(auth=auth).get_json("/x")
    assert len(server.asked) == 2


def test_paces_are_kept_before_each_attempt(make: Make, server: Loopback) -> None:
    """Each attempt is booked in its bucket, repeated ones too."""
    paced: list[str] = []
    server.replies = [Reply(503), Reply(401), Reply()]
    make(pace=paced.append, auth=Renewing(1)).get_json("/x", bucket="search")
    assert paced == ["search"] * 3


def test_pacing_books_at_what_all_share(waits: list[float]) -> None:
    """Two clients of one account together stay within burst and rate, each bucket by itself."""
    shared = InProcess(clock=lambda: 100.0)
    paces = [pacing(shared, waits.append, {"": 10.0, "search": 4.0}, burst=2) for _ in range(2)]
    for pace in paces * 2:
        pace("")
    assert waits == pytest.approx([0.1, 0.2])
    paces[0]("search")
    assert len(waits) == 2


# ------------------------------------------------------------------ where calls go


def test_params_and_whole_urls(make: Make, server: Loopback) -> None:
    """Lists are repeated, spaces encoded; a whole URL on the same host is called as it is."""
    client = make("/v3/")
    client.get_json("/a", {"q": "a b&c", "id": [1, 2]})
    client.get_json("/a?x=1", {"y": 2})
    client.get_json(f"{server.url}/v3/b?after=1")
    assert [asked.path for asked in server.asked] == [
        "/v3/a?q=a+b%26c&id=1&id=2",
        "/v3/a?x=1&y=2",
        "/v3/b?after=1",
    ]


@pytest.mark.parametrize(
    "target",
    ["http://localhost:{port}/x", "http://127.0.0.1:9/x", "//evil.test/x", "https://127.0.0.1/x"],
)
def test_other_hosts_are_refused(make: Make, server: Loopback, target: str) -> None:
    """Neither a redirect nor a link leads our headers to another host."""
    target = target.format(port=server.url.rpartition(":")[2])
    server.answer = lambda _: Reply(302, headers={"Location": target})
    client = make(headers={"Authorization": "secret"})
    with pytest.raises(FatalError, match="redirects to another place"):
        client.get_json("/x")
    if not target.startswith("//"):
        with pytest.raises(FatalError, match="redirects to another place"):
            client.get_json(target)
    assert len(server.asked) == 1


def test_redirects_on_the_same_host(make: Make, server: Loopback) -> None:
    """A read follows, within reason, on a clean connection; a write never does."""
    server.replies = [Reply(301, b"moved " * 999, {"Location": "/y"}), Reply(body=[1])]
    assert make().get_json("/x") == [1]
    server.answer = lambda _: Reply(302, headers={"Location": "/x"})
    with pytest.raises(FatalError, match="redirects in circles"):
        make().get_json("/x")
    with pytest.raises(FatalError, match="redirects to another place"):
        make().send_json("POST", "/x", {})


@pytest.mark.parametrize("host", ["", "ftp://h", "https://", "http://[::1", "no-scheme"])
def test_a_host_that_is_none(host: str) -> None:
    """The connection, not the code, is named as what is wrong."""
    with pytest.raises(FatalError, match="connection `hub` has no usable host"):
        HttpClient("hub", host, errors=lambda _: None)


def test_credentials_in_a_host_are_not_kept() -> None:
    """What stands before the @ of a host is neither sent nor shown."""
    client = HttpClient("hub", "https://user:pass@api.example.com/v3/", errors=lambda _: None)
    assert client.base_url == "https://api.example.com/v3"


def test_sixteen_threads_share_a_client(make: Make, server: Loopback) -> None:
    """Parallel calls get their own answers over no more connections than threads."""
    server.answer = lambda asked: Reply(body={"path": asked.path})
    client = make()
    with ThreadPoolExecutor(16) as pool:
        found = list(pool.map(client.get_json, [f"/{number}" for number in range(400)]))
    assert found == [{"path": f"/{number}"} for number in range(400)]
    assert server.connections <= 16


# ------------------------------------------------------------------ what comes back


def test_damaged_records_stand_alone(make: Make, server: Loopback) -> None:
    """NaN and bytes that are no UTF-8 spoil the strings they stand in, nothing else."""
    server.replies = [Reply(body=b'{"r":[{"a":1},{"a":NaN},{"a":"\xff"},{"a":"\\ud800"}]}')]
    good, *bad = make().get_json("/x")["r"]
    assert good == {"a": 1}
    for record in bad:
        with pytest.raises(UnicodeEncodeError):
            record["a"].encode()


def test_answers_that_are_no_json(make: Make, server: Loopback, waits: list[float]) -> None:
    """A web page is fatal, cut JSON may come whole the next time, no body can be intended."""
    server.replies = [Reply(body=b"<html>", headers={"Content-Type": "text/html"})]
    with pytest.raises(FatalError, match="answers no JSON"):
        make().get_json("/x")
    with pytest.raises(RetryableError, match="cut or damaged"):
        json_of("hub", Answer(200, b'{"a":', {"Content-Type": "application/json"}))
    with pytest.raises(FatalError, match="answers no JSON"):
        json_of("hub", Answer(200, b"", {}))
    assert json_of("hub", Answer(204, b"", {})) is None


def test_an_answer_that_breaks_off_is_read_again(make: Make, server: Loopback) -> None:
    """A connection that ends within a body is no answer."""
    server.replies = [Reply(body=b"[1,2,3]", cut=3), Reply(body=b"[1,2,3]")]
    assert make().get_json("/x") == [1, 2, 3]


def test_large_bodies_come_whole(make: Make, server: Loopback) -> None:
    """Several chunks, plain and compressed, are put together as they were."""
    body = b"[" + b"1234567," * 400_000 + b"0]"
    server.replies = [
        Reply(body=body),
        Reply(body=gzip.compress(body, 1), headers={"Content-Encoding": "gzip"}),
        Reply(body=b"x" * (1 << 20)),
    ]
    client = make()
    assert client.call("GET", "/x", is_read=True).body == body
    assert client.call("GET", "/x", is_read=True).body == body
    assert len(client.call("GET", "/x", is_read=True).body) == 1 << 20
    assert server.connections == 1


def gigabyte() -> bytes:
    """A gigabyte of spaces, compressed: a block that leans on nothing before it, 64 times."""
    packer = zlib.compressobj(9, wbits=-15)
    block = packer.compress(b" " * (1 << 24)) + packer.flush(zlib.Z_FULL_FLUSH)
    return b"\x1f\x8b\x08\x00\x00\x00\x00\x00\x02\xff" + block * 64 + packer.flush()


@pytest.mark.parametrize("layers", [1, 2])
def test_a_compressed_bomb_is_refused_within_the_bound(
    make: Make, server: Loopback, layers: int
) -> None:
    """A gigabyte in a megabyte, or in kilobytes: memory stays near the 64 MiB bound."""
    bomb = gigabyte()
    for _ in range(layers - 1):
        bomb = gzip.compress(bomb)
    encoding = ", ".join(["gzip"] * layers)
    server.replies = [Reply(body=bomb, headers={"Content-Encoding": encoding})]
    client = make()
    tracemalloc.start()
    try:
        with pytest.raises(FatalError, match="`hub` answers with more than 64 MiB: refused"):
            client.get_json("/x")
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak >> 20 <= 64 + 12  # the buffer grows by an eighth at a time


def test_downloads_resume_without_the_accounts_headers(make: Make, server: Loopback) -> None:
    """From an offset on, where Range is honoured and where it is not; a gone file is told."""
    client = make(headers={"Authorization": "secret"}, auth=Renewing(0))
    server.replies = [Reply(body=b"0123456789"), Reply(206, b"56789"), Reply(404), Reply(416)]
    assert b"".join(client.download(f"{server.url}/f", offset=4, chunk_bytes=3)) == b"456789"
    assert b"".join(client.download(f"{server.url}/f", offset=5)) == b"56789"
    for _ in range(2):
        with pytest.raises(DownloadGoneError):
            list(client.download(f"{server.url}/f"))
    assert all("Authorization" not in asked.headers for asked in server.asked)
    assert server.asked[1].headers["Range"] == "bytes=5-"


def test_errors_show_no_secret(make: Make, server: Loopback) -> None:
    """Neither a body, a header nor a query stands in an error or a `repr`."""
    server.replies = [Reply(400, b"ana@example.com", {"X-Token": "secret"})]
    client = make(headers={"Authorization": "secret"})
    with pytest.raises(FatalError) as caught:
        client.get_json("/x?key=secret")
    assert str(caught.value) == "`hub` answers 400: the request was refused"
    assert repr(Answer(200, b"secret", {"a": "secret"})) == "Answer(status=200)"


def test_logs_show_no_url(make: Make, caplog: pytest.LogCaptureFixture) -> None:
    """Even where everything is logged, an address in a URL is not."""
    caplog.set_level(logging.DEBUG)
    make().get_json("/statuses/ana@example.com", {"email": "ana@example.com"})
    assert "ana" not in caplog.text


@pytest.mark.parametrize("secret", ["hush\n", "hush\r\nX: 1", "hu\u0161h"])
def test_a_secret_that_no_header_can_carry_is_not_quoted(make: Make, secret: str) -> None:
    """A line break pasted with a token: the sentence says so, the traceback hides the token."""
    with pytest.raises(FatalError, match=r"`hub` cannot be called: .* copy them again") as caught:
        make(headers={"Authorization": secret}).get_json("/x")
    shown = "".join(traceback.format_exception(caught.value))
    assert "hush" not in shown
