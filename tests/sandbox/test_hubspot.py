"""The simulated HubSpot over HTTP: pages, search, limits, faults, life by the clock."""

from __future__ import annotations

import gzip
import json
import shutil
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import urllib3

from marketing_ops import clock
from sandbox import store
from sandbox.faults import Faults, Requests
from sandbox.hubspot.crm import Crm
from sandbox.hubspot.endpoint import HubSpot
from sandbox.shopify.world import World
from tests.sandbox_fixtures import CACHE, HUBSPOT_TOKEN, SandboxServer

CONTACTS = "/crm/objects/2026-09/contacts"
SEARCH = f"{CONTACTS}/search"


class Portal:
    """A caller with the private app's token."""

    def __init__(self, server: SandboxServer) -> None:
        self.server, self.token = server, HUBSPOT_TOKEN

    def ask(self, method: str, path: str, body: Any = None, **query: Any) -> Any:
        """The HTTP answer itself."""
        return self.server.http.request(
            method,
            self.server.hubspot_url + path + _query(query),
            body=json.dumps(body).encode() if body is not None else None,
            headers={"authorization": f"Bearer {self.token}", "content-type": "application/json"},
            retries=False,
            redirect=False,
            timeout=10,
            decode_content=False,
        )

    def get(self, path: str, **query: Any) -> Any:
        """The JSON of a read that went well."""
        answer = self.ask("GET", path, **query)
        assert answer.status == 200, answer.data[:300]
        return answer.json()

    def post(self, path: str, body: Any, status: int = 200) -> Any:
        """The JSON of a write that was answered with `status`."""
        answer = self.ask("POST", path, body)
        assert answer.status == status, (answer.status, answer.data[:300])
        return answer.json() if answer.data else None

    def pages(self, path: str, **query: Any) -> list[dict[str, Any]]:
        """Every record of a list."""
        found: list[dict[str, Any]] = []
        after = None
        while True:
            body = self.get(path, **query, **({"after": after} if after else {}))
            found += body["results"]
            after = body.get("paging", {}).get("next", {}).get("after")
            if after is None:
                return found

    def insert(self, **fields: Any) -> str:
        """A new contact made in the portal."""
        return str(self.server.act("hubspot", "insert", kind="contact", fields=fields)["id"])

    def settings(self, **values: Any) -> None:
        """Turn the sandbox's settings."""
        self.server.call("POST", "/_sandbox/hubspot/settings", values)


def _query(query: dict[str, Any]) -> str:
    pairs = (f"{name}={value}" for name, value in query.items())
    return "?" + "&".join(pairs) if query else ""


@pytest.fixture
def portal(sandbox_at: SandboxServer) -> Portal:
    """The portal at noon, with room for many calls."""
    found = Portal(sandbox_at)
    found.settings(burst=10_000, search_per_second=1_000)
    return found


def modified_since(instant: str, **more: Any) -> dict[str, Any]:
    """A search for contacts changed at or after an instant."""
    one = {"propertyName": "lastmodifieddate", "operator": "GTE", "value": instant}
    sort = {"propertyName": "lastmodifieddate", "direction": "ASCENDING"}
    return {"filterGroups": [{"filters": [one]}], "sorts": [sort], "limit": 200, **more}


# -- reading --------------------------------------------------------------------------------------


def test_a_list_is_read_page_by_page_by_id(portal: Portal, sandbox_at: SandboxServer) -> None:
    """All pages together are the truth, each object once, in the order of ids."""
    rows = portal.pages(CONTACTS, limit=100, properties="email,phone")
    truth = sandbox_at.facts("hubspot", "contacts")
    assert [one["id"] for one in rows] == [one["id"] for one in truth]
    assert rows[0]["properties"]["email"] == truth[0]["properties"]["email"]
    assert portal.ask("GET", CONTACTS, limit=101).status == 400


def test_each_version_of_the_paths_is_served(portal: Portal) -> None:
    """2026-03, 2026-09 and the SDK's v3 answer alike; what HubSpot turned off is not there."""
    answers = [
        portal.get(path, limit=3)
        for path in (CONTACTS, "/crm/objects/2026-03/contacts", "/crm/v3/objects/contacts")
    ]
    assert answers[0]["results"] == answers[1]["results"] == answers[2]["results"]
    assert portal.ask("GET", "/contacts/v1/lists").status == 404
    assert portal.ask("GET", "/crm/objects/2025-01/contacts").status == 404


