"""HubSpot's answers, limits and writes: what each means, and what becomes of each recipient."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import pytest

from marketing_ops.connections import Connection
from marketing_ops.errors import (
    FatalError,
    MarketingOpsError,
    QuotaExhaustedError,
    RetryableError,
    TokenRefusedError,
)
from marketing_ops.sources.answer import Answer, ThrottledError
from marketing_ops.sources.base import Outcome, ReadRequest
from marketing_ops.sources.hubspot import answers, client, records, search, write
from marketing_ops.sources.hubspot.check import check
from marketing_ops.sources.hubspot.source import HUBSPOT
from tests.conftest import FrozenClock
from tests.sources.loopback import Asked, Loopback, Reply

CORRELATION = "1f2e3d4c-0000-4000-8000-123456789abc"
SECRET = "ann@example.com"


def answer(status: int, headers: dict[str, str] | None = None, **body: Any) -> Answer:
    """A refusal as HubSpot words it."""
    known = {"status": "error", "message": f"about {SECRET}", "correlationId": CORRELATION, **body}
    return Answer(status, json.dumps(known, separators=(",", ":")).encode(), headers or {})


SCOPE = {"message": SECRET, "context": {"requiredGranularScopes": ["crm.objects.deals.read"]}}
WRONG = {"message": SECRET, "code": "INVALID_EMAIL", "context": {"propertyName": ["email"]}}


@pytest.mark.parametrize(
    ("given", "kind", "says", "wait"),
    [
        (answer(401, category="EXPIRED_AUTHENTICATION"), TokenRefusedError, "create a new", None),
        (
            answer(403, category="MISSING_SCOPES", errors=[SCOPE]),
            FatalError,
            "grant it crm.objects.deals.read",
            None,
        ),
        (Answer(403, b"<html>", {}), RetryableError, "turned away", None),
        (answer(404, category="OBJECT_NOT_FOUND"), answers.MissingError, "no such", None),
        (answer(423), ThrottledError, "locked", 2.0),
        (answer(429, policyName="TEN_SECONDLY_ROLLING"), ThrottledError, "TEN_SECONDLY", 10.0),
        (answer(429, policyName="SECONDLY"), ThrottledError, "SECONDLY", 1.0),
        (answer(429), ThrottledError, "no policy", 10.0),
        (answer(429, {"Retry-After": "3"}), ThrottledError, "no policy", 3.0),
        (answer(429, policyName="DAILY"), QuotaExhaustedError, "used up", None),
        (answer(477, {"Retry-After": "7200"}), ThrottledError, "region", 7200.0),
        (answer(502), RetryableError, "its side", None),
        (answer(503, {"Retry-After": "5"}), RetryableError, "its side", 5.0),
        (answer(504), RetryableError, "its side", None),
        (Answer(521, b"<html>", {}), RetryableError, "its side", None),
        (Answer(524, b"<html>", {}), RetryableError, "its side", None),
        (answer(403, category="FORBIDDEN"), FatalError, "may not do this", None),
        (
            answer(400, category="VALIDATION_ERROR", errors=[WRONG]),
            answers.RefusedError,
            "VALIDATION_ERROR, INVALID_EMAIL, email",
            None,
        ),
        (answer(200, category="BAD_REQUEST"), answers.RefusedError, "BAD_REQUEST", None),
    ],
)
def test_every_refusal_has_one_meaning(
    given: Answer, kind: type[MarketingOpsError], says: str, wait: float | None
) -> None:
    """The row of the error table: its class, the next thing to do, the wait, the correlation id;
    HubSpot's own sentences, which may quote somebody's data, are not shown.
    """
    with pytest.raises(kind, match=says) as caught:
        answers.check("crm", given, 60.0)
    assert getattr(caught.value, "retry_after", None) == wait
    assert SECRET not in str(caught.value)
    if given.body.startswith(b"{"):
        assert CORRELATION in str(caught.value)


def test_success_in_parts_is_left_to_whoever_wrote_it() -> None:
    """A 207 is no error of the call."""
    answers.check("crm", Answer(207, b'{"status":"COMPLETE","numErrors":1}', {}), 60.0)


@pytest.fixture
def server() -> Iterator[Loopback]:
    """A server that answers what a test tells it to."""
    loopback = Loopback()
    yield loopback
    loopback.close()


def connected(server: Loopback, share: float, waits: list[float]) -> client.HubSpotClient:
    connection = Connection("crm", host=server.url, password="pat")
    return client.HubSpotClient(connection, share, sleep=waits.append)


def json_reply(body: Any, **headers: str) -> Reply:
    limits = {f"X-HubSpot-RateLimit-{k.replace('_', '-')}": v for k, v in headers.items()}
    return Reply(200, json.dumps(body).encode(), {"Content-Type": "application/json", **limits})


def test_pace_follows_the_accounts_own_limit(server: Loopback) -> None:
    """The first answer says how much the plan allows; our share of it is used from then on."""
    server.replies = [json_reply({}, Max="190", Interval_Milliseconds="10000")]
    hubspot = connected(server, 0.5, [])
    assert hubspot.rates[""] == 5.0
    hubspot.get("/x")
    assert hubspot.rates[""] == 9.5
    assert hubspot.rates["search"] == 2.5
    assert connected(server, 1.0, []).rates["search"] == 4.0


def test_share_of_the_day_ends_at_the_portals_midnight(
    server: Loopback, frozen_clock: FrozenClock
) -> None:
    """With half the quota ours, the call after the 501st of 1,000 is not made; the account's zone
    says when the next day begins (12:00 UTC is 07:00 in New York).
    """
    details = {"portalId": 1, "timeZone": "America/New_York", "companyCurrency": "USD"}
    server.replies = [json_reply({}, Daily="1000", Daily_Remaining="499"), json_reply(details)]
    hubspot = connected(server, 0.5, [])
    hubspot.get("/x")
    with pytest.raises(QuotaExhaustedError, match="499 of 1000") as caught:
        hubspot.get("/x")
    assert caught.value.reset_seconds == 17 * 3600
    assert [asked.path for asked in server.asked] == ["/x", "/account-info/2026-09/details"]


def test_unknown_midnight_is_asked_for_again_within_an_hour(
    server: Loopback, frozen_clock: FrozenClock
) -> None:
    """A day that is used up before HubSpot told its zone: UTC's midnight might come every day
    before the account's.
    """
    body = json.dumps({"status": "error", "policyName": "DAILY"}).encode()
    server.replies = [Reply(429, body, {"Content-Type": "application/json"})] * 2
    with pytest.raises(QuotaExhaustedError) as caught:
        connected(server, 1.0, []).get("/x")
    assert caught.value.reset_seconds == 3600
    frozen_clock.move(datetime(2026, 3, 2, 23, 50, tzinfo=UTC))
    with pytest.raises(QuotaExhaustedError) as caught:
        connected(server, 1.0, []).get("/x")
    assert caught.value.reset_seconds == 600


def test_short_throttle_is_waited_for(server: Loopback) -> None:
    """The ten-second limit is waited for in process, as long as it lasts."""
    body = json.dumps({"status": "error", "policyName": "TEN_SECONDLY_ROLLING"}).encode()
    server.replies = [Reply(429, body, {"Content-Type": "application/json"}), json_reply({"a": 1})]
    waits: list[float] = []
    assert connected(server, 1.0, waits).get("/x") == {"a": 1}
    assert 10.0 in waits


def test_property_as_its_column_reads_it() -> None:
    """Everything comes as text: empty is null, a flag is a flag, a date or ms is an instant; what
    does not fit stays as it came.
    """
    contacts = HUBSPOT.stream("contacts")
    assert contacts is not None
    given = {
        "hs_object_id": "7",
        "email": "",
        "hs_email_optout": "true",
        "createdate": "1772323200000",
        "lastmodifieddate": "2026-03-01",
        "score": "12",
    }
    shown = {"id": "7", "properties": given, "archived": False, "createdAt": "x", "news": 1}
    assert records.flat(contacts, shown) == {
        "id": "7",
        "news": 1,
        "email": None,
        "hs_email_optout": True,
        "createdate": "2026-03-01T00:00:00.000+00:00",
        "lastmodifieddate": "2026-03-01T00:00:00Z",
        "score": "12",
    }
    odd = {"id": "7", "properties": {"hs_email_optout": "perhaps"}}
    assert records.flat(contacts, odd)["hs_email_optout"] == "perhaps"
    assert records.flat(contacts, "no object") == "no object"


def test_count_without_records_is_no_end(server: Loopback) -> None:
    """A search that counts and shows nothing is asked again by a later run."""
    server.replies = [json_reply({"total": 5, "results": []})]
    contacts = HUBSPOT.stream("contacts")
    assert contacts is not None
    with pytest.raises(RetryableError, match="counts 5 contacts and shows none"):
        search.count(connected(server, 1.0, []), contacts, None)


def test_list_that_counts_and_shows_none_is_no_end(server: Loopback) -> None:
    """Lists behind an empty page would be marked deleted, with everybody on them."""
    lists = HUBSPOT.stream("lists")
    assert lists is not None
    assert HUBSPOT.read is not None
    server.replies = [json_reply({"total": 5, "lists": []})]
    request = ReadRequest(None, datetime(2026, 3, 2, tzinfo=UTC))
    with pytest.raises(RetryableError, match="counts 5 lists and shows none"):
        list(HUBSPOT.read(connected(server, 1.0, []), lists, request))


def test_more_events_without_a_place_is_no_end(server: Loopback) -> None:
    """An answer that says there is more and not where would leave the rest of a window unread."""
    events = HUBSPOT.stream("email_events")
    assert events is not None
    assert HUBSPOT.read is not None
    server.replies = [json_reply({"events": [], "hasMore": True})]
    request = ReadRequest(None, datetime(2026, 3, 2, tzinfo=UTC))
    with pytest.raises(RetryableError, match="does not say where"):
        list(HUBSPOT.read(connected(server, 1.0, []), events, request))


def test_event_keeps_no_address_but_its_recipients(server: Loopback) -> None:
    """Who else got it or asked for it, and from where it was opened, is nobody's business here."""
    events = HUBSPOT.stream("email_events")
    assert events is not None
    assert HUBSPOT.read is not None
    given = {
        "id": "e",
        "created": 1772323200000,
        "recipient": SECRET,
        "cc": ["boss@example.com"],
        "bcc": ["file@example.com"],
        "replyTo": ["us@example.com"],
        "from": "Us <us@example.com>",
        "requestedBy": "admin@example.com",
        "ipAddress": "198.51.100.7",
        "location": {"city": "Rome"},
        "subject": "News",
    }
    server.replies = [json_reply({"events": [given], "hasMore": False})]
    request = ReadRequest(None, datetime(2026, 3, 2, tzinfo=UTC))
    (page,) = HUBSPOT.read(connected(server, 1.0, []), events, request)
    assert page.records == [
        {
            "id": "1772323200000:e",
            "created": "2026-03-01T00:00:00.000+00:00",
            "recipient": SECRET,
            "subject": "News",
        }
    ]


