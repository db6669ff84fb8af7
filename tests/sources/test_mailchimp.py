"""The Mailchimp client, lists and writers over real HTTP on loopback."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest

from marketing_ops.connections import Connection
from marketing_ops.errors import FatalError, RetryableError, TokenRefusedError
from marketing_ops.sources.answer import Answer, ThrottledError
from marketing_ops.sources.base import ReadRequest
from marketing_ops.sources.mailchimp import answers, compare, pages, writers
from marketing_ops.sources.mailchimp.client import MailchimpClient
from marketing_ops.sources.mailchimp.source import MAILCHIMP
from tests.sources.loopback import Asked, Loopback, Reply, loopback

START = datetime(2026, 3, 2, 12, tzinfo=UTC)
UNTIL = START + timedelta(days=1)
PROBLEM = {"Content-Type": "application/problem+json", "X-Request-Id": "r-1"}
PAGE = {"Content-Type": "text/html"}


@pytest.fixture
def server() -> Iterator[Loopback]:
    """A server that a test tells what to answer."""
    with loopback() as found:
        yield found


@pytest.fixture
def waits() -> list[float]:
    """The seconds the client waited."""
    return []


@pytest.fixture
def client(server: Loopback, waits: list[float]) -> MailchimpClient:
    """A client of that server."""
    connection = Connection("mailchimp_test", host=server.url, password="key-us7")
    return MailchimpClient(connection, sleep=waits.append)


class Audience:
    """An audience whose members are listed as Mailchimp does: by position in the order of change.

    Attributes:
        changes: called before each page with its number: what happens meanwhile.
        longest: no answer shows more rows.
    """

    def __init__(self, server: Loopback, count: int, *, a_second: int = 10) -> None:
        self.at = {
            str(number): START + timedelta(seconds=number // a_second) for number in range(count)
        }
        self.changes: Callable[[int], None] = lambda _page: None
        self.calls: list[dict[str, str]] = []
        self.longest = 1000
        server.answer = self._answer

    def _answer(self, asked: Asked) -> Reply:
        parts = urlsplit(asked.path)
        query = {name: values[0] for name, values in parse_qs(parts.query).items()}
        if parts.path == "/3.0/lists":
            return Reply(body={"lists": [{"id": "l1"}], "total_items": 1})
        if query.get("fields") != "total_items":
            self.changes(len(self.calls))
            self.calls.append(query)
        rows = sorted((at, key) for key, at in self.at.items() if self._is_asked(at, query))
        start = int(query["offset"]) if "offset" in query else 0
        size = min(int(query["count"]), self.longest)
        shown = [self._member(key, at) for at, key in rows[start : start + size]]
        return Reply(body={"members": shown, "total_items": len(rows)})

    @staticmethod
    def _is_asked(at: datetime, query: dict[str, str]) -> bool:
        since, before = query.get("since_last_changed"), query.get("before_last_changed")
        return not (since and at <= datetime.fromisoformat(since)) and not (
            before and at >= datetime.fromisoformat(before)
        )

    @staticmethod
    def _member(key: str, at: datetime) -> dict[str, Any]:
        return {
            "id": f"hash{key}",
            "contact_id": key,
            "timestamp_signup": "",
            "last_changed": at.isoformat(),
        }


def members(client: MailchimpClient, **options: Any) -> Iterator[Any]:
    stream = MAILCHIMP.stream("members")
    assert stream is not None
    request = ReadRequest(options.pop("since", None), UNTIL, **options)
    return pages.read(client, stream, request)


def keys_in(found: Any) -> set[str]:
    return {record["contact_id"] for page in found for record in page.records}


@pytest.mark.parametrize(
    ("status", "headers", "body", "kind"),
    [
        (401, PROBLEM, b'{"title": "API Key Invalid"}', TokenRefusedError),
        (403, PROBLEM, b'{"title": "Forbidden"}', FatalError),
        (403, PAGE, b"<html>Access Denied</html>", ThrottledError),
        (429, PAGE, b"<html>429</html>", ThrottledError),
        (429, PROBLEM, b'{"title": "Too Many Requests"}', ThrottledError),
        (404, PROBLEM, b'{"title": "Resource Not Found"}', answers.GoneError),
        (400, PROBLEM, b'{"title": "Member In Compliance State"}', answers.RecipientRefusedError),
        (400, PROBLEM, b'{"title": "Forgotten Email"}', answers.RecipientRefusedError),
        (400, PROBLEM, b'{"title": "Bad Request"}', FatalError),
        (
            400,
            PROBLEM,
            b'{"title": "Invalid Resource", "detail": "ann@example.com has signed up to a lot of'
            b' lists very recently; we are not allowing more signups for now"}',
            answers.RecipientBusyError,
        ),
        (405, PROBLEM, b"{}", FatalError),
        (500, PROBLEM, b"{}", RetryableError),
        (502, PAGE, b"", RetryableError),
        (503, PAGE, b"", RetryableError),
        (504, PAGE, b"", RetryableError),
    ],
)
def test_answers_mean_one_error_each(
    status: int, headers: dict[str, str], body: bytes, kind: type[Exception]
) -> None:
    """What Mailchimp answers is one of our errors; its message shows no address and no body."""
    from urllib3 import HTTPHeaderDict

    with pytest.raises(kind) as caught:
        answers.check("mailchimp_test", Answer(status, body, HTTPHeaderDict(headers)))
    assert type(caught.value) is kind
    assert "@" not in str(caught.value)
    assert ("request r-1" in str(caught.value)) == ("X-Request-Id" in headers)


def test_host_comes_from_the_key() -> None:
    """The key's suffix names the data center, unless the connection names a host."""
    assert MailchimpClient(Connection("c", password="abc-us12")).host == "us12.api.mailchimp.com"
    own = Connection("c", host="eu1.api.mailchimp.com", password="abc-us12")
    assert MailchimpClient(own).host == "eu1.api.mailchimp.com"
    with pytest.raises(FatalError, match="data center"):
        MailchimpClient(Connection("c", password="a-token"))
    with pytest.raises(FatalError, match="no password"):
        MailchimpClient(Connection("c"))