def test_deals_have_their_stages_with_their_times(
    portal: Portal, sandbox_at: SandboxServer
) -> None:
    """The history of `dealstage`, newest first, is that of the pipeline; 50 deals a page."""
    rows = portal.pages(
        "/crm/objects/2026-09/deals",
        limit=100,
        propertiesWithHistory="dealstage",
        associations="contacts,companies",
    )
    seen = [
        (one["id"], change["value"], change["timestamp"])
        for one in rows
        for change in reversed(one["propertiesWithHistory"]["dealstage"])
    ]
    truth = sandbox_at.facts("hubspot", "deal_stages")
    assert seen == [(one["deal_id"], one["stage_id"], one["entered_at"]) for one in truth]
    assert any("contacts" in one.get("associations", {}) for one in rows)


def test_the_pipeline_has_the_published_shape(sandbox_at: SandboxServer) -> None:
    """Some six of ten closed deals are won; each lost one says why; all are labelled derived."""
    deals = [one["properties"] for one in sandbox_at.facts("hubspot", "deals")]
    closed = [one for one in deals if one["hs_is_closed"] == "true"]
    won = [one for one in closed if one["hs_is_closed_won"] == "true"]
    assert 0.53 < len(won) / len(closed) < 0.73
    lost = [one for one in closed if one["dealstage"] == "closedlost"]
    assert lost and all(one["closed_lost_reason"] for one in lost)
    assert {one["data_label"] for one in deals} == {"derived"}


def test_archived_objects_are_only_in_their_own_list(portal: Portal) -> None:
    """A deleted contact leaves the list, is listed with archived=true, and comes back restored."""
    key = portal.insert(email="gone@example.com")
    portal.ask("DELETE", f"{CONTACTS}/{key}")
    assert portal.ask("GET", f"{CONTACTS}/{key}").status == 404
    found = {one["id"]: one for one in portal.pages(CONTACTS, limit=100, archived="true")}
    assert found == {} or key not in found  # made and gone at one instant: never seen
    portal.server.set_clock(clock.now() + timedelta(seconds=10))
    other = portal.insert(email="later@example.com")
    portal.server.set_clock(clock.now() + timedelta(seconds=10))
    portal.ask("DELETE", f"{CONTACTS}/{other}")
    found = {one["id"]: one for one in portal.pages(CONTACTS, limit=100, archived="true")}
    assert found[other]["archived"] and found[other]["archivedAt"]
    portal.server.set_clock(clock.now() + timedelta(seconds=10))
    portal.server.act("hubspot", "restore", kind="contact", id=other)
    assert portal.get(f"{CONTACTS}/{other}")["updatedAt"] > found[other]["archivedAt"]


def test_a_merge_gives_a_new_id(portal: Portal) -> None:
    """Old ids are gone, named in `hs_merged_object_ids`, not archived; deals and lists follow."""
    one, two = portal.insert(email="a@m.example"), portal.insert(phone="+15135550100")
    deal = portal.server.act(
        "hubspot", "insert", kind="deal", fields={"dealname": "x"}, links={"contacts": [two]}
    )["id"]
    portal.server.set_clock(clock.now() + timedelta(minutes=1))
    body = {"primaryObjectId": one, "objectIdToMerge": two}
    new = portal.post(f"{CONTACTS}/merge", body)
    assert new["id"] not in (one, two)
    assert new["properties"]["hs_merged_object_ids"] == f"{one};{two}"
    assert new["properties"]["phone"] == "+15135550100"
    assert portal.ask("GET", f"{CONTACTS}/{two}").status == 404
    archived = {row["id"] for row in portal.pages(CONTACTS, limit=100, archived="true")}
    assert not archived & {one, two}
    linked = portal.get(f"/crm/objects/2026-09/deals/{deal}", associations="contacts")
    assert linked["associations"]["contacts"]["results"][0]["id"] == new["id"]
    assert portal.post(f"{CONTACTS}/merge", body, 404)["category"] == "OBJECT_NOT_FOUND"


# -- search ---------------------------------------------------------------------------------------


def test_search_never_pages_beyond_ten_thousand(portal: Portal) -> None:
    """12,000 of one instant: the total is told, the page past the cap is a 400; id splits help."""
    portal.settings(is_living=False)
    portal.server.set_clock(clock.now() + timedelta(hours=20))
    made = portal.server.act("hubspot", "bulk", kind="contact", count=12_000)
    asked = modified_since(made["at"])
    assert portal.post(SEARCH, asked)["total"] == 12_000
    assert len(portal.post(SEARCH, {**asked, "after": "9800"})["results"]) == 200
    assert portal.post(SEARCH, {**asked, "after": "9801"}, 400)["category"] == "VALIDATION_ERROR"
    middle = {"propertyName": "hs_object_id", "operator": "GT", "value": made["first"]}
    asked["filterGroups"][0]["filters"].append(middle)
    assert portal.post(SEARCH, asked)["total"] == 11_999