class Consents:
    """Contacts and what they said; addresses of `bad` are refused together with all beside them."""

    def __init__(self, server: Loopback, count: int, bad: set[str]) -> None:
        self._emails, self._bad = [f"p{number}@example.com" for number in range(count)], bad
        server.answer = self._answer

    def _answer(self, asked: Asked) -> Reply:
        if asked.method == "GET":
            rows = [
                {"id": str(place), "properties": {"email": email}}
                for place, email in enumerate(self._emails)
            ]
            return json_reply({"results": rows})
        wanted = json.loads(asked.body)["inputs"]
        if self._bad & set(wanted):
            return Reply(400, b'{"status":"error","category":"VALIDATION_ERROR"}')
        status = {"subscriptionId": 1, "status": "SUBSCRIBED"}
        found = [{"subscriberIdString": one, "statuses": [status]} for one in wanted]
        return json_reply({"status": "COMPLETE", "results": found})

    def read(self, server: Loopback) -> list[str]:
        stream = HUBSPOT.stream("consents")
        assert stream is not None
        assert HUBSPOT.read is not None
        request = ReadRequest(None, datetime(2026, 3, 2, tzinfo=UTC))
        pages = list(HUBSPOT.read(connected(server, 1.0, []), stream, request))
        return [record["contact_id"] for page in pages for record in page.records]


