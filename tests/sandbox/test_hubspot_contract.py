"""Every answer of the simulated HubSpot fits the schema of HubSpot's own OpenAPI documents."""

from __future__ import annotations

import json
from datetime import timedelta
from typing import Any

import pytest

from marketing_ops import clock
from tests.sandbox import hubspot_specs
from tests.sandbox.test_hubspot import Portal, _query
from tests.sandbox_fixtures import SandboxServer

OBJECTS, ASSOCIATIONS = "/crm/objects/2026-03", "/crm/associations/2026-03"
CONTACTS, DEALS, TASKS = f"{OBJECTS}/contacts", f"{OBJECTS}/0-3", f"{OBJECTS}/tasks"
LISTS, PREFERENCES = "/crm/lists/2026-03", "/communication-preferences/2026-03"


class Contract(Portal):
    """A caller that holds each answer against the documents."""

    def checked(self, method: str, path: str, body: Any = None, **query: Any) -> Any:
        """The JSON of an answer which fits its schema."""
        answer = self.ask(method, path, body, **query)
        found = json.loads(answer.data) if answer.data else None
        hubspot_specs.check(method, path, answer.status, found)
        assert answer.status < 500, (path + _query(query), found)
        return found


@pytest.fixture
def contract(sandbox_at: SandboxServer) -> Contract:
    """The portal at noon; skipped, or in CI failed, without the documents."""
    hubspot_specs.need_specs()
    found = Contract(sandbox_at)
    found.settings(burst=10_000, search_per_second=1_000)
    return found


def input_of(**properties: str) -> dict[str, Any]:
    """One input of a write, without associations."""
    return {"properties": properties, "associations": []}


def test_objects(contract: Contract) -> None:
    """List, read, write, search, batches, merge, archive and erase."""
    ask = contract.checked
    for path in (CONTACTS, f"{OBJECTS}/companies", DEALS):
        assert ask("GET", path, limit=5)["results"]
        assert ask("POST", f"{path}/search", {"limit": 3})["results"]
    history = {"propertiesWithHistory": "dealstage", "associations": "contacts"}
    assert ask("GET", DEALS, limit=5, **history)["results"]
    assert ask("GET", CONTACTS, limit=5, archived="true")["results"]
    key = ask("POST", CONTACTS, input_of(email="one@c.example"))["id"]
    contract.server.set_clock(clock.now() + timedelta(minutes=1))
    ask("PATCH", f"{CONTACTS}/{key}", {"properties": {"firstname": "C"}})
    assert ask("GET", f"{CONTACTS}/{key}", properties="firstname,city")["id"] == key
    made = [input_of(email=f"{n}@c.example") for n in range(3)]
    other = ask("POST", f"{CONTACTS}/batch/create", {"inputs": made})["results"][0]["id"]
    body = {"id": other, "properties": {"city": "X"}, "objectWriteTraceId": "t"}
    wrong = {"id": "1", "properties": {"city": "X"}, "objectWriteTraceId": "u"}
    assert ask("POST", f"{CONTACTS}/batch/update", {"inputs": [body, wrong]})["numErrors"] == 1
    upsert = {"id": "3@c.example", "idProperty": "email", "properties": {"city": "Y"}}
    assert ask("POST", f"{CONTACTS}/batch/upsert", {"inputs": [upsert]})["results"][0]["new"]
    read = {"inputs": [{"id": key}], "properties": ["email"], "propertiesWithHistory": ["email"]}
    assert ask("POST", f"{CONTACTS}/batch/read", read)["results"]
    ask("POST", f"{CONTACTS}/merge", {"primaryObjectId": key, "objectIdToMerge": other})
    ask("POST", f"{CONTACTS}/gdpr-delete", {"objectId": "3@c.example", "idProperty": "email"})
    ask("POST", f"{CONTACTS}/batch/archive", {"inputs": [{"id": "1"}]})
    ask("DELETE", f"{CONTACTS}/1")


def test_refusals(contract: Contract) -> None:
    """Errors too have the shape of the documents."""
    ask = contract.checked
    assert ask("GET", f"{CONTACTS}/1")["category"] == "OBJECT_NOT_FOUND"
    assert ask("POST", CONTACTS, input_of(nothing="x"))["category"] == "VALIDATION_ERROR"
    contract.settings(missing_scopes=["crm.objects.contacts.read"])
    assert ask("GET", CONTACTS)["category"] == "MISSING_SCOPES"
    contract.server.fault("daily", system="hubspot")
    assert ask("GET", DEALS)["policyName"] == "DAILY"