def test_search_lags_behind_writes(portal: Portal) -> None:
    """What was just written is in the list and, for some seconds, not in the search."""
    portal.settings(search_lag_seconds=30)
    key = portal.insert(email="new@example.com")
    at = clock.now().isoformat()
    assert portal.get(f"{CONTACTS}/{key}")["id"] == key
    assert portal.post(SEARCH, modified_since(at))["total"] == 0
    portal.server.set_clock(clock.now() + timedelta(seconds=30))
    assert key in [one["id"] for one in portal.post(SEARCH, modified_since(at))["results"]]


@pytest.mark.parametrize(
    "one",
    [
        {"propertyName": "email", "operator": "EQ", "value": "FIND.me@example.com"},
        {"propertyName": "email", "operator": "IN", "values": ["find.me@example.com"]},
        {"propertyName": "email", "operator": "CONTAINS_TOKEN", "value": "find.me*"},
        {"propertyName": "favourite_aisle", "operator": "EQ", "value": "needle"},
    ],
)
def test_search_filters(portal: Portal, one: dict[str, Any]) -> None:
    """Text is compared without regard to case; unknown properties and operators are refused."""
    portal.insert(email="find.me@example.com", favourite_aisle="needle")
    body = {"filterGroups": [{"filters": [one]}], "properties": ["email"]}
    found = portal.post(SEARCH, body)["results"]
    assert found and {row["properties"]["email"] for row in found} == {"find.me@example.com"}
    for wrong in ({**one, "propertyName": "nothing"}, {**one, "operator": "LIKE"}):
        portal.post(SEARCH, {"filterGroups": [{"filters": [wrong]}]}, 400)


def test_a_page_of_the_search_takes_no_time(portal: Portal) -> None:
    """The demo makes thousands of calls: a page is answered in some milliseconds."""
    at = (clock.now() - timedelta(days=400)).isoformat()
    portal.post(SEARCH, modified_since(at))
    taken = []
    for _ in range(20):
        started = time.perf_counter()
        portal.post(SEARCH, modified_since(at, limit=100))
        taken.append(time.perf_counter() - started)
    assert sorted(taken)[10] < 0.05


# -- writing --------------------------------------------------------------------------------------


def test_a_batch_tells_refused_inputs_beside_the_others(portal: Portal) -> None:
    """207: results, and errors found again by `objectWriteTraceId`; `new` tells what was made."""
    portal.insert(email="known@example.com")
    inputs = [
        {"id": "known@example.com", "properties": {"firstname": "A"}},
        {"id": "made@example.com", "properties": {"firstname": "B"}},
        {"id": "bad@example.com", "properties": {"no_such": "C"}, "objectWriteTraceId": "t3"},
    ]
    body = {"inputs": [{"idProperty": "email", **one} for one in inputs]}
    answer = portal.post(f"{CONTACTS}/batch/upsert", body, 207)
    assert [one["new"] for one in answer["results"]] == [False, True]
    assert answer["numErrors"] == 1
    assert answer["errors"][0]["context"] == {"objectWriteTraceId": ["t3"]}
    portal.post(f"{CONTACTS}/batch/upsert", {"inputs": body["inputs"] * 34}, 400)


def test_a_batch_read_names_what_is_missing(portal: Portal) -> None:
    """207 with the ids that do not exist; with histories 50 at once."""
    key = portal.insert(email="there@example.com")
    inputs = [{"id": key}, {"id": "1"}]
    body = {"inputs": inputs, "properties": ["email"], "propertiesWithHistory": []}
    answer = portal.post(f"{CONTACTS}/batch/read", body, 207)
    assert [one["id"] for one in answer["results"]] == [key]
    assert answer["errors"][0]["context"]["ids"] == ["1"]
    many = {"inputs": [{"id": str(n)} for n in range(51)], "propertiesWithHistory": ["email"]}
    portal.post(f"{CONTACTS}/batch/read", many, 400)


