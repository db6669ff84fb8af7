"""What is true in the portal, in plain facts: what a complete sync must have found."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

from sandbox.hubspot import KEPT, objects, properties
from sandbox.hubspot.consents import SUBSCRIPTIONS
from sandbox.hubspot.crm import Crm
from sandbox.hubspot.pipeline import PIPELINE, STAGES
from sandbox.hubspot.values import iso

Facts = Iterator[dict[str, Any]]


def streams() -> dict[str, Callable[[Crm, int], Facts]]:
    """The streams by name."""
    found: dict[str, Callable[[Crm, int], Facts]] = {}
    for kind in KEPT:
        found[kind] = partial(_objects, kind)
        found[f"{objects.properties_singular(kind)}_deletions"] = partial(_deletions, kind)
    return {**found, **_OTHERS}


def _objects(kind: str, crm: Crm, now: int) -> Facts:
    for one in crm.view(kind, now).by_id:
        values = one.document["properties"]
        facts = {
            "id": one.key,
            "created_at": values[properties.created(kind)],
            "updated_at": values[properties.modified(kind)],
            "merged_ids": [i for i in values.get("hs_merged_object_ids", "").split(";") if i],
            "properties": values,
            "links": {other: keys for other, keys in one.document["links"].items() if keys},
        }
        yield facts


def _deletions(kind: str, crm: Crm, now: int) -> Facts:
    for one in crm.archived(kind, now):
        yield {"id": one.key, "deleted_at": iso(one.at)}


def _deal_stages(crm: Crm, now: int) -> Facts:
    for one in crm.view("deals", now).by_id:
        history = crm.records.history("deals", one.key, now)
        for change in objects.changes(history, "dealstage")[::-1]:
            facts = {"stage_id": change["value"], "entered_at": change["timestamp"]}
            yield {"deal_id": one.key, **facts}


def _stages(_crm: Crm, _now: int) -> Facts:
    for stage in STAGES.values():
        yield {
            "id": stage.id,
            "pipeline_id": PIPELINE,
            "name": stage.label,
            "position": stage.order,
            "probability": stage.probability,
            "is_closed": stage.is_closed,
        }


def _pipelines(_crm: Crm, _now: int) -> Facts:
    yield {"id": PIPELINE, "name": "Sales"}


def _owners(crm: Crm, now: int) -> Facts:
    for is_active, rows in (
        (True, crm.records.all("owner", now)),
        (False, crm.records.gone("owner", now)),
    ):
        for one in rows:
            names = ("email", "firstName", "lastName", "team")
            facts = {name: one.document[name] for name in names}
            yield {"id": one.key, **facts, "is_active": is_active}


def _lists(crm: Crm, now: int) -> Facts:
    for one in crm.records.all("list", now):
        size = len(crm.records.all(f"member:{one.key}", now))
        name, kind = one.document["name"], one.document["processingType"]
        yield {"id": one.key, "name": name, "kind": kind, "size": size}


def _list_members(crm: Crm, now: int) -> Facts:
    for one in crm.records.all("list", now):
        for member in crm.records.all(f"member:{one.key}", now):
            at = iso(member.document["at"])
            facts = {"list_id": one.key, "kind": one.document["processingType"]}
            yield {**facts, "contact_id": member.key, "added_at": at}


def _consents(crm: Crm, now: int) -> Facts:
    """Statuses that contacts which are visible have said; silence is not among them."""
    for one in crm.view("contacts", now).by_id:
        email = one.document["properties"].get("email")
        for key in SUBSCRIPTIONS if email else ():
            found = crm.records.get("consent", f"{email.lower()}|{key}", now)
            if found is not None:
                said = found.document
                facts = {"status": said["status"], "changed_at": iso(said["at"])}
                yield {"email": email, "subscription_id": key, "contact_id": one.key, **facts}


def _email_events(crm: Crm, now: int) -> Facts:
    for one in crm.records.all("email_event", now):
        event = one.document
        yield {
            "id": event["id"],
            "created": event["created"],
            "type": event["type"],
            "recipient": event["recipient"],
            "campaign": event["emailCampaignId"],
            "is_machine": bool(event.get("is_machine")),
        }


def _merges(crm: Crm, now: int) -> Facts:
    for one in crm.records.all("merged", now):
        kind, _, key = one.key.partition(":")
        if one.document["into"] is not None:
            at = iso(one.at)
            yield {"id": key, "kind": kind, "into_id": one.document["into"], "merged_at": at}


_OTHERS: dict[str, Callable[[Crm, int], Facts]] = {
    "deal_stages": _deal_stages,
    "stages": _stages,
    "pipelines": _pipelines,
    "owners": _owners,
    "lists": _lists,
    "list_members": _list_members,
    "consents": _consents,
    "email_events": _email_events,
    "merges": _merges,
}
