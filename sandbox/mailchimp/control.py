"""Changes for tests and demos, as somebody else than the API would make them."""

from __future__ import annotations

from typing import Any

from sandbox.mailchimp import segments, writing
from sandbox.mailchimp.calls import Call, Problem, missing
from sandbox.mailchimp.documents import person
from sandbox.mailchimp.names import LIST, key_of, members
from sandbox.records import Document, Row

BULK_PER_SECOND = 50
ACTIONS = ("insert", "update", "delete", "archive", "restore", "bulk")
NEEDED = (
    "needs kind member with " + ", ".join(ACTIONS) + "; segment with insert or delete; audience"
    " with insert"
)


def change(call: Call, given: Document) -> dict[str, Any]:
    """Insert, update, archive, restore, delete, rename or bulk-insert; returns `{"id": hash}`.

    Raises:
        Problem: an unknown action or kind, or nobody with this id.
    """
    action, kind = str(given.get("action")), given.get("kind", "member")
    fields, key = dict(given.get("fields") or {}), str(given.get("id", ""))
    list_id = str(fields.pop("list_id", LIST))
    if kind == "audience" and action == "insert":
        return _audience(call, fields)
    if kind == "segment" and action == "insert":
        call.body = {"static_segment": [], **fields}
        return {"id": str(segments.create(call, list_id)["id"])}
    if kind == "segment" and action == "delete":
        segments.remove(call, list_id, key)
        return {"id": key}
    if kind != "member" or action not in ACTIONS:
        raise Problem(400, "Bad Request", NEEDED)
    call.by = str(fields.pop("by", "admin"))
    if action == "bulk":
        return {"count": _bulk(call, list_id, int(fields.get("count", 1000)))}
    if action == "insert":
        call.body = {"status": "subscribed", **fields}
        return {"id": writing.add(call, list_id)["id"]}
    if action == "delete":
        writing.forget(call, list_id, key)
    elif action == "archive":
        writing.archive(call, list_id, key)
    else:
        found = {"status": "subscribed"} if action == "restore" else fields
        return {"id": _update(call, list_id, key, found)}
    return {"id": key}


def _update(call: Call, list_id: str, key: str, fields: Document) -> str:
    """A change that no rule of the API can refuse: people and bounces decide for themselves."""
    found = call.account.member(list_id, key, call.now)
    if found is None:
        raise missing()
    merge = fields.pop("merge_fields", {})
    if "email_address" in fields:
        fields["email"] = fields.pop("email_address")
        fields["hash"] = key_of(fields["email"])
    if fields.get("status") == "unsubscribed":
        fields |= {"left_by": call.by, "reason": "NORMAL"}
    call.account.edit(
        members(list_id),
        found.key,
        call.now,
        lambda known: {**known, **fields, "merge": {**known["merge"], **merge}, "by": call.by},
    )
    return str(fields.get("hash", found.document["hash"]))


def _audience(call: Call, fields: Document) -> dict[str, Any]:
    known = call.get("audience", LIST).document
    key = key_of(f"audience:{len(call.all('audience'))}")[:10]
    call.account.records.put("audience", key, call.now, {**known, **fields})
    return {"id": key}


def _bulk(call: Call, list_id: str, count: int) -> int:
    """Many members at once, 50 in each of the last seconds, for tests of load."""
    call.get("audience", list_id)
    first = call.account.life.next_number(count)
    rows: list[Row] = []
    for place in range(count):
        key = first + place
        at = call.now - place // BULK_PER_SECOND * 1000
        known = {"email": f"load.{key}@example.com", "first_name": "Load", "last_name": str(key)}
        rows.append((members(list_id), str(key), at, person(list_id, key, known, at, "subscribed")))
    call.account.records.put_many(rows)
    return count
