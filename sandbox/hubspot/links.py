"""Associations between objects, in batches and one by one."""

from __future__ import annotations

from typing import Any

from sandbox.hubspot import KEPT, properties
from sandbox.hubspot.answers import Answer, Ask, RefusedError, not_found
from sandbox.hubspot.batches import finished
from sandbox.hubspot.objects import kind_of
from sandbox.hubspot.values import iso

PAGE = 500


def read(ask: Ask, mine: str, other: str) -> Answer:
    """`POST /crm/associations/{from}/{to}/batch/read`: objects without any are left out."""
    kind, to = _kinds(mine, other)
    results, missing = [], []
    for one in ask.inputs(1000):
        key = str(one["id"])
        keys = ask.crm.linked(kind, key, to, ask.now)
        if keys:
            found = {"from": {"id": key}, "to": [_target(kind, to, target) for target in keys]}
            results.append(found)
        elif ask.crm.get(kind, key, ask.now) is None:
            missing.append(key)
    errors = [
        {
            "status": "error",
            "category": "OBJECT_NOT_FOUND",
            "subCategory": "crm.associations.NO_ASSOCIATIONS_FOUND",
            "message": f"No {to} is associated with {kind} {key}.",
            "context": {"fromObjectId": [key], "fromObjectType": [kind], "toObjectType": [to]},
            "errors": [],
            "links": {},
        }
        for key in missing
    ]
    return finished(ask, results, errors)


def create(ask: Ask, mine: str, other: str) -> Answer:
    """`POST …/batch/create`, also `…/associate/default`."""
    kind, to = _kinds(mine, other)
    results = []
    for one in ask.inputs(2000):
        pair = str(one["from"]["id"]), str(one["to"]["id"])
        if not ask.crm.link(kind, pair[0], to, pair[1], ask.now, on=True):
            raise not_found(f"no {kind} or {to} of these ids")
        results.append(_pair(kind, to, *pair))
    return finished(ask, results, status=201)


def archive(ask: Ask, mine: str, other: str) -> Answer:
    """`POST …/batch/archive`."""
    kind, to = _kinds(mine, other)
    for one in ask.inputs(2000):
        for target in one["to"]:
            key = str(one["from"]["id"])
            ask.crm.link(kind, key, to, str(target["id"]), ask.now, on=False)
    return Answer(status=204)


def of_one(ask: Ask, mine: str, key: str, other: str) -> Answer:
    """`GET /crm/objects/{from}/{id}/associations/{to}`."""
    kind, to = _kinds(mine, other)
    if ask.crm.get(kind, key, ask.now) is None:
        raise not_found()
    limit, keys = ask.number("limit", PAGE, PAGE), ask.crm.linked(kind, key, to, ask.now)
    start = int(ask.query.get("after") or 0)
    body: dict[str, Any] = {
        "results": [_target(kind, to, one) for one in keys[start : start + limit]]
    }
    if start + limit < len(keys):
        body["paging"] = {"next": {"after": str(start + limit)}}
    return Answer(body)


def put_one(ask: Ask, mine: str, key: str, other: str, target: str) -> Answer:
    """`PUT /crm/objects/{from}/{id}/associations/{to}/{id}`, with types or the default one."""
    kind, to = _kinds(mine, other)
    if not ask.crm.link(kind, key, to, target, ask.now, on=True):
        raise not_found()
    if "/associations/default/" in ask.path:
        at = iso(ask.now)
        results = [
            {"from": {"id": key}, "to": {"id": target}, "associationSpec": _spec(kind, to)},
            {"from": {"id": target}, "to": {"id": key}, "associationSpec": _spec(to, kind)},
        ]
        more = {"status": "COMPLETE", "startedAt": at, "completedAt": at}
        return Answer({**more, "results": results})
    return Answer(_pair(kind, to, key, target), 201)


def remove_one(ask: Ask, mine: str, key: str, other: str, target: str) -> Answer:
    """`DELETE /crm/objects/{from}/{id}/associations/{to}/{id}`."""
    kind, to = _kinds(mine, other)
    ask.crm.link(kind, key, to, target, ask.now, on=False)
    return Answer(status=204)


def _kinds(mine: str, other: str) -> tuple[str, str]:
    kind, to = kind_of(mine), kind_of(other)
    if KEPT.index(kind) == KEPT.index(to) or (kind, to) not in properties.LINKS:
        raise RefusedError(400, f"No association type from {mine} to {other}")
    return kind, to


def _spec(kind: str, to: str) -> dict[str, Any]:
    type_id = properties.LINKS[kind, to]
    return {"associationCategory": "HUBSPOT_DEFINED", "associationTypeId": type_id}


def _target(kind: str, to: str, key: str) -> dict[str, Any]:
    spec = {
        "category": "HUBSPOT_DEFINED",
        "typeId": properties.LINKS[kind, to],
        "label": "Primary" if "companies" in (kind, to) else None,
    }
    return {"toObjectId": key, "associationTypes": [spec]}


def _pair(kind: str, to: str, key: str, target: str) -> dict[str, Any]:
    return {
        "fromObjectTypeId": properties.TYPE_IDS[kind],
        "fromObjectId": key,
        "toObjectTypeId": properties.TYPE_IDS[to],
        "toObjectId": target,
        "labels": [],
    }
