"""Lists and who is on them."""

from __future__ import annotations

import base64
from typing import Any

from sandbox.hubspot.answers import Answer, Ask, RefusedError, not_found
from sandbox.hubspot.values import iso
from sandbox.records import Version

MEMBERS = 100
OPEN = ("MANUAL", "SNAPSHOT")


def searched(ask: Ask) -> Answer:
    """`POST /crm/lists/search`: by name, ids, processing types; `offset` and `count` page."""
    given: dict[str, Any] = ask.body if isinstance(ask.body, dict) else {}
    wanted = str(given.get("query") or "").lower()
    ids, types = given.get("listIds") or [], given.get("processingTypes") or []
    found = [
        one
        for one in ask.crm.records.all("list", ask.now)
        if wanted in one.document["name"].lower()
        and (not ids or one.key in map(str, ids))
        and (not types or one.document["processingType"] in types)
    ]
    start, count = int(given.get("offset") or 0), min(int(given.get("count") or 20), 500)
    page = found[start : start + count]
    end = start + len(page)
    body = {
        "offset": end,
        "hasMore": end < len(found),
        "total": len(found),
        "lists": [_found(ask, one) for one in page],
    }
    return Answer(body)


def several(ask: Ask) -> Answer:
    """`GET /crm/lists?listIds=`."""
    ids = ask.words("listIds")
    rows = [one for one in ask.crm.records.all("list", ask.now) if one.key in ids]
    return Answer({"lists": [_shown(ask, one) for one in rows]})


def got(ask: Ask, key: str) -> Answer:
    """`GET /crm/lists/{id}`."""
    return Answer({"list": _shown(ask, _list(ask, key))})


def created(ask: Ask) -> Answer:
    """`POST /crm/lists`: a MANUAL or SNAPSHOT list of contacts; names are unique."""
    name, processing = ask.field("name", str), ask.field("processingType", str)
    known = ask.crm.records.all("list", ask.now)
    if any(one.document["name"].lower() == name.lower() for one in known):
        raise RefusedError(400, "A list of this name exists", "VALIDATION_ERROR")
    key = str(max((int(one.key) for one in known), default=100) + 1)
    document = {"name": name, "processingType": processing, "at": ask.now}
    ask.crm.records.put("list", key, ask.now, document)
    return Answer({"list": _shown(ask, _list(ask, key))})


def members(ask: Ask, key: str) -> Answer:
    """`GET …/memberships`: a page by record id."""
    return _page(ask, key, by_time=False)


def members_by_time(ask: Ask, key: str) -> Answer:
    """`GET …/memberships/join-order`: a page by the time of joining."""
    return _page(ask, key, by_time=True)


def _page(ask: Ask, key: str, *, by_time: bool) -> Answer:
    _list(ask, key)
    limit = ask.number("limit", MEMBERS, 250)
    rows = [(one.document["at"] if by_time else 0, int(one.key)) for one in _members(ask, key)]
    rows.sort()
    given = ask.query.get("after")
    after = _decoded(given) if given else None
    start = next((i for i, row in enumerate(rows) if after is None or row > after), len(rows))
    page = rows[start : start + limit]
    times = {one.key: one.document["at"] for one in _members(ask, key)}
    results = [
        {"recordId": str(record), "membershipTimestamp": iso(times[str(record)])}
        for _, record in page
    ]
    body: dict[str, Any] = {"results": results}
    if start + limit < len(rows):
        token = base64.urlsafe_b64encode("{}:{}".format(*page[-1]).encode()).decode()
        body["paging"] = {"next": {"after": token}}
    return Answer(body)


def _decoded(token: str) -> tuple[int, int]:
    try:
        time, record = base64.urlsafe_b64decode(token).decode().split(":")
        return int(time), int(record)
    except ValueError as error:
        raise RefusedError(400, "The `after` cursor is invalid") from error


def added(ask: Ask, key: str) -> Answer:
    """`PUT …/memberships/add`: the body is a list of record ids."""
    return _change(ask, key, ask.body, [])


def removed(ask: Ask, key: str) -> Answer:
    """`PUT …/memberships/remove`."""
    return _change(ask, key, [], ask.body)


def added_and_removed(ask: Ask, key: str) -> Answer:
    """`PUT …/memberships/add-and-remove`."""
    return _change(
        ask, key, ask.field("recordIdsToAdd", list), ask.field("recordIdsToRemove", list)
    )


def _change(ask: Ask, key: str, to_add: Any, to_remove: Any) -> Answer:
    one, crm, now = _list(ask, key), ask.crm, ask.now
    if one.document["processingType"] not in OPEN:
        raise RefusedError(400, "Members of a DYNAMIC list cannot be set: use a MANUAL list")
    if not isinstance(to_add, list) or not isinstance(to_remove, list):
        raise RefusedError(400, "Invalid input JSON: a list of record ids is expected")
    kind = f"member:{key}"
    there = {member.key for member in _members(ask, key)}
    ids = [str(record) for record in dict.fromkeys(to_add)]
    missing = [record for record in ids if crm.get("contacts", record, now) is None]
    new = [record for record in ids if record not in missing and record not in there]
    gone = [str(record) for record in dict.fromkeys(to_remove) if str(record) in there]
    crm.records.put_many(
        [(kind, record, now, {"at": now}) for record in new]
        + [(kind, record, now, None) for record in gone]
    )
    body = {"recordsIdsAdded": new, "recordIdsRemoved": gone, "recordIdsMissing": missing}
    return Answer(body)


def of_record(ask: Ask, _type: str, record: str) -> Answer:
    """`GET /crm/lists/records/{type}/{id}/memberships`: the lists a record is on."""
    results = []
    for one in ask.crm.records.all("list", ask.now):
        found = ask.crm.records.get(f"member:{one.key}", record, ask.now)
        if found is not None:
            at = iso(found.document["at"])
            more = {"firstAddedTimestamp": at, "lastAddedTimestamp": at}
            results.append({"listId": one.key, "listVersion": 1, "isPublicList": False, **more})
    return Answer({"results": results, "total": len(results)})


def _members(ask: Ask, key: str) -> list[Version]:
    return ask.crm.records.all(f"member:{key}", ask.now)


def _list(ask: Ask, key: str) -> Version:
    one = ask.crm.records.get("list", key, ask.now)
    if one is None:
        raise not_found(f"List does not exist with ID {key}")
    return one


def _shown(ask: Ask, one: Version) -> dict[str, Any]:
    return {
        "listId": one.key,
        "listVersion": 1,
        "name": one.document["name"],
        "objectTypeId": "0-1",
        "processingType": one.document["processingType"],
        "processingStatus": "COMPLETE",
        "createdAt": iso(one.document["at"]),
        "updatedAt": iso(one.at),
        "size": len(_members(ask, one.key)),
    }


def _found(ask: Ask, one: Version) -> dict[str, Any]:
    """A list as the search shows it: its size is among the additional properties, as text."""
    shown = _shown(ask, one)
    return {**shown, "additionalProperties": {"hs_list_size": str(shown.pop("size"))}}
