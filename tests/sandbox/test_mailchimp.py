"""The simulated Mailchimp: reads, paging, writes, compliance, life; over HTTP."""

from __future__ import annotations

import concurrent.futures
import hashlib
import io
import json
import tarfile
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import pytest
import urllib3

from marketing_ops import clock
from sandbox.faults import Faults
from sandbox.mailchimp import truth
from sandbox.mailchimp.account import Account
from sandbox.mailchimp.calls import Call
from sandbox.shopify.world import World
from tests.sandbox_fixtures import SandboxServer

LIST = "a1b2c3d4e5"
USUAL = {"connections": 10, "delay_seconds": 0, "batch_delay_seconds": 0, "signs_webhooks": True}


@dataclass
class Chimp:
    """A client of the simulated account."""

    server: SandboxServer

    def raw(self, method: str, path: str, body: Any = None, **query: Any) -> Any:
        """The HTTP answer itself; nothing is repeated or followed."""
        address = f"{self.server.base_url}/mailchimp/3.0{path}"
        return self.server.http.request(
            method,
            f"{address}?{urlencode(query)}" if query else address,
            json=body,
            headers=urllib3.make_headers(basic_auth="any:sandbox-us1"),
            retries=False,
        )

    def get(self, path: str, **query: Any) -> Any:
        """The document of a GET that succeeds."""
        answer = self.raw("GET", path, **query)
        assert answer.status == 200, answer.data[:300]
        return answer.json()

    def send(self, method: str, path: str, body: Any) -> tuple[int, Any]:
        """Status and document of a write."""
        answer = self.raw(method, path, body)
        return answer.status, answer.json() if answer.data else None

    def truth(self, stream: str) -> list[dict[str, Any]]:
        """The facts of a stream."""
        url = f"{self.server.base_url}/_sandbox/mailchimp/truth/{stream}"
        answer = self.server.http.request("GET", url)
        assert answer.status == 200, answer.data[:300]
        return [json.loads(line) for line in answer.data.splitlines()]

    def change(self, action: str, key: str = "", kind: str = "member", **fields: Any) -> Any:
        """A change that no API call made."""
        body = {"action": action, "kind": kind, "id": key, "fields": fields}
        return self.server.call("POST", "/_sandbox/mailchimp/records", body)

    def configure(self, **settings: Any) -> None:
        """Change the account's settings."""
        self.server.call("POST", "/_sandbox/mailchimp/settings", settings)

    def pages(self, path: str, name: str, **query: Any) -> list[dict[str, Any]]:
        """All rows of a list, 100 at a time."""
        rows: list[dict[str, Any]] = []
        while True:
            page = self.get(path, count=100, offset=len(rows), **query)
            rows += page[name]
            if not page[name]:
                assert len(rows) == page["total_items"]
                return rows


@pytest.fixture
def chimp(sandbox_at: SandboxServer) -> Iterator[Chimp]:
    """The account, with its usual settings."""
    found = Chimp(sandbox_at)
    found.configure(**USUAL)
    yield found
    found.configure(**USUAL)


def hash_of(address: str) -> str:
    """A member's key."""
    return hashlib.md5(address.lower().encode(), usedforsecurity=False).hexdigest()


def member_path(address: str) -> str:
    """Where a member lies."""
    return f"/lists/{LIST}/members/{hash_of(address)}"


# -- reads ----------------------------------------------------------------------------------------


def test_members_are_the_shops_people_and_strangers(chimp: Chimp) -> None:
    """Every status occurs, shop customers are among the members, keys are MD5 of the address."""
    members = chimp.truth("members")
    statuses = Counter(one["status"] for one in members)
    assert set(statuses) == {
        "subscribed",
        "unsubscribed",
        "cleaned",
        "pending",
        "transactional",
        "archived",
    }
    customers = {one["email"] for one in chimp.server.truth("customers")}
    shared = [one for one in members if one["email"] in customers]
    assert 0 < len(shared) < len(members)
    assert all(one["id"] == hash_of(one["email"]) for one in members)
    assert {tag for one in members for tag in one["tags"]} >= {"VIP", "Recipe club"}