def test_address_hubspot_refuses_costs_its_contacts_consent_alone(server: Loopback) -> None:
    """HubSpot keeps contacts with addresses that are none: they say nothing, all others do."""
    consents = Consents(server, 40, {"p7@example.com", "p30@example.com"})
    found = consents.read(server)
    assert found == [str(number) for number in range(40) if number not in (7, 30)]


def test_question_hubspot_refuses_for_everybody_is_an_error(server: Loopback) -> None:
    """When no address at all is taken it is not the addresses: nobody's consent is given up."""
    consents = Consents(server, 8, {f"p{number}@example.com" for number in range(8)})
    with pytest.raises(FatalError, match="consent of no address"):
        consents.read(server)


def test_day_that_begins_meanwhile_is_not_lost(server: Loopback, frozen_clock: FrozenClock) -> None:
    """What was left before midnight says nothing of the new day: it is asked for before anything
    is put off.
    """
    details = {"portalId": 1, "timeZone": "UTC", "companyCurrency": "USD"}
    server.replies = [
        json_reply({}, Daily="1000", Daily_Remaining="499"),
        json_reply(details, Daily="1000", Daily_Remaining="1000"),
        json_reply({"a": 1}),
    ]
    hubspot = connected(server, 0.5, [])
    hubspot.get("/x")
    assert hubspot.get("/x") == {"a": 1}