def test_a_life_cycle_stage_only_moves_forward(portal: Portal) -> None:
    """An earlier stage is passed over in silence, unless the property was emptied first."""
    path = f"{CONTACTS}/" + portal.insert(email="stage@example.com", lifecyclestage="customer")

    def stage(value: str) -> str | None:
        portal.ask("PATCH", path, {"properties": {"lifecyclestage": value}})
        found = portal.get(path, properties="lifecyclestage")["properties"]["lifecyclestage"]
        return str(found) if found else None

    assert [stage("lead"), stage(""), stage("lead")] == ["customer", None, "lead"]


def test_a_task_hangs_on_its_contact(portal: Portal) -> None:
    """A task is made with an association, found from the other side, and by its own key."""
    contact = portal.insert(email="task@example.com")
    types = [{"associationCategory": "HUBSPOT_DEFINED", "associationTypeId": 204}]
    body = {
        "properties": {
            "hs_timestamp": clock.now().isoformat(),
            "hs_task_subject": "Call",
            "external_key": "k-1",
        },
        "associations": [{"to": {"id": contact}, "types": types}],
    }
    task = portal.post("/crm/objects/2026-09/tasks", body, 201)["id"]
    path = f"{CONTACTS}/{contact}/associations/tasks"
    assert [one["toObjectId"] for one in portal.get(path)["results"]] == [task]
    asked = {"propertyName": "external_key", "operator": "EQ", "value": "k-1"}
    found = portal.post(
        "/crm/objects/2026-09/tasks/search", {"filterGroups": [{"filters": [asked]}]}
    )
    assert [one["id"] for one in found["results"]] == [task]


def test_members_are_set_in_manual_lists_only(portal: Portal) -> None:
    """Three lists of ids say what was added, removed and missing; a DYNAMIC list is a 400."""
    key = portal.insert(email="member@example.com")
    manual, dynamic = "/crm/lists/2026-09/105/memberships", "/crm/lists/2026-09/101/memberships"
    answer = portal.ask("PUT", f"{manual}/add", [key, "1"]).json()
    assert answer == {"recordsIdsAdded": [key], "recordIdsRemoved": [], "recordIdsMissing": ["1"]}
    assert key in [one["recordId"] for one in portal.pages(manual, limit=2)]
    assert portal.ask("PUT", f"{manual}/add", [key]).json()["recordsIdsAdded"] == []
    both = {"recordIdsToAdd": [], "recordIdsToRemove": [key]}
    answer = portal.ask("PUT", f"{manual}/add-and-remove", both).json()
    assert answer["recordIdsRemoved"] == [key]
    assert portal.ask("PUT", f"{dynamic}/add", [key]).status == 400


def test_a_consent_modifies_its_contact(portal: Portal) -> None:
    """A status is read back by address, in batches, and the contact counts as changed."""
    key = portal.insert(email="says@example.com")
    portal.server.set_clock(clock.now() + timedelta(minutes=1))
    path = "/communication-preferences/2026-09/statuses"
    body = {"subscriptionId": 501, "statusState": "UNSUBSCRIBED", "channel": "EMAIL"}
    portal.post(f"{path}/says@example.com", body)
    batch = {"inputs": ["says@example.com", "nobody@example.com"], "channel": "EMAIL"}
    first, second = portal.post(f"{path}/batch/read", batch)["results"]
    assert [one["status"] for one in first["statuses"]] == ["UNSUBSCRIBED", "NOT_SPECIFIED"]
    assert {one["status"] for one in second["statuses"]} == {"NOT_SPECIFIED"}
    found = portal.post(SEARCH, modified_since(clock.now().isoformat()))
    assert key in [one["id"] for one in found["results"]]


def test_a_send_id_sends_once(portal: Portal) -> None:
    """The same `sendId` again is answered with IDEMPOTENT_IGNORE."""
    path = "/marketing/transactional/2026-09/single-email/send"
    body = {"emailId": 180000001, "message": {"to": "a@example.com", "sendId": "s-1"}}
    answers = [portal.post(path, body), portal.post(path, body)]
    assert answers[0]["statusId"] == answers[1]["statusId"]
    assert [one.get("sendResult") for one in answers] == [None, "IDEMPOTENT_IGNORE"]


# -- e-mail events --------------------------------------------------------------------------------