def test_tasks_and_associations(contract: Contract) -> None:
    """Tasks with associations; batches of links."""
    ask = contract.checked
    (contact,) = ask("GET", CONTACTS, limit=1)["results"]
    types = [{"associationCategory": "HUBSPOT_DEFINED", "associationTypeId": 204}]
    task = {
        "properties": {"hs_timestamp": clock.now().isoformat(), "hs_task_subject": "Call"},
        "associations": [{"to": {"id": contact["id"]}, "types": types}],
    }
    key = ask("POST", TASKS, task)["id"]
    pair = {"from": {"id": key}, "to": {"id": contact["id"]}, "types": types}
    path = f"{ASSOCIATIONS}/tasks/contacts/batch"
    ask("POST", f"{path}/create", {"inputs": [pair]})
    (found,) = ask("POST", f"{path}/read", {"inputs": [{"id": key}]})["results"]
    assert found["to"][0]["toObjectId"] == contact["id"]
    assert ask("GET", f"{CONTACTS}/{contact['id']}/associations/tasks")["results"]
    gone = {"from": {"id": key}, "to": [{"id": contact["id"]}]}
    ask("POST", f"{path}/archive", {"inputs": [gone]})
    assert ask("POST", f"{path}/read", {"inputs": [{"id": key}]})["results"] == []


def test_lists(contract: Contract) -> None:
    """Search, read and make lists; their members in both orders; the three ways to set them."""
    ask = contract.checked
    assert ask("POST", f"{LISTS}/search", {"offset": 0, "count": 2})["hasMore"]
    made = {"name": "Contract", "objectTypeId": "0-1", "processingType": "MANUAL"}
    key = ask("POST", LISTS, made)["list"]["listId"]
    assert ask("GET", f"{LISTS}/{key}")["list"]["size"] == 0
    assert ask("GET", LISTS, listIds=key)["lists"]
    contact = ask("GET", CONTACTS, limit=1)["results"][0]["id"]
    path = f"{LISTS}/{key}/memberships"
    ask("PUT", f"{path}/add", [contact])
    assert ask("GET", path)["results"] == ask("GET", f"{path}/join-order")["results"]
    assert ask("GET", f"{LISTS}/records/0-1/{contact}/memberships")["results"]
    ask("PUT", f"{path}/add-and-remove", {"recordIdsToAdd": [contact], "recordIdsToRemove": []})
    assert ask("PUT", f"{path}/remove", [contact])["recordIdsRemoved"] == [contact]


def test_owners_pipelines_properties(contract: Contract) -> None:
    """What describes the objects."""
    ask = contract.checked
    (owner, *_) = ask("GET", "/crm/owners/2026-03")["results"]
    assert ask("GET", f"/crm/owners/2026-03/{owner['id']}")["email"].endswith("@example.com")
    assert len(ask("GET", "/crm/owners/2026-03", archived="true")["results"]) == 1
    (pipeline,) = ask("GET", "/crm/pipelines/2026-03/deals")["results"]
    assert len(ask("GET", f"/crm/pipelines/2026-03/deals/{pipeline['id']}")["stages"]) == 4
    assert ask("GET", f"/crm/pipelines/2026-03/deals/{pipeline['id']}/stages")["results"]
    assert ask("GET", "/crm/properties/2026-03/contacts")["results"]


def test_consents(contract: Contract) -> None:
    """Definitions; statuses of one, of several; set, and everything off."""
    ask = contract.checked
    assert ask("GET", f"{PREFERENCES}/definitions")["results"]
    path = f"{PREFERENCES}/statuses/c@c.example"
    given = {
        "subscriptionId": 501,
        "statusState": "SUBSCRIBED",
        "channel": "EMAIL",
        "legalBasis": "CONSENT_WITH_NOTICE",
        "legalBasisExplanation": "asked on the phone",
    }
    assert ask("POST", path, given)["results"][0]["status"] == "SUBSCRIBED"
    assert len(ask("GET", path, channel="EMAIL")["results"]) == 2
    several = {"inputs": ["c@c.example"], "channel": "EMAIL"}
    assert ask("POST", f"{PREFERENCES}/statuses/batch/read", several)["results"]
    each = {"inputs": [{**given, "subscriberIdString": "c@c.example"}]}
    assert ask("POST", f"{PREFERENCES}/statuses/batch/write", each)["results"]
    ask("POST", f"{path}/unsubscribe-all", channel="EMAIL")
    assert {one["status"] for one in ask("GET", path, channel="EMAIL")["results"]} == {
        "UNSUBSCRIBED"
    }


def test_marketing(contract: Contract) -> None:
    """Marketing e-mails, their figures, a single send."""
    ask = contract.checked
    assert ask("GET", "/marketing/emails/2026-03", includeStats="true")["results"]
    assert ask("GET", "/marketing/emails/2026-03/statistics/list")["emails"]
    send = {"emailId": 1, "message": {"to": "c@c.example", "sendId": "contract"}}
    path = "/marketing/transactional/2026-03/single-email/send"
    assert [ask("POST", path, send)["status"] for _ in range(2)] == ["PENDING", "COMPLETE"]