def test_key_goes_as_basic_and_token_as_bearer(server: Loopback) -> None:
    """An API key is a password; an access token has no data center in it."""
    for secret, scheme in (("key-us7", "Basic"), ("token", "Bearer")):
        MailchimpClient(Connection("c", host=server.url, password=secret)).get("/ping")
        assert server.asked[-1].headers["Authorization"].startswith(scheme)
        assert server.asked[-1].path == "/3.0/ping"


def test_edge_and_connections_are_waited_for(
    server: Loopback, client: MailchimpClient, waits: list[float]
) -> None:
    """A web page at the edge and an eleventh connection are short waits, not refusals."""
    server.replies = [Reply(403, b"<html>", PAGE), Reply(429, b"{}", PROBLEM), Reply(body={})]
    assert client.get("/ping") == {}
    assert len(waits) == 2


@pytest.mark.parametrize("status", [401, 403])
def test_refusal_is_one_call(server: Loopback, client: MailchimpClient, status: int) -> None:
    """A key ends by no renewal, and a role is not given by asking again."""
    server.answer = lambda _asked: Reply(status, b"{}", PROBLEM)
    with pytest.raises(FatalError):
        client.get("/lists")
    assert len(server.asked) == 1


@pytest.mark.parametrize("is_idempotent", [True, False])
def test_write_is_repeated_only_where_that_is_harmless(
    server: Loopback, client: MailchimpClient, is_idempotent: bool
) -> None:
    """After a 502 nobody knows what was done; a web page of the edge did nothing."""
    server.replies = [Reply(502, b"", PAGE)]
    if is_idempotent:
        assert client.send("PUT", "/x", {}, is_idempotent=True) == {}
        assert len(server.asked) == 2
    else:
        with pytest.raises(RetryableError):
            client.send("POST", "/x", {}, is_idempotent=False)
        assert len(server.asked) == 1
    server.asked.clear()
    server.replies = [Reply(403, b"<html>", PAGE)]
    client.send("POST", "/x", {}, is_idempotent=False)
    assert len(server.asked) == 2


def test_rows_that_shift_are_all_read(server: Loopback, client: MailchimpClient) -> None:
    """Members that change between two pages leave the window; none behind them is skipped."""
    audience = Audience(server, 3500)

    def change(page: int) -> None:
        for number in range(page * 300, page * 300 + 300) if page else ():
            audience.at[str(number)] = UNTIL + timedelta(minutes=page)

    audience.changes = change
    found = keys_in(members(client, since=START))
    left = {key for key, at in audience.at.items() if at >= UNTIL}
    assert found >= set(audience.at) - left
    assert len(left) > 600