def test_email_events_lie_in_half_open_windows(portal: Portal, sandbox_at: SandboxServer) -> None:
    """Windows of ms side by side give each event once; offsets page, newest first."""
    truth = sandbox_at.facts("hubspot", "email_events")
    first, last = (pick(one["created"] for one in truth) for pick in (min, max))
    middle, seen = (first + last) // 2, []
    for start, end in ((first, middle), (middle, last + 1)):
        offset, more = "0", True
        while more:
            window = {"startTimestamp": start, "endTimestamp": end, "limit": 300, "offset": offset}
            page = portal.get("/email/public/v1/events", **window)
            seen += [one["id"] for one in page["events"]]
            offset, more = page["offset"], page["hasMore"]
    assert sorted(seen) == sorted(one["id"] for one in truth)
    assert {"SENT", "DELIVERED", "OPEN", "CLICK"} <= {one["type"] for one in truth}
    assert any(one["is_machine"] for one in truth)


# -- tokens, scopes, limits ------------------------------------------------------------------------


def test_oauth_tokens_end_after_half_an_hour(portal: Portal) -> None:
    """A refresh gives another one; with rotation the refresh token used is known no more."""
    portal.settings(is_rotating=True)
    given = {
        "grant_type": "refresh_token",
        "client_id": "hubspot-client",
        "client_secret": "hubspot-secret",
        "refresh_token": "hubspot-refresh",
    }
    url = f"{portal.server.hubspot_url}/oauth/2026-09/token"

    def refresh(**more: str) -> Any:
        return portal.server.http.request(
            "POST", url, fields={**given, **more}, encode_multipart=False
        )

    answer = refresh().json()
    portal.token = answer["access_token"]
    assert answer["expires_in"] == 1800
    read = portal.ask("GET", CONTACTS)
    assert "X-HubSpot-RateLimit-Daily" not in read.headers
    portal.server.set_clock(clock.now() + timedelta(seconds=1800))
    expired = portal.ask("GET", CONTACTS)
    assert (expired.status, expired.json()["category"]) == (401, "EXPIRED_AUTHENTICATION")
    assert refresh().json()["category"] == "BAD_REFRESH_TOKEN"
    assert refresh(refresh_token=answer["refresh_token"]).status == 200


def test_a_missing_scope_is_named(portal: Portal) -> None:
    """403 MISSING_SCOPES says which one; other objects are still read."""
    portal.settings(missing_scopes=["crm.objects.deals.read"])
    answer = portal.ask("GET", "/crm/objects/2026-09/deals")
    assert (answer.status, answer.json()["category"]) == (403, "MISSING_SCOPES")
    context = answer.json()["errors"][0]["context"]
    assert context == {"requiredGranularScopes": ["crm.objects.deals.read"]}
    assert portal.get(CONTACTS)


def test_limits_are_told_apart_by_their_policy(portal: Portal) -> None:
    """The burst, the search's second and the day are three policies; search has no headers."""
    portal.settings(burst=3, search_per_second=1)
    left = [portal.ask("GET", CONTACTS).headers["X-HubSpot-RateLimit-Remaining"] for _ in range(3)]
    assert left == ["2", "1", "0"]
    burst = portal.ask("GET", CONTACTS)
    assert (burst.status, burst.json()["policyName"]) == (429, "TEN_SECONDLY_ROLLING")
    search = portal.ask("POST", SEARCH, {})
    assert search.status == 200 and "X-HubSpot-RateLimit-Max" not in search.headers
    assert portal.ask("POST", SEARCH, {}).json()["policyName"] == "SECONDLY"
    portal.server.set_clock(clock.now() + timedelta(seconds=10))
    assert portal.ask("GET", CONTACTS).status == 200
    portal.settings(daily=100, daily_used=100)
    assert portal.ask("GET", CONTACTS).json()["policyName"] == "DAILY"


# -- faults ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("status", [401, 403, 423, 477, 500, 502, 504, 521])
def test_fault_status(portal: Portal, status: int) -> None:
    """Any status can be ordered, with a Retry-After."""
    portal.server.fault("status", system="hubspot", status=status, retry_after=2)
    answer = portal.ask("GET", CONTACTS)
    assert (answer.status, answer.headers["retry-after"]) == (status, "2")
    assert portal.ask("GET", CONTACTS).status == 200


def test_faults_of_the_body(portal: Portal) -> None:
    """Half an answer, a NaN, bytes that are no UTF-8, a huge record, a web page, lost records."""

    def spoilt(kind: str, path: str = CONTACTS, **options: Any) -> bytes:
        portal.server.fault(kind, system="hubspot", **options)
        return bytes(portal.ask("GET", path, limit=5).data)

    with pytest.raises(json.JSONDecodeError):
        json.loads(spoilt("bad_json"))
    assert b":NaN" in spoilt("nan", "/crm/objects/2026-09/deals")
    with pytest.raises(UnicodeDecodeError):
        spoilt("bad_utf8").decode()
    assert len(spoilt("huge_record", bytes=3_000_000)) > 3_000_000
    assert spoilt("html").startswith(b"<html>")
    lost = json.loads(spoilt("drop_page"))
    assert lost["results"] == [] and lost["paging"]
    assert len(gzip.decompress(spoilt("gzip_bomb", bytes=5_000_000))) == 5_000_000


