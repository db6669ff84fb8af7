"""The official hubspot-api-client package reads from and writes to the sandbox."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import hubspot
import pytest
from hubspot.crm import contacts, lists
from hubspot.crm.associations import v4
from hubspot.crm.contacts.exceptions import ApiException
from hubspot.crm.objects import tasks

from marketing_ops import clock
from tests.sandbox_fixtures import HUBSPOT_TOKEN, SandboxServer


@pytest.fixture
def official(sandbox_at: SandboxServer) -> Iterator[Any]:
    """The package's client; only the host is turned to loopback."""
    settings = {"burst": 10_000, "search_per_second": 1_000}
    sandbox_at.call("POST", "/_sandbox/hubspot/settings", settings)
    client = hubspot.Client.create(access_token=HUBSPOT_TOKEN)
    client.config["host"] = sandbox_at.hubspot_url
    yield client


def make(official: Any, **properties: str) -> str:
    """A new contact; returns its id."""
    given = contacts.SimplePublicObjectInputForCreate(properties=properties, associations=[])
    found = official.crm.contacts.basic_api.create(simple_public_object_input_for_create=given)
    return str(found.id)


def test_reads_pages(official: Any, sandbox_at: SandboxServer) -> None:
    """`get_page` and `get_all` give the portal's own records."""
    truth = [one["id"] for one in sandbox_at.facts("hubspot", "contacts")]
    page = official.crm.contacts.basic_api.get_page(limit=10, properties=["email"])
    assert [one.id for one in page.results] == truth[:10]
    assert [one.id for one in official.crm.contacts.get_all()] == truth


def test_searches(official: Any) -> None:
    """A search request with filters, sorts and a page."""
    key = make(official, email="sdk.search@example.com")
    one = contacts.Filter(property_name="email", operator="EQ", value="sdk.search@example.com")
    request = contacts.PublicObjectSearchRequest(
        filter_groups=[contacts.FilterGroup(filters=[one])], sorts=["lastmodifieddate"], limit=5
    )
    found = official.crm.contacts.search_api.do_search(public_object_search_request=request)
    assert (found.total, found.results[0].id) == (1, key)


def test_batches(official: Any) -> None:
    """Read and upsert; an input that is refused comes with status 207 beside the others."""
    key = make(official, email="sdk.batch@example.com")
    api = official.crm.contacts.batch_api
    read = contacts.BatchReadInputSimplePublicObjectId(
        inputs=[{"id": key}], properties=["email"], properties_with_history=[]
    )
    assert api.read(batch_read_input_simple_public_object_id=read).results[0].id == key
    inputs = [
        {"id": "sdk.new@example.com", "idProperty": "email", "properties": {"city": "X"}},
        {"id": "sdk.bad@example.com", "idProperty": "email", "properties": {"nope": "X"}},
    ]
    body = contacts.BatchInputSimplePublicObjectBatchInputUpsert(inputs=inputs)
    found, status, _ = api.upsert_with_http_info(
        batch_input_simple_public_object_batch_input_upsert=body
    )
    assert (status, found.num_errors, found.results[0].new) == (207, 1, True)


def test_merges_and_archives(official: Any, sandbox_at: SandboxServer) -> None:
    """A merge answers with a new id; the archived one raises the package's own error."""
    one, two = make(official, email="sdk.a@example.com"), make(official, email="sdk.b@example.com")
    sandbox_at.set_clock(clock.now() + timedelta(minutes=1))
    body = contacts.PublicMergeInput(primary_object_id=one, object_id_to_merge=two)
    merged = official.crm.contacts.basic_api.merge(public_merge_input=body)
    assert merged.id not in (one, two)
    official.crm.contacts.basic_api.archive(contact_id=merged.id)
    for key in (one, two, merged.id):
        with pytest.raises(ApiException) as caught:
            official.crm.contacts.basic_api.get_by_id(contact_id=key)
        assert caught.value.status == 404