@pytest.mark.parametrize("status", [423, 477, 502, 503, 504, 521, 524])
def test_what_passes_is_read_again(server: Loopback, status: int) -> None:
    """Locked, moving, failing on its side: the same call, a moment later, in process."""
    server.replies = [Reply(status, b"{}"), json_reply({"a": 1})]
    waits: list[float] = []
    assert connected(server, 1.0, waits).get("/x") == {"a": 1}
    assert len(server.asked) == 2


@pytest.mark.parametrize(
    ("status", "calls"), [(429, 2), (423, 2), (477, 2), (502, 1), (503, 1), (504, 1)]
)
def test_write_is_repeated_only_where_it_had_no_effect(
    server: Loopback, status: int, calls: int
) -> None:
    """A task whose answer was lost may have been made: only a call turned away is made again."""
    server.answer = lambda _asked: json_reply({"id": "1"})
    server.replies = [Reply(status, b"{}")]
    hubspot = connected(server, 1.0, [])
    if calls == 1:
        with pytest.raises(RetryableError):
            hubspot.write("POST", "/x", {})
    else:
        assert hubspot.write("POST", "/x", {}) == {"id": "1"}
    assert len(server.asked) == calls


@pytest.mark.parametrize("body", [b"", b"<html>", b"[]"])
def test_success_that_is_no_object_is_none(server: Loopback, body: bytes) -> None:
    """A 200 with a web page, with nothing, or with another shape is no answer."""
    kind = "text/html" if body.startswith(b"<") else "application/json"
    server.answer = lambda _asked: Reply(200, body, {"Content-Type": kind})
    with pytest.raises((FatalError, RetryableError)):
        connected(server, 1.0, []).get("/x")


