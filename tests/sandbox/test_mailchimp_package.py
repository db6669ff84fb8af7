"""The official mailchimp_marketing package works against the sandbox, only its address changed."""

from __future__ import annotations

import hashlib
import json
from typing import Any

import mailchimp_marketing
import pytest
from mailchimp_marketing.api_client import ApiClientError

from tests.sandbox.test_mailchimp import LIST, Chimp, chimp

__all__ = ["chimp"]


@pytest.fixture
def official(chimp: Chimp) -> Any:
    """The package's client, its host turned to loopback."""
    client = mailchimp_marketing.Client({"api_key": "sandbox-us1"})
    client.api_client.host = f"{chimp.server.base_url}/mailchimp/3.0"
    return client


def test_reads(official: Any, chimp: Chimp) -> None:
    """Ping, account, audiences and members are those of the truth."""
    assert official.ping.get() == {"health_status": "Everything's Chimpy!"}
    assert official.root.get_root()["account_id"]
    lists = official.lists.get_all_lists()["lists"]
    assert LIST in {one["id"] for one in lists}
    truth = {one["id"]: one["status"] for one in chimp.truth("members")}
    page = official.lists.get_list_members_info(LIST, count=50, status="unsubscribed")
    assert page["members"]
    assert all(truth[one["id"]] == "unsubscribed" for one in page["members"])
    expected = sum(1 for status in truth.values() if status == "unsubscribed")
    assert page["total_items"] == expected


def test_writes_a_member(official: Any) -> None:
    """Upsert, tag, archive."""
    address = "official@example.com"
    key = hashlib.md5(address.encode(), usedforsecurity=False).hexdigest()
    body = {"email_address": address, "status_if_new": "subscribed"}
    made = official.lists.set_list_member(LIST, key, body)
    assert (made["id"], made["status"]) == (key, "subscribed")
    tags = {"tags": [{"name": "Official", "status": "active"}]}
    assert official.lists.update_list_member_tags(LIST, key, tags).status_code == 204
    assert official.lists.get_list_member_tags(LIST, key)["tags"][0]["name"] == "Official"
    assert official.lists.delete_list_member(LIST, key).status_code == 204
    assert official.lists.get_list_member(LIST, key)["status"] == "archived"


def test_batches_and_segments(official: Any) -> None:
    """Members in a batch with one error; a static segment filled and listed."""
    rows = [
        {"email_address": "official.batch@example.com", "status": "subscribed"},
        {"email_address": "wrong", "status": "subscribed"},
    ]
    done = official.lists.batch_list_members(LIST, {"members": rows, "update_existing": True})
    assert done["error_count"] == 1
    body = {"name": "Official segment", "static_segment": ["official.batch@example.com"]}
    segment = official.lists.create_segment(LIST, body)
    found = official.lists.get_segment_members_list(LIST, str(segment["id"]))
    assert [one["email_address"] for one in found["members"]] == ["official.batch@example.com"]
    change = {"members_to_remove": ["official.batch@example.com"]}
    removed = official.lists.batch_segment_members(change, LIST, str(segment["id"]))
    assert removed["total_removed"] == 1


def test_campaigns_and_reports(official: Any) -> None:
    """A campaign's report, its recipients, opens, clicks and unsubscribes."""
    campaigns = official.campaigns.list(status="sent", sort_field="send_time", sort_dir="ASC")
    key = campaigns["campaigns"][0]["id"]
    report = official.reports.get_campaign_report(key)
    assert official.reports.get_campaign_recipients(key)["total_items"] == report["emails_sent"]
    opens = official.reports.get_campaign_open_details(key)
    assert opens["total_opens"] == report["opens"]["opens_total"]
    assert official.reports.get_email_activity_for_campaign(key)["emails"]
    assert official.reports.get_campaign_click_details(key)["urls_clicked"]
    gone = official.reports.get_unsubscribed_list_for_campaign(key)
    assert gone["total_items"] == report["unsubscribed"]
    assert official.automations.list()["total_items"] == 1


def test_errors_are_the_packages(official: Any) -> None:
    """A refusal is an ApiClientError with the status and the problem document as its text."""
    with pytest.raises(ApiClientError) as caught:
        official.lists.get_list("unknown")
    assert caught.value.status_code == 404
    assert json.loads(caught.value.text)["title"] == "Resource Not Found"