def test_faults_of_paging_and_transport(portal: Portal) -> None:
    """The same page token again, another host, a broken connection, limits on demand."""
    after = portal.get(CONTACTS, limit=5)["paging"]["next"]["after"]
    portal.server.fault("stuck_cursor", system="hubspot")
    assert portal.get(CONTACTS, limit=5, after=after)["paging"]["next"]["after"] == after
    portal.server.fault("redirect", system="hubspot")
    moved = portal.ask("GET", CONTACTS)
    assert (moved.status, moved.headers["location"]) == (307, "https://elsewhere.example/")
    portal.server.fault("drop_connection", system="hubspot")
    with pytest.raises(urllib3.exceptions.HTTPError):
        portal.ask("GET", CONTACTS)
    for kind, policy in (("throttle", "TEN_SECONDLY_ROLLING"), ("daily", "DAILY")):
        portal.server.fault(kind, system="hubspot")
        assert portal.ask("GET", CONTACTS).json()["policyName"] == policy
    portal.server.fault("expired_token", system="hubspot", match="after=")
    assert portal.ask("GET", CONTACTS).status == 200
    assert portal.ask("GET", CONTACTS, after=after).json()["category"] == "EXPIRED_AUTHENTICATION"
    listed = portal.server.call("GET", "/_sandbox/faults")
    assert listed.get("hubspot", []) == []


# -- life -----------------------------------------------------------------------------------------


def test_changes_keep_coming_as_the_clock_passes(portal: Portal) -> None:
    """An hour brings about twenty changes; an earlier instant is answered as it was."""
    noon = clock.now()
    before = portal.server.facts("hubspot", "contacts")
    portal.server.set_clock(noon + timedelta(hours=6))
    after = {one["id"]: one for one in portal.server.facts("hubspot", "contacts")}
    changed = [one for one in before if after.get(one["id"]) != one]
    assert 20 < len(changed) < 200
    portal.server.set_clock(noon)
    assert portal.server.facts("hubspot", "contacts") == before


def test_a_portal_is_kept_between_starts(
    sandbox_at: SandboxServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another start finds the same objects and lives on; another shop's portal is replaced."""
    monkeypatch.setenv(clock.CLOCK_FILE_VARIABLE, str(tmp_path / "clock"))
    for file in CACHE.glob("shop.sqlite*"):
        shutil.copy(file, tmp_path)
    world = World(tmp_path / "shop.sqlite", lambda: sandbox_at.base_url, Faults())

    def start() -> Crm:
        return HubSpot(tmp_path, world, world.base_url, world.faults, Requests()).crm

    clock.freeze(tmp_path / "clock", datetime.now(UTC))
    first = start()
    made = first.create("contacts", {"email": "kept@example.com"}, first.now(), {})
    clock.freeze(tmp_path / "clock", clock.now() + timedelta(hours=3))
    second = start()
    assert second.records.all("contacts", second.now()) == first.records.all(
        "contacts", first.now()
    )
    assert second.create("contacts", {}, second.now(), {}) != made
    store.put_meta(world.writer, {"weeks": 1})
    assert start().get("contacts", made, first.now()) is None


def test_requests_are_noted_without_addresses(portal: Portal) -> None:
    """The list of requests has paths and figures, nobody's address."""
    path = "/communication-preferences/2026-09/statuses/somebody@example.com"
    portal.get(path, channel="EMAIL")
    row = portal.server.requests("hubspot")[-1]
    assert row["path"] == "/communication-preferences/statuses/*"
    assert row["status"] == 200 and "example.com" not in json.dumps(row)


def test_the_account_tells_its_zone_and_usage(portal: Portal) -> None:
    """What the doctor asks: details, and how much of the day is used."""
    details = portal.get("/account-info/2026-09/details")
    assert {"portalId", "timeZone", "accountType"} <= set(details)
    (usage,) = portal.get("/account-info/2026-09/api-usage/daily/private-apps")["results"]
    assert 0 < usage["currentUsage"] < usage["usageLimit"] == 625_000
