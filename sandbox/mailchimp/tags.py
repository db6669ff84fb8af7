"""Tags, which are the static segments of an audience under another name."""

from __future__ import annotations

from typing import Any

from sandbox.mailchimp.calls import Call
from sandbox.mailchimp.documents import segment

FIRST = 70_001


def tag_names(call: Call) -> dict[int, str]:
    """The name of each tag by id."""
    return {
        int(one.key): one.document["name"]
        for one in call.all("segment")
        if one.document["type"] == "static"
    }


def tag_id(call: Call, list_id: str, name: str) -> int:
    """The id of a tag by its name, in capitals or not; makes it when it is new."""
    wanted = (list_id, "static", name.lower())
    for one in call.all("segment"):
        known = one.document
        if (known["list"], known["type"], known["name"].lower()) == wanted:
            return int(one.key)
    return make(call, list_id, name, None)


def make(call: Call, list_id: str, name: str, options: dict[str, Any] | None) -> int:
    """A new segment; returns its id. Ids are never used again."""
    known = [*call.all("segment"), *call.account.records.gone("segment", call.now)]
    key = max([FIRST - 1, *(int(one.key) for one in known)]) + 1
    call.account.records.put("segment", str(key), call.now, segment(list_id, name, options))
    return key


def search(call: Call, list_id: str) -> Any:
    """The tags of an audience whose name begins with `name`."""
    call.get("audience", list_id)
    begin = call.query.get("name", "").lower()
    found = [
        {"id": int(one.key), "name": one.document["name"]}
        for one in call.all("segment")
        if (one.document["list"], one.document["type"]) == (list_id, "static")
        and one.document["name"].lower().startswith(begin)
    ]
    return {"tags": found, "total_items": len(found)}