def test_refused_token_is_one_call(server: Loopback) -> None:
    """A token nobody can renew is not tried again, for a write neither."""
    server.answer = lambda _asked: Reply(401, b"{}")
    with pytest.raises(TokenRefusedError):
        connected(server, 1.0, []).get("/x")
    assert len(server.asked) == 1


def test_client_id_without_refresh_token_says_so() -> None:
    """Half a login is refused before anything is called."""
    with pytest.raises(FatalError, match="no refresh token"):
        client.HubSpotClient(Connection("crm", login="id", password="secret"))


NOBODY_THERE = {"status": "COMPLETE", "results": []}


def test_task_without_an_id_is_not_done(server: Loopback) -> None:
    """A 201 that names no task may be none: it is looked for, and unknown when it is not found."""
    server.replies = [json_reply(NOBODY_THERE), json_reply({}), json_reply(NOBODY_THERE)]
    task = write.Task("task:1", "Call", datetime(2026, 12, 1, tzinfo=UTC))
    found = write.tasks(connected(server, 1.0, []), [task])
    assert found == [Outcome("task:1", "unknown", "NO_ANSWER")]


def test_task_about_nobody_stops_no_other(server: Loopback) -> None:
    """A 404 concerns the task whose contact is gone; a key given twice has one outcome twice."""
    gone = {"status": "error", "category": "OBJECT_NOT_FOUND"}
    server.replies = [
        json_reply(NOBODY_THERE),
        Reply(404, json.dumps(gone).encode(), {"Content-Type": "application/json"}),
        json_reply({"id": "71"}),
    ]
    due = datetime(2026, 12, 1, tzinfo=UTC)
    wrong = write.Task("task:1", "Call", due, about={"contacts": ["9"]})
    found = write.tasks(connected(server, 1.0, []), [wrong, wrong, write.Task("task:2", "x", due)])
    assert found == [
        Outcome("task:1", "missing", "OBJECT_NOT_FOUND"),
        Outcome("task:1", "missing", "OBJECT_NOT_FOUND"),
        Outcome("task:2", "done", external_id="71"),
    ]


def test_upsert_is_told_apart_by_the_unique_property_too(server: Loopback) -> None:
    """The API of 2026-09 does not promise to give the trace id back."""
    one = {"id": "71", "properties": {"shop_id": "s1"}, "new": True}
    server.replies = [json_reply({"status": "COMPLETE", "results": [one]})]
    wanted = {"s1": {"city": "Rome"}, "s2": {"city": "Bari"}}
    found = write.contacts(connected(server, 1.0, []), wanted, id_property="shop_id")
    assert found == [
        Outcome("s1", "done", external_id="71"),
        Outcome("s2", "unknown", "NOT_NAMED"),
    ]


# -- against the sandbox --------------------------------------------------------------------------


@pytest.fixture
def hubspot(sandbox_at: Any, monkeypatch: pytest.MonkeyPatch) -> Iterator[client.HubSpotClient]:
    """A client of the sandbox's portal, whose limits nobody waits for."""
    sandbox_at.call("DELETE", "/_sandbox/hubspot/settings")
    sandbox_at.call(
        "POST",
        "/_sandbox/hubspot/settings",
        {"burst": 10_000, "search_per_second": 10_000, "is_living": False},
    )
    connection = Connection(
        "crm", host=f"{sandbox_at.base_url}/hubspot", password="pat-na1-sandbox"
    )
    yield client.HubSpotClient(connection, 1.0, sleep=lambda _seconds: None)
    sandbox_at.call("DELETE", "/_sandbox/hubspot/settings")


def ids(hubspot: client.HubSpotClient, count: int) -> list[str]:
    contacts = HUBSPOT.stream("contacts")
    assert contacts is not None
    found = search.search(hubspot, contacts, [], sort="hs_object_id", size=count)
    return [str(one["id"]) for one in found.records]