def test_paged_members_equal_the_truth(chimp: Chimp) -> None:
    """Reading all pages gives every member once, with the facts of the truth."""
    rows = chimp.pages(f"/lists/{LIST}/members", "members")
    truth = {one["id"]: one for one in chimp.truth("members")}
    assert {one["id"] for one in rows} == set(truth) and len(rows) == len(truth)
    for row in rows:
        fact = truth[row["id"]]
        assert row["contact_id"] == fact["contact_id"]
        assert row["merge_fields"] == fact["merge_fields"]
        assert [tag["name"] for tag in row["tags"]] == fact["tags"]
        assert (row["status"], row["last_changed"]) == (fact["status"], fact["last_changed"])


def test_count_is_10_and_at_most_1000(chimp: Chimp) -> None:
    """Without `count` ten rows come; more than 1000 are refused as problem+json."""
    assert len(chimp.get(f"/lists/{LIST}/members")["members"]) == 10
    answer = chimp.raw("GET", f"/lists/{LIST}/members", count=1001)
    assert answer.status == 400
    assert answer.headers["content-type"].startswith("application/problem+json")
    problem = answer.json()
    assert problem["errors"][0]["field"] == "count"
    assert problem["instance"] == answer.headers["x-request-id"]


def test_last_changed_filters_to_the_second_and_exclusively(chimp: Chimp) -> None:
    """`since` and `before` leave their own second out; the order is by time."""
    path = f"/lists/{LIST}/members"
    query = {"sort_field": "last_changed", "sort_dir": "ASC", "count": 1000}
    times = [one["last_changed"] for one in chimp.get(path, **query)["members"]]
    assert times == sorted(times)
    middle = times[len(times) // 2]
    later = chimp.get(path, since_last_changed=middle, **query)["members"]
    earlier = chimp.get(path, before_last_changed=middle, **query)["members"]
    assert [one["last_changed"] for one in later] == [at for at in times if at > middle]
    assert [one["last_changed"] for one in earlier] == [at for at in times if at < middle]


def test_fields_and_exclude_fields(chimp: Chimp) -> None:
    """`fields` keeps the named paths only, `exclude_fields` drops them."""
    path = f"/lists/{LIST}/members"
    kept = chimp.get(path, fields="members.id,members.merge_fields.FNAME,total_items")
    assert set(kept) == {"members", "total_items"}
    assert set(kept["members"][0]) == {"id", "merge_fields"}
    assert set(kept["members"][0]["merge_fields"]) == {"FNAME"}
    rest = chimp.get(path, exclude_fields="members._links,_links")
    assert "_links" not in rest and "_links" not in rest["members"][0]


def test_rows_shift_while_paging(chimp: Chimp) -> None:
    """A member changed between two pages moves to the end: the next page leaves somebody out."""
    path = f"/lists/{LIST}/members"
    query = {"sort_field": "last_changed", "sort_dir": "ASC", "count": 50}
    first = chimp.get(path, offset=0, **query)["members"]
    expected = chimp.get(path, offset=50, **query)["members"]
    chimp.server.fault("shift", system="mailchimp", match="offset=0")
    again = chimp.get(path, offset=0, **query)["members"]
    assert [one["id"] for one in again] == [one["id"] for one in first]
    second = chimp.get(path, offset=50, **query)["members"]
    assert second[0]["id"] == expected[1]["id"]
    last = chimp.get(path, **{**query, "sort_dir": "DESC"})["members"]
    assert last[0]["id"] == first[0]["id"]


def test_segments_count_subscribed_members_only(chimp: Chimp) -> None:
    """A static segment is a tag; unless asked, only its subscribed members are listed."""
    segments = {one["name"]: one for one in chimp.pages(f"/lists/{LIST}/segments", "segments")}
    found = segments["VIP"]
    holders = [one for one in chimp.truth("members") if "VIP" in one["tags"]]
    subscribed = {one["id"] for one in holders if one["status"] == "subscribed"}
    path = f"/lists/{LIST}/segments/{found['id']}/members"
    assert found["member_count"] == len(subscribed)
    assert {one["id"] for one in chimp.pages(path, "members")} == subscribed
    more = chimp.pages(path, "members", include_unsubscribed="true", include_cleaned="true")
    assert len(more) > len(subscribed)
    saved = segments["No birthday yet"]
    path = f"/lists/{LIST}/segments/{saved['id']}/members"
    assert all(one["merge_fields"]["BIRTHDAY"] == "" for one in chimp.pages(path, "members"))
    tags = chimp.get(f"/lists/{LIST}/tag-search", name="rec")
    assert [one["name"] for one in tags["tags"]] == ["Recipe club"]


# -- campaigns and reports ------------------------------------------------------------------------


def test_a_newsletter_every_week_and_its_reports(chimp: Chimp) -> None:
    """Campaigns go back 14 months; the reports of one agree with each other and the truth."""
    campaigns = chimp.pages("/campaigns", "campaigns", status="sent")
    assert 55 <= len(campaigns) <= 70
    campaign = max(campaigns[:-2], key=lambda one: one["emails_sent"])
    key = campaign["id"]
    sent = chimp.pages(f"/reports/{key}/sent-to", "sent_to")
    assert len(sent) == campaign["emails_sent"]
    activity = chimp.pages(f"/reports/{key}/email-activity", "emails")
    assert len(activity) == len(sent)
    actions = [
        (one["email_id"], done["action"], done["timestamp"])
        for one in activity
        for done in one["activity"]
    ]
    facts = [one for one in chimp.truth("email_activity") if one["campaign_id"] == key]
    assert sorted(actions) == sorted((one["email_id"], one["action"], one["at"]) for one in facts)
    report = chimp.get(f"/reports/{key}")
    opens = chimp.get(f"/reports/{key}/open-details", count=1000)
    listed = [done for one in opens["members"] for done in one["opens"]]
    assert report["opens"]["opens_total"] == opens["total_opens"] == len(listed)
    assert {done["is_proxy_open"] for done in listed} == {True, False}
    clicks = chimp.get(f"/reports/{key}/click-details")["urls_clicked"]
    assert report["clicks"]["clicks_total"] == sum(one["total_clicks"] for one in clicks)
    for link in clicks:
        rows = chimp.pages(f"/reports/{key}/click-details/{link['id']}/members", "members")
        assert sum(one["clicks"] for one in rows) == link["total_clicks"]
    gone = chimp.pages(f"/reports/{key}/unsubscribed", "unsubscribes")
    assert report["unsubscribed"] == len(gone)


def test_rates_are_those_of_a_newsletter(chimp: Chimp) -> None:
    """About 28 % open, 3 % click, less than 1 % bounce or unsubscribe."""
    sent = len(chimp.truth("sent"))
    facts = chimp.truth("email_activity")
    mails = {(one["campaign_id"], one["email_id"], one["action"]) for one in facts}
    who = Counter(action for _, _, action in mails)
    assert 0.25 < who["open"] / sent < 0.31
    assert 0.02 < who["click"] / sent < 0.04
    assert 0.003 < who["bounce"] / sent < 0.015
    assert 0.001 < len(chimp.truth("unsubscribes")) / sent < 0.006


def test_activity_since(chimp: Chimp) -> None:
    """With `since` only who did something later is listed, and only what is later."""
    key = chimp.truth("sent")[0]["campaign_id"]
    whole = chimp.pages(f"/reports/{key}/email-activity", "emails")
    times = sorted(done["timestamp"] for one in whole for done in one["activity"])
    middle = times[len(times) // 2]
    later = chimp.pages(f"/reports/{key}/email-activity", "emails", since=middle)
    found = sorted(done["timestamp"] for one in later for done in one["activity"])
    assert found == [at for at in times if at > middle]
    assert all(one["activity"] for one in later)


def test_a_campaign_is_sent_once(chimp: Chimp) -> None:
    """Create, send (204), send again (400); the report follows the clock."""
    body = {"type": "regular", "recipients": {"list_id": LIST}, "settings": {"title": "Once"}}
    status, made = chimp.send("POST", "/campaigns", body)
    path = f"/campaigns/{made['id']}"
    assert status == 200 and made["status"] == "save"
    assert chimp.send("POST", path + "/actions/send", {})[0] == 400
    chimp.send("PATCH", path, {"settings": {"subject_line": "Hello"}})
    assert chimp.send("POST", path + "/actions/send", {}) == (204, None)
    assert chimp.send("POST", path + "/actions/send", {})[0] == 400
    subscribed = [one for one in chimp.truth("members") if one["status"] == "subscribed"]
    assert chimp.get(path)["emails_sent"] == len(subscribed)
    assert chimp.get(f"/reports/{made['id']}")["opens"]["opens_total"] == 0
    chimp.server.set_clock(clock.now() + timedelta(days=2))
    assert chimp.get(f"/reports/{made['id']}")["opens"]["opens_total"] > 0


# -- writes ---------------------------------------------------------------------------------------


def test_status_if_new_leaves_the_known_alone(chimp: Chimp) -> None:
    """`status_if_new` subscribes somebody new only; `status` subscribes again who was removed."""
    address = "status.if.new@example.com"
    body = {"email_address": address, "status_if_new": "subscribed", "merge_fields": {"FNAME": "A"}}
    assert chimp.send("PUT", member_path(address), body)[1]["status"] == "subscribed"
    chimp.send("PATCH", member_path(address), {"status": "unsubscribed"})
    known = chimp.send("PUT", member_path(address), body)[1]
    assert known["status"] == "unsubscribed" and known["unsubscribe_reason"]
    forced = {"email_address": address, "status": "subscribed"}
    assert chimp.send("PUT", member_path(address), forced)[1]["status"] == "subscribed"
    assert (
        chimp.send("PUT", member_path("new@example.com"), {"email_address": "new@example.com"})[0]
        == 400
    )


def test_compliance_state_is_permanent(chimp: Chimp) -> None:
    """Who left by themselves or bounced cannot be subscribed; `pending` asks them."""
    for status in ("unsubscribed", "cleaned"):
        address = f"left.{status}@example.com"
        chimp.change("insert", email_address=address)
        chimp.change("update", hash_of(address), status=status, by="user")
        code, problem = chimp.send("PATCH", member_path(address), {"status": "subscribed"})
        assert (code, problem["title"]) == (400, "Member In Compliance State")
        assert chimp.send("PATCH", member_path(address), {"status": "pending"})[0] == 200


def test_archive_keeps_and_permanent_deletion_forgets(chimp: Chimp) -> None:
    """DELETE leaves a member `archived`; delete-permanent leaves nothing and nobody may return."""
    address = "gone@example.com"
    body = {"email_address": address, "status": "subscribed"}
    chimp.send("PUT", member_path(address), body)
    assert chimp.raw("DELETE", member_path(address)).status == 204
    assert chimp.get(member_path(address))["status"] == "archived"
    assert chimp.send("POST", f"/lists/{LIST}/members", body)[1]["status"] == "subscribed"
    assert chimp.send("POST", f"/lists/{LIST}/members", body)[1]["title"] == "Member Exists"
    assert chimp.raw("POST", member_path(address) + "/actions/delete-permanent").status == 204
    assert chimp.raw("GET", member_path(address)).status == 404
    assert address not in {one["email"] for one in chimp.truth("members")}
    status, problem = chimp.send("PUT", member_path(address), body)
    assert (status, problem["title"]) == (400, "Forgotten Email")


def test_an_address_changes_the_hash_but_not_the_contact(chimp: Chimp) -> None:
    """After a change of address the old key is gone; contact_id and unique_email_id stay."""
    old, new = "before@example.com", "After@example.com"
    made = chimp.send("PUT", member_path(old), {"email_address": old, "status": "subscribed"})[1]
    moved = chimp.send("PATCH", member_path(old), {"email_address": new})[1]
    assert moved["id"] == hash_of(new) != made["id"]
    for name in ("contact_id", "unique_email_id"):
        assert moved[name] == made[name]
    assert chimp.raw("GET", member_path(old)).status == 404
    assert chimp.get(f"/lists/{LIST}/members/{made['contact_id']}")["id"] == moved["id"]


def test_batch_answers_200_with_errors(chimp: Chimp) -> None:
    """Some of a batch fail while the answer is 200; more than 500 are refused as a whole."""
    known = next(one["email"] for one in chimp.truth("members") if one["status"] == "subscribed")
    rows = [
        {"email_address": "batch.one@example.com", "status": "subscribed"},
        {"email_address": known, "status": "subscribed"},
        {"email_address": "no address", "status": "subscribed"},
    ]
    status, first = chimp.send("POST", f"/lists/{LIST}", {"members": rows})
    assert (status, first["total_created"], first["error_count"]) == (200, 1, 2)
    codes = {one["email_address"]: one["error_code"] for one in first["errors"]}
    assert codes == {known: "ERROR_CONTACT_EXISTS", "no address": "ERROR_GENERIC"}
    again = chimp.send("POST", f"/lists/{LIST}", {"members": rows, "update_existing": True})[1]
    assert (again["total_updated"], again["error_count"]) == (2, 1)
    assert chimp.send("POST", f"/lists/{LIST}", {"members": rows * 200})[0] == 400


def test_bodies_that_cannot_be_are_refused(chimp: Chimp) -> None:
    """A wrong birthday, a time that is none, a list for an object: 400, and nothing is written."""
    address = "wrong.body@example.com"
    body = {"email_address": address, "status": "subscribed"}
    for wrong in (
        {**body, "merge_fields": {"BIRTHDAY": "30/02"}},
        {**body, "timestamp_opt": "soon"},
        {**body, "status": "friend"},
        [body],
    ):
        assert chimp.send("PUT", member_path(address), wrong)[0] == 400
    assert chimp.send("POST", f"/lists/{LIST}", {"members": ["x"]})[0] == 400
    assert chimp.raw("GET", member_path(address)).status == 404


def test_too_many_sign_ups_is_a_400(chimp: Chimp) -> None:
    """The throttled 400 names no throttle: only its words tell."""
    chimp.server.fault("recent_signups", system="mailchimp")
    body = {"email_address": "busy@example.com", "status": "subscribed"}
    status, problem = chimp.send("PUT", member_path("busy@example.com"), body)
    assert status == 400 and "signed up to a lot of lists very recently" in problem["detail"]
    assert chimp.send("PUT", member_path("busy@example.com"), body)[0] == 200


def test_tags_are_set_by_name(chimp: Chimp) -> None:
    """POST tags answers 204, makes new tags, moves last_changed only when something changed."""
    address = "tagged@example.com"
    chimp.send("PUT", member_path(address), {"email_address": address, "status": "subscribed"})
    tags = [{"name": "Brand new", "status": "active"}, {"name": "VIP", "status": "inactive"}]
    assert chimp.send("POST", member_path(address) + "/tags", {"tags": tags}) == (204, None)
    found = chimp.get(member_path(address) + "/tags")
    assert [one["name"] for one in found["tags"]] == ["Brand new"]
    before = chimp.get(member_path(address))["last_changed"]
    chimp.server.set_clock(clock.now() + timedelta(minutes=1))
    chimp.send("POST", member_path(address) + "/tags", {"tags": tags})
    assert chimp.get(member_path(address))["last_changed"] == before


def test_static_segment_is_written_in_batches(chimp: Chimp) -> None:
    """Add and remove answer 200 with what was done and the addresses that could not be."""
    chosen = [one for one in chimp.truth("members") if one["status"] == "subscribed"][:3]
    emails = [one["email"] for one in chosen]
    body = {"name": f"Pushed {clock.now():%s}", "static_segment": []}
    status, made = chimp.send("POST", f"/lists/{LIST}/segments", body)
    path = f"/lists/{LIST}/segments/{made['id']}"
    assert status == 200 and made["type"] == "static" and made["member_count"] == 0
    wanted = {"members_to_add": [*emails, "nobody@example.com"], "members_to_remove": []}
    status, done = chimp.send("POST", path, wanted)
    assert (status, done["total_added"], done["error_count"]) == (200, 3, 1)
    assert done["errors"][0]["email_addresses"] == ["nobody@example.com"]
    for result in ((1, 0), (0, 1)):
        done = chimp.send("POST", path, {"members_to_remove": emails[:1]})[1]
        assert (done["total_removed"], done["error_count"]) == result
    assert {one["id"] for one in chimp.get(path + "/members")["members"]} == {
        one["id"] for one in chosen[1:]
    }
    assert chimp.send("POST", path, {"members_to_add": emails * 200})[0] == 400
    assert chimp.raw("DELETE", path).status == 204


def test_a_journey_is_triggered(chimp: Chimp) -> None:
    """Subscribed contacts go on (204); others and unknown steps are refused."""
    path = "/customer-journeys/journeys/2001/steps/31001/actions/trigger"
    email = next(one["email"] for one in chimp.truth("members") if one["status"] == "subscribed")
    assert chimp.send("POST", path, {"email_address": email}) == (204, None)
    assert chimp.send("POST", path, {"email_address": "nobody@example.com"})[0] == 400
    assert chimp.send("POST", path.replace("31001", "1"), {"email_address": email})[0] == 404


def test_a_batch_is_worked_off_later(chimp: Chimp) -> None:
    """Pending first, finished when its time came; the results' URL lasts ten minutes."""
    chimp.configure(batch_delay_seconds=60)
    member = {"email_address": "in.batch@example.com", "status": "subscribed"}
    operations = [
        {"method": "PUT", "path": member_path("in.batch@example.com"), "body": json.dumps(member)},
        {"method": "GET", "path": "lists/unknown", "operation_id": "second"},
    ]
    made = chimp.send("POST", "/batches", {"operations": operations})[1]
    assert chimp.get(f"/batches/{made['id']}")["status"] == "pending"
    chimp.server.set_clock(clock.now() + timedelta(minutes=2))
    done = chimp.get(f"/batches/{made['id']}")
    assert (done["status"], done["errored_operations"]) == ("finished", 1)
    packed = chimp.server.http.request("GET", done["response_body_url"]).data
    with tarfile.open(fileobj=io.BytesIO(packed), mode="r:gz") as tar:
        file = tar.extractfile(tar.getmembers()[0])
        assert file is not None
        rows = json.loads(file.read())
    assert [one["status_code"] for one in rows] == [200, 404]
    assert rows[1]["operation_id"] == "second" and json.loads(rows[1]["response"])["status"] == 404
    chimp.server.set_clock(clock.now() + timedelta(minutes=11))
    assert chimp.server.http.request("GET", done["response_body_url"]).status == 403


# -- life -----------------------------------------------------------------------------------------


def test_life_goes_on_with_the_clock(chimp: Chimp) -> None:
    """About ten changes an hour, the same for whoever looks, and none before their time."""
    before = {one["contact_id"]: one for one in chimp.truth("members")}
    now = clock.now()
    chimp.server.set_clock(now + timedelta(hours=12))
    after = {one["contact_id"]: one for one in chimp.truth("members")}
    changed = [key for key in after if after[key] != before.get(key)]
    assert 60 <= len(changed) <= 130
    chimp.server.set_clock(now)
    assert {one["contact_id"]: one for one in chimp.truth("members")} == before


def test_an_account_is_the_same_however_it_is_looked_at(
    sandbox_at: SandboxServer, tmp_path: Path
) -> None:
    """Looked at once, hour by hour, or opened again: the members are the same."""
    shop = sandbox_at.clock_file.parent / "shop.sqlite"
    world = World(shop, lambda: "", Faults())
    noon = clock.now()

    def members(folder: str) -> list[Any]:
        (tmp_path / folder).mkdir(exist_ok=True)
        account = Account(tmp_path / folder, world, Faults())
        return list(truth.STREAMS["members"](Call(account, account.now(), "GET", "/")))

    for hours in (-40, -25, -24, -7, 0):
        sandbox_at.set_clock(noon + timedelta(hours=hours))
        often = members("often")
    assert often == members("often") == members("once")


def test_a_write_in_the_past_lasts(chimp: Chimp) -> None:
    """After the clock was set back, what is written stays when the same hours pass again."""
    now = clock.now()
    chimp.server.set_clock(now + timedelta(days=3))
    later = {one["contact_id"]: one["last_changed"] for one in chimp.truth("members")}
    chimp.server.set_clock(now)
    earlier = {one["contact_id"]: one for one in chimp.truth("members")}
    moving = [
        one
        for key, one in earlier.items()
        if one["status"] != "archived" and later.get(key, "") > one["last_changed"]
    ]
    chosen = moving[:5]
    for one in chosen:
        tags = {"tags": [{"name": "Kept", "status": "active"}]}
        path = f"/lists/{LIST}/members/{one['contact_id']}/tags"
        assert chimp.send("POST", path, tags)[0] == 204
    chimp.server.set_clock(now + timedelta(days=3))
    found = {one["contact_id"]: one["tags"] for one in chimp.truth("members")}
    assert chosen and all("Kept" in found[one["contact_id"]] for one in chosen)


def test_thousands_of_members_at_once(chimp: Chimp) -> None:
    """A bulk insert for tests of load: 20,000 members, many of them within the same second."""
    made = chimp.change("insert", kind="audience", name="Load")["id"]
    assert chimp.change("bulk", list_id=made, count=20_000)["count"] == 20_000
    query = {"count": 1000, "offset": 19_000, "sort_field": "last_changed"}
    page = chimp.get(f"/lists/{made}/members", **query)
    assert page["total_items"] == 20_000 and len(page["members"]) == 1000
    times = Counter(one["last_changed"] for one in page["members"])
    assert max(times.values()) == 50


# -- limits and misbehaviour ----------------------------------------------------------------------


def test_logins(chimp: Chimp) -> None:
    """Basic any:key and Bearer work; a wrong key is 401, one of another data centre 403."""
    url = f"{chimp.server.base_url}/mailchimp/3.0/ping"
    for given, status in (
        (urllib3.make_headers(basic_auth="x:sandbox-us1"), 200),
        ({"Authorization": "Bearer sandbox-token"}, 200),
        (urllib3.make_headers(basic_auth="x:wrong-us1"), 401),
        (urllib3.make_headers(basic_auth="x:sandbox-us2"), 403),
        ({}, 401),
    ):
        assert chimp.server.http.request("GET", url, headers=given).status == status


def test_eleventh_connection_is_refused(chimp: Chimp) -> None:
    """Of eleven simultaneous calls one is answered 429, without Retry-After."""
    chimp.configure(delay_seconds=0.3)
    http = urllib3.PoolManager(maxsize=11, block=False)
    headers = urllib3.make_headers(basic_auth="x:sandbox-us1")
    url = f"{chimp.server.base_url}/mailchimp/3.0/ping"
    with concurrent.futures.ThreadPoolExecutor(11) as pool:
        answers = list(pool.map(lambda _: http.request("GET", url, headers=headers), range(11)))
    assert sorted(one.status for one in answers) == [200] * 10 + [429]
    refused = next(one for one in answers if one.status == 429)
    assert "retry-after" not in refused.headers
    assert refused.json()["title"] == "Too Many Requests"


@pytest.mark.parametrize("status", [403, 429])
def test_the_edge_answers_html(chimp: Chimp, status: int) -> None:
    """The edge's refusals are no JSON and have no request id."""
    chimp.server.fault(f"html{status}", system="mailchimp", match="/lists")
    assert chimp.raw("GET", "/ping").status == 200
    answer = chimp.raw("GET", "/lists")
    assert answer.status == status and answer.headers["content-type"].startswith("text/html")
    assert "x-request-id" not in answer.headers


def test_spoiled_answers(chimp: Chimp) -> None:
    """Truncated JSON, NaN, bytes that are no UTF-8, a huge record, the page before again."""
    path = f"/lists/{LIST}/members"
    whole = chimp.raw("GET", path).data
    for kind in ("bad_json", "nan", "bad_utf8", "huge_record", "repeat_page"):
        chimp.server.fault(kind, system="mailchimp", bytes=1_000_000)
    assert chimp.raw("GET", path, offset=10).data == whole
    assert chimp.raw("GET", path).data == whole[: len(whole) // 2]
    assert b":NaN" in chimp.raw("GET", path).data
    with pytest.raises(UnicodeDecodeError):
        chimp.raw("GET", path).data.decode()
    assert len(chimp.raw("GET", path).data) > 1_000_000
    assert chimp.raw("GET", path).data == whole


def test_broken_connections(chimp: Chimp) -> None:
    """A dropped connection, a redirect to another host, a status on demand, then all is well."""
    chimp.server.fault("drop_connection", system="mailchimp")
    with pytest.raises(urllib3.exceptions.HTTPError):
        chimp.raw("GET", "/ping")
    chimp.server.fault("redirect", system="mailchimp")
    answer = chimp.raw("GET", "/ping")
    assert answer.status == 302 and "elsewhere" in answer.headers["location"]
    chimp.server.fault("status", system="mailchimp", status=503)
    answer = chimp.raw("GET", "/ping")
    assert answer.status == 503 and answer.json()["status"] == 503
    assert chimp.raw("GET", "/ping").status == 200


def test_requests_are_noted_without_anybody(chimp: Chimp) -> None:
    """The list of requests shows templates of paths: no hash, no address."""
    address = "noted@example.com"
    chimp.send("PUT", member_path(address), {"email_address": address, "status": "subscribed"})
    chimp.raw("GET", f"/lists/{LIST}/members", count=3, unique_email_id="abc")
    found = chimp.server.requests("mailchimp")[-2:]
    assert found[0]["path"] == "/lists/{}/members/{}" and found[0]["method"] == "PUT"
    assert found[1]["query"] == {"count": "3"}
    assert hash_of(address) not in json.dumps(found)
