"""Batches of objects: what fails is told beside what went well, with status 207."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from sandbox.hubspot import objects, properties
from sandbox.hubspot.answers import Answer, Ask, RefusedError
from sandbox.hubspot.objects import Shape, kind_of
from sandbox.hubspot.values import iso


def read(ask: Ask, name: str) -> Answer:
    """`POST …/batch/read`: 100 objects, 50 with histories; no associations."""
    kind = kind_of(name)
    given: dict[str, Any] = ask.body
    histories = given.get("propertiesWithHistory") or []
    inputs = ask.inputs(objects.HISTORY_BATCH if histories else 100)
    shape = Shape(kind, ask.now, given.get("properties") or [], histories)
    results, missing = [], []
    gone = (
        {row.key: row for row in ask.crm.archived(kind, ask.now)} if given.get("archived") else {}
    )
    for key in dict.fromkeys(str(one["id"]) for one in inputs):
        found = objects.find(ask, kind, key, given.get("idProperty"))
        if given.get("archived"):
            found = gone.get(key)
        if found is None:
            missing.append(key)
        else:
            results.append(shape.shown(ask.crm, found, archived=key in gone))
    errors = []
    if missing:
        text = f"Could not get some {kind} objects, they may be deleted or not exist."
        errors = [_error("OBJECT_NOT_FOUND", text, {"ids": missing})]
    return finished(ask, results, errors)


def create(ask: Ask, name: str) -> Answer:
    """`POST …/batch/create`."""
    kind = kind_of(name)
    return _each(ask, kind, lambda one: (objects.create(ask, kind, one), True), 201)


def update(ask: Ask, name: str) -> Answer:
    """`POST …/batch/update`."""
    kind = kind_of(name)

    def change(one: dict[str, Any]) -> tuple[str, bool]:
        found = objects.find(ask, kind, str(one["id"]), one.get("idProperty"))
        if found is None:
            raise RefusedError(404, "No object with this ID exists", "OBJECT_NOT_FOUND")
        objects.change(ask, kind, found, one.get("properties") or {})
        return found.key, False

    _no_twins(ask)
    return _each(ask, kind, change, 200)


def upsert(ask: Ask, name: str) -> Answer:
    """`POST …/batch/upsert`.

    HubSpot supports no partial update by e-mail address. Here what such an input does not name is
    emptied, the strictest reading, so that nobody comes to rely on the other.
    """
    kind = kind_of(name)

    def put(one: dict[str, Any]) -> tuple[str, bool]:
        by = one.get("idProperty")
        found = objects.find(ask, kind, str(one["id"]), by)
        values = dict(one.get("properties") or {})
        if found is None:
            if by:
                values[by] = one["id"]
            return objects.create(ask, kind, {**one, "properties": values}), True
        if by == "email":
            kept = {*values, *properties.READ_ONLY, "email", "lifecyclestage"}
            old = found.document["properties"]
            known = (one for one in old if one in ask.crm.types[kind] and one not in kept)
            values = {**dict.fromkeys(known, ""), **values}
        objects.change(ask, kind, found, values)
        return found.key, False

    _no_twins(ask)
    return _each(ask, kind, put, 200, says_new=True)


def archive(ask: Ask, name: str) -> Answer:
    """`POST …/batch/archive`: 204, whether they were there or not."""
    kind = kind_of(name)
    for one in ask.inputs():
        ask.crm.archive(kind, str(one["id"]), ask.now)
    return Answer(status=204)


def _no_twins(ask: Ask) -> None:
    keys = [str(one.get("id")) for one in ask.inputs()]
    twice = sorted({key for key in keys if keys.count(key) > 1})
    if twice:
        raise RefusedError(400, "Duplicate IDs found in batch input", context={"ids": twice})


def _each(
    ask: Ask,
    kind: str,
    write: Callable[[dict[str, Any]], tuple[str, bool]],
    status: int,
    *,
    says_new: bool = False,
) -> Answer:
    """Write each input; the refused ones are named by `objectWriteTraceId`, else by id."""
    results: list[dict[str, Any]] = []
    errors: list[dict[str, Any]] = []
    refused = ask.crm.world.faults.take("hubspot", "refuse_input", str(ask.body))
    for place, one in enumerate(ask.inputs()):
        trace = one.get("objectWriteTraceId")
        try:
            if refused is not None and place == int(refused.options.get("place", 0)):
                raise RefusedError(400, "Property values were not valid")
            key, is_new = write(one)
        except RefusedError as error:
            context = {"objectWriteTraceId": [trace]} if trace else {"ids": [str(one.get("id"))]}
            errors.append(_error(error.category, error.message, context, error.more.get("errors")))
            continue
        found = ask.crm.get(kind, key, ask.now)
        assert found is not None
        shape = Shape(kind, ask.now, list(found.document["properties"]), [])
        result = shape.shown(ask.crm, found)
        if says_new:
            result["new"] = is_new
        if trace:
            result["objectWriteTraceId"] = trace
        results.append(result)
    return finished(ask, results, errors, status)


def _error(
    category: str, message: str, context: dict[str, Any], errors: list[Any] | None = None
) -> dict[str, Any]:
    return {
        "status": "error",
        "category": category,
        "message": message,
        "context": context,
        "errors": errors or [],
        "links": {},
    }


def finished(
    ask: Ask, results: list[Any], errors: list[dict[str, Any]] | None = None, status: int = 200
) -> Answer:
    """The answer of a batch that is complete: 207 when a part of it was refused."""
    at = iso(ask.now)
    body: dict[str, Any] = {
        "status": "COMPLETE",
        "results": results,
        "startedAt": at,
        "completedAt": at,
    }
    if errors:
        body |= {"numErrors": len(errors), "errors": errors}
    return Answer(body, 207 if errors else status)