@pytest.mark.slow
def test_task_is_made_once_however_often_it_is_asked_for(
    hubspot: client.HubSpotClient, sandbox_at: Any
) -> None:
    """HubSpot knows no idempotency key: ours is looked for first, and after a lost answer."""
    (contact,) = ids(hubspot, 1)
    due = datetime(2026, 12, 1, 9, tzinfo=UTC)
    task = write.Task("task:life:1", "Call back", due, about={"contacts": [contact]})
    first = write.tasks(hubspot, [task])
    assert [one.status for one in first] == ["done"]
    assert write.tasks(hubspot, [task]) == [
        Outcome(task.key, "unchanged", external_id=first[0].external_id)
    ]
    sandbox_at.fault(
        "status", system="hubspot", status=502, match="POST /crm/objects/2026-09/tasks?"
    )
    lost = write.Task("task:life:2", "Call again", due)
    assert write.tasks(hubspot, [lost])[0].status == "unknown"
    assert write.tasks(hubspot, [lost])[0].status == "done"
    wrong = write.Task("task:life:3", "Never", due, about={"contacts": ["999"]})
    assert write.tasks(hubspot, [wrong]) == [Outcome(wrong.key, "missing", "OBJECT_NOT_FOUND")]


@pytest.mark.slow
def test_members_have_an_outcome_each(hubspot: client.HubSpotClient) -> None:
    """Added, there already, unknown; then removed, and not there; a dynamic list is refused."""
    here, other = ids(hubspot, 2)
    write.list_members(hubspot, "105", remove=[here, other])
    write.list_members(hubspot, "105", add=[other])
    found = write.list_members(hubspot, "105", add=[here, other, "999"])
    assert found == [
        Outcome(here, "done"),
        Outcome(other, "unchanged"),
        Outcome("999", "missing"),
    ]
    found = write.list_members(hubspot, "105", remove=[here, "999"])
    assert found == [Outcome(here, "done"), Outcome("999", "unchanged")]
    with pytest.raises(answers.RefusedError):
        write.list_members(hubspot, "101", add=[here])


@pytest.mark.slow
def test_contacts_are_told_apart_in_a_batch_of_which_a_part_failed(
    hubspot: client.HubSpotClient,
) -> None:
    """A 207: what went well, what is wrong, who is not there."""
    here, other = ids(hubspot, 2)
    found = write.contacts(
        hubspot,
        {here: {"jobtitle": "Buyer"}, other: {"email": "no address"}, "999": {"city": "Rome"}},
    )
    assert [(one.key, one.status) for one in found] == [
        (here, "done"),
        (other, "rejected"),
        ("999", "missing"),
    ]
    assert found[1].reason == "INVALID_EMAIL"
    with pytest.raises(FatalError, match="no partial update"):
        write.contacts(hubspot, {}, id_property="email")


@pytest.mark.slow
def test_doctor_names_the_scope_that_is_missing(
    hubspot: client.HubSpotClient, sandbox_at: Any
) -> None:
    """Login, version, clock, scopes by what each stream shows, the calls that are left."""
    assert all(finding.is_ok for finding in check(hubspot))
    settings = {"missing_scopes": ["crm.objects.owners.read"], "burst": 10_000}
    sandbox_at.call("POST", "/_sandbox/hubspot/settings", settings)
    bad = [finding for finding in check(hubspot) if not finding.is_ok]
    assert [finding.what for finding in bad] == ["scopes"]
    assert "owners" in bad[0].says
    assert "grant it crm.objects.owners.read" in bad[0].says


@pytest.mark.parametrize("name", [stream.name for stream in HUBSPOT.streams])
def test_every_property_asked_for_is_one_hubspot_defines(name: str) -> None:
    """Names of properties are lower-case words; key and cursor are among the columns."""
    stream = HUBSPOT.stream(name)
    assert stream is not None
    assert stream.columns[0].name == "id"
    if stream.api["read"] in ("objects", "deals"):
        names = records.names_of(stream)
        assert stream.api["modified"] in names
        assert all(one == one.lower() and "." not in one for one in names)