def test_full_read_sees_what_changes_meanwhile(server: Loopback, client: MailchimpClient) -> None:
    """A whole list has no end: who changes moves there and is read, with the new version."""
    audience = Audience(server, 2500)

    def change(page: int) -> None:
        if page == 1:
            audience.at["2400"] = audience.at["3"] = UNTIL

    audience.changes = change
    read = list(members(client, is_full=True))
    assert keys_in(read) == set(audience.at)
    assert read[-1].expected == 2500
    newest = [r for page in read for r in page.records if r["contact_id"] == "3"][-1]
    assert newest["last_changed"] == UNTIL.isoformat()


def test_long_lists_start_again_by_time(server: Loopback, client: MailchimpClient) -> None:
    """No position lies far down: after ten pages a sequence starts at the last time seen."""
    audience = Audience(server, 25_000)
    assert keys_in(members(client, is_full=True)) == set(audience.at)
    assert max(int(call["offset"]) for call in audience.calls) <= 11_000
    assert len(audience.calls) < 30


def test_one_second_may_hold_more_than_a_sequence(
    server: Loopback, client: MailchimpClient
) -> None:
    """A bulk import changes thousands in one second: they are read by position."""
    audience = Audience(server, 14_000, a_second=12_500)
    assert keys_in(members(client, is_full=True)) == set(audience.at)


def test_resumes_where_it_was(server: Loopback, client: MailchimpClient) -> None:
    """What is read after the state of any page, with what was read before it, is everything."""
    audience = Audience(server, 3500)
    whole = list(members(client, is_full=True))
    for place in range(len(whole) - 1):
        state = whole[place].state
        audience.at["0"] = UNTIL  # rows shift while nobody reads
        rest = list(members(client, is_full=True, resume=state))
        assert keys_in(whole[: place + 1]) | keys_in(rest) == set(audience.at)
        assert len(rest) == len(whole) - place - 1


def test_repeated_page_is_noticed(server: Loopback, client: MailchimpClient) -> None:
    """The same rows for another position would lose rows: the read fails instead."""
    rows = [Audience._member(str(number), START) for number in range(1000)]
    server.replies = [Reply(body={"lists": [{"id": "l1"}], "total_items": 1})]
    server.answer = lambda _asked: Reply(body={"members": rows, "total_items": 1500})
    with pytest.raises(FatalError, match="repeats a page"):
        list(members(client, is_full=True))


def test_page_without_rows_is_no_end(server: Loopback, client: MailchimpClient) -> None:
    """A page that counts rows behind its place and shows none would pass for the end, and a full
    read would mark whoever stands behind it as deleted.
    """
    audience = Audience(server, 2500)

    def change(page: int) -> None:
        audience.longest = 0 if page == 1 else 1000

    audience.changes = change
    with pytest.raises(RetryableError, match=r"counts 2500 members .* shows none"):
        list(members(client, is_full=True))


def test_window_holds_its_edges(server: Loopback, client: MailchimpClient) -> None:
    """From inclusive, to exclusive, whatever Mailchimp means by since and before."""
    audience = Audience(server, 100, a_second=1)
    since = START + timedelta(seconds=10)
    stream = MAILCHIMP.stream("members")
    assert stream is not None
    request = ReadRequest(since, START + timedelta(seconds=20))
    found = keys_in(pages.read(client, stream, request))
    assert found == {str(number) for number in range(10, 20)}
    assert audience.calls[0]["since_last_changed"] == "2026-03-02T12:00:09+00:00"


def test_slices_are_the_whole(server: Loopback, client: MailchimpClient) -> None:
    """The parts of an audience together are every member, none much larger than the others."""
    audience = Audience(server, 16_000)
    stream = MAILCHIMP.stream("members")
    assert stream is not None
    parts = compare.slices(client, stream, 4)
    assert 2 <= len(parts) <= 4
    found = [keys_in(members(client, is_full=True, part=part)) for part in parts]
    assert set.union(*found) == set(audience.at)
    assert max(map(len, found)) < 2 * 16_000 / len(parts)
    listed = [key for part in parts for page in compare.keys(client, stream, part) for key in page]
    assert {key for key, _ in listed} == {f"l1:{key}" for key in audience.at}
    assert compare.count(client, stream, None) == 16_000


def test_few_members_are_one_part(server: Loopback, client: MailchimpClient) -> None:
    """A small audience is not worth cutting."""
    Audience(server, 100)
    stream = MAILCHIMP.stream("members")
    assert stream is not None
    assert compare.slices(client, stream, 8) == [{"spans": [["l1", None, None]]}]