def test_deals_owners_pipelines(official: Any) -> None:
    """Deals with history, owners and the stages of the pipeline."""
    api = official.crm.deals.basic_api
    deal = api.get_page(limit=1, properties_with_history=["dealstage"]).results[0]
    assert deal.properties_with_history["dealstage"][0].value == deal.properties["dealstage"]
    owners = official.crm.owners.owners_api.get_page().results
    assert owners[0].email.endswith("@example.com")
    (pipeline,) = official.crm.pipelines.pipelines_api.get_all("deals").results
    assert [stage.label for stage in pipeline.stages][-2:] == ["Won", "Lost"]


def test_lists(official: Any) -> None:
    """Lists are searched; members are read, added and removed."""
    search = lists.ListSearchRequest(query="Call list", offset=0, processing_types=[], list_ids=[])
    (found,) = official.crm.lists.lists_api.do_search(list_search_request=search).lists
    key = make(official, email="sdk.member@example.com")
    api = official.crm.lists.memberships_api
    assert api.add(found.list_id, request_body=[key]).records_ids_added == [key]
    assert key in [one.record_id for one in api.get_page(found.list_id, limit=250).results]
    change = lists.MembershipChangeRequest(record_ids_to_add=[], record_ids_to_remove=[key])
    answer = api.add_and_remove(found.list_id, membership_change_request=change)
    assert answer.record_ids_removed == [key]


def test_tasks_and_associations(official: Any) -> None:
    """A task is made with its contact; the association is read from its side."""
    key = make(official, email="sdk.task@example.com")
    types = [{"associationCategory": "HUBSPOT_DEFINED", "associationTypeId": 204}]
    given = tasks.SimplePublicObjectInputForCreate(
        properties={"hs_timestamp": clock.now().isoformat(), "hs_task_subject": "Call"},
        associations=[{"to": {"id": key}, "types": types}],
    )
    task = official.crm.objects.tasks.basic_api.create(simple_public_object_input_for_create=given)
    body = v4.BatchInputPublicFetchAssociationsBatchRequest(inputs=[{"id": task.id}])
    found = official.crm.associations.v4.batch_api.get_page(
        from_object_type="tasks",
        to_object_type="contacts",
        batch_input_public_fetch_associations_batch_request=body,
    )
    assert str(found.results[0].to[0].to_object_id) == key


def test_consent_statuses(official: Any) -> None:
    """Somebody unsubscribes and the status is read back."""
    preferences = official.communication_preferences
    body = {"emailAddress": "sdk.consent@example.com", "subscriptionId": "501"}
    preferences.status_api.unsubscribe(public_update_subscription_status_request=body)
    found = preferences.status_api.get_email_status(email_address="sdk.consent@example.com")
    assert [one.status for one in found.subscription_statuses] == ["NOT_SUBSCRIBED"]
    assert len(preferences.definition_api.get_page().subscription_definitions) == 2


def test_limits_and_tokens_raise(official: Any, sandbox_at: SandboxServer) -> None:
    """429 and 401 are the package's ApiException, with HubSpot's body."""
    sandbox_at.fault("throttle", system="hubspot")
    with pytest.raises(ApiException) as caught:
        official.crm.contacts.basic_api.get_page(limit=1)
    assert caught.value.status == 429 and "TEN_SECONDLY_ROLLING" in caught.value.body
    official.config["access_token"] = "nobody's"
    with pytest.raises(ApiException) as caught:
        official.crm.contacts.basic_api.get_page(limit=1)
    assert caught.value.status == 401


def test_refreshes_tokens(official: Any) -> None:
    """The OAuth endpoint gives a token that works."""
    token = official.oauth.tokens_api.create(
        grant_type="refresh_token",
        client_id="hubspot-client",
        client_secret="hubspot-secret",
        refresh_token="hubspot-refresh",
    )
    official.config["access_token"] = token.access_token
    assert token.expires_in == 1800
    assert official.crm.contacts.basic_api.get_page(limit=1).results