def test_two_opens_in_one_second_are_two_events(server: Loopback, client: MailchimpClient) -> None:
    """Mailchimp gives events no id: equal ones are told apart by their number, in every read."""
    opened = {"action": "open", "timestamp": START.isoformat(), "ip": "198.51.100.7"}
    row = {"email_id": "h", "email_address": "a@example.com", "activity": [opened, opened]}

    def answer(asked: Asked) -> Reply:
        if "/campaigns" in asked.path:
            sent = {"id": "c1", "send_time": START.isoformat()}
            return Reply(body={"campaigns": [sent], "total_items": 1})
        return Reply(body={"emails": [row], "total_items": 1})

    server.answer = answer
    stream = MAILCHIMP.stream("email_activity")
    assert stream is not None
    reads = [
        [r["id"] for page in pages.read(client, stream, request) for r in page.records]
        for request in (ReadRequest(None, UNTIL, is_full=True), ReadRequest(START, UNTIL))
    ]
    assert reads[0] == reads[1]
    assert len(set(reads[0])) == 2
    first = next(pages.read(client, stream, ReadRequest(START, UNTIL))).records[0]
    assert "ip" not in first


def test_deleted_campaign_has_no_report(server: Loopback, client: MailchimpClient) -> None:
    """A campaign deleted while reports are read ends no run."""

    def answer(asked: Asked) -> Reply:
        if "/campaigns" in asked.path:
            sent = [{"id": key, "send_time": START.isoformat()} for key in ("c1", "c2")]
            return Reply(body={"campaigns": sent, "total_items": 2})
        if "/reports/c1/" in asked.path:
            return Reply(404, b"{}", PROBLEM)
        recipient = {"email_id": "h", "email_address": "a@example.com", "status": "sent"}
        return Reply(body={"sent_to": [recipient], "total_items": 1})

    server.answer = answer
    stream = MAILCHIMP.stream("sent")
    assert stream is not None
    read = list(pages.read(client, stream, ReadRequest(None, UNTIL, is_full=True)))
    assert [r["id"] for page in read for r in page.records] == ["c2:h"]
    assert read[-1].expected == 1


def test_members_are_written_without_their_status(
    server: Loopback, client: MailchimpClient
) -> None:
    """`status` would subscribe again whoever left: only `status_if_new` is ever sent."""
    server.replies = [
        Reply(body={"id": "h", "contact_id": "k1"}),
        Reply(400, b'{"title": "Member In Compliance State"}', PROBLEM),
        Reply(
            400, b'{"title": "x", "detail": "signed up to a lot of lists very recently"}', PROBLEM
        ),
    ]
    rows = [{"email_address": f"{n}@example.com", "status": "subscribed"} for n in "abc"]
    found = writers.write_members(client, "l1", rows)
    assert [(one.status, one.reason, one.external_id) for one in found] == [
        ("done", "", "l1:k1"),
        ("rejected", "compliance_state", ""),
        ("unknown", "try_again_later", ""),
    ]
    for asked in server.asked:
        assert b'"status":' not in asked.body
        assert b'"status_if_new":"pending"' in asked.body


def test_tags_are_written_by_address_or_key(server: Loopback, client: MailchimpClient) -> None:
    """204 is done; whoever is not there is missing."""
    server.replies = [Reply(204, b""), Reply(404, b"{}", PROBLEM)]
    found = writers.write_tags(
        client, "l1", ["Ann@Example.com", "l1:k2"], add=["vip"], remove=["new"]
    )
    assert [one.status for one in found] == ["done", "missing"]
    assert server.asked[0].path.endswith(f"/members/{writers.email_hash('ann@example.com')}/tags")
    assert server.asked[1].path.endswith("/members/k2/tags")


def test_segment_errors_are_outcomes(server: Loopback, client: MailchimpClient) -> None:
    """200 is not success: each address has its own outcome, 500 of them a call."""
    error = {"email_addresses": ["x@example.com"], "error": "Email address is not a member of this"}
    absent = {
        "email_addresses": ["y@example.com"],
        "error": "Email address is not in this segment",
    }
    server.replies = [
        Reply(body={"errors": [error]}),
        Reply(body={}),
        Reply(body={"errors": [absent]}),
    ]
    added = ["x@example.com", *(f"{number}@example.com" for number in range(600))]
    found = writers.write_segment_members(client, "l1:7", add=added, remove=["y@example.com"])
    assert [one.status for one in found[:2]] == ["missing", "done"]
    assert (found[-1].status, len(found), len(server.asked)) == ("unchanged", 602, 3)
    assert {asked.path for asked in server.asked} == {"/3.0/lists/l1/segments/7"}
