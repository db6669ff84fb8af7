"""Segments: static ones hold members by name, saved ones by conditions."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from sandbox.mailchimp import members as people
from sandbox.mailchimp.calls import Call, batch, invalid, links, missing
from sandbox.mailchimp.names import iso, members
from sandbox.mailchimp.tags import make, tag_names
from sandbox.records import Document, Version

NOT_A_MEMBER = "Email address is not a member of this audience"
NOT_TAGGED = "Email address is not in this segment"
TESTS: dict[str, Callable[[str, str], bool]] = {
    "is": lambda value, wanted: value == wanted,
    "not": lambda value, wanted: value != wanted,
    "contains": lambda value, wanted: wanted in value,
    "notcontain": lambda value, wanted: wanted not in value,
    "starts": lambda value, wanted: value.startswith(wanted),
    "blank": lambda value, _wanted: not value,
    "blank_not": lambda value, _wanted: bool(value),
}


def listing(call: Call, list_id: str) -> Any:
    """The segments of an audience, tags among them."""
    call.get("audience", list_id)
    wanted = call.query.get("type")
    since, before = call.since("since_updated_at"), call.since("before_updated_at")
    found = [
        one
        for one in call.all("segment")
        if one.document["list"] == list_id
        and wanted in (None, one.document["type"])
        and (since is None or one.at > since)
        and (before is None or one.at < before)
    ]
    return {
        "segments": [shown(call, one) for one in call.page(found)],
        "list_id": list_id,
        "total_items": len(found),
        "_links": links(f"/lists/{list_id}/segments"),
    }


def one_segment(call: Call, list_id: str, key: str) -> Any:
    """One segment."""
    return shown(call, _required(call, list_id, key))


def create(call: Call, list_id: str) -> Any:
    """A new segment. Addresses of a static one that are not in the audience are left out."""
    call.get("audience", list_id)
    name = call.text("name")
    options = call.body.get("options")
    if options is None and call.body.get("static_segment") is None:
        raise invalid("Needs `static_segment` or `options`.", "static_segment", "Missing")
    if any(
        (one.document["list"], one.document["name"]) == (list_id, name)
        for one in call.all("segment")
    ):
        raise invalid("Sorry, that tag already exists.", "name", "Tag already exists")
    if options is not None:
        _tests(options)
    key = make(call, list_id, name, options)
    _put_in(call, list_id, key, batch(call.body.get("static_segment"), "static_segment"))
    return shown(call, call.get("segment", str(key)))


def change(call: Call, list_id: str, key: str) -> Any:
    """Another name, other conditions, or other members of a static segment."""
    found = _required(call, list_id, key)
    wanted = {name: call.body[name] for name in ("name", "options") if call.body.get(name)}
    if "options" in wanted:
        _tests(wanted["options"])
    call.account.edit("segment", key, call.now, lambda known: {**known, **wanted})
    given = call.body.get("static_segment")
    if given is not None and found.document["type"] == "static":
        kept = {address.lower() for address in batch(given, "static_segment")}
        others = [one.document["email"] for one in _all(call, found)]
        _take_out(call, list_id, int(key), [one for one in others if one.lower() not in kept])
        _put_in(call, list_id, int(key), given)
    return shown(call, call.get("segment", key))


def remove(call: Call, list_id: str, key: str) -> None:
    """Delete a segment; its members stay in the audience and lose the tag."""
    found = _required(call, list_id, key)
    if found.document["type"] == "static":
        _take_out(call, list_id, int(key), [one.document["email"] for one in _all(call, found)])
    call.account.records.put("segment", key, call.now, None)


def write_many(call: Call, list_id: str, key: str) -> Any:
    """Add and remove up to 500 addresses each: 200 whatever became of them, see `errors`."""
    _required_static(call, list_id, key)
    to_add = batch(call.body.get("members_to_add"), "members_to_add")
    to_remove = batch(call.body.get("members_to_remove"), "members_to_remove")
    added, unknown = _put_in(call, list_id, int(key), to_add)
    removed, absent = _take_out(call, list_id, int(key), to_remove)
    errors = [
        {"email_addresses": addresses, "error": error}
        for addresses, error in ((unknown, NOT_A_MEMBER), (absent, NOT_TAGGED))
        if addresses
    ]
    return {
        "members_added": _again(call, list_id, added),
        "members_removed": _again(call, list_id, removed),
        "errors": errors,
        "total_added": len(added),
        "total_removed": len(removed),
        "error_count": len(unknown) + len(absent),
        "_links": links(f"/lists/{list_id}/segments/{key}"),
    }


def members_of(call: Call, list_id: str, key: str) -> Any:
    """The members of a segment: only subscribed ones unless others are asked for."""
    found = _required(call, list_id, key)
    more = {
        status
        for status in ("cleaned", "transactional", "unsubscribed")
        if call.is_true(f"include_{status}")
    }
    everybody = [
        one for one in _all(call, found) if one.document["status"] in {"subscribed", *more}
    ]
    names = tag_names(call)
    return {
        "members": [people.shown(one, names) for one in call.page(everybody)],
        "total_items": len(everybody),
        "_links": links(f"/lists/{list_id}/segments/{key}/members"),
    }


def add_member(call: Call, list_id: str, key: str) -> Any:
    """One more member of a static segment."""
    _required_static(call, list_id, key)
    email = call.text("email_address")
    if not _put_in(call, list_id, int(key), [email])[0]:
        raise missing()
    return _again(call, list_id, [email])[0]


def remove_member(call: Call, list_id: str, key: str, member: str) -> None:
    """One member less in a static segment."""
    _required_static(call, list_id, key)
    if not _take_out(call, list_id, int(key), [member])[0]:
        raise missing()


def emails_of(call: Call, list_id: str, key: str | None) -> list[Version]:
    """Who gets a campaign: the subscribed members of an audience, or of one of its segments."""
    call.get("audience", list_id)
    found = call.all(members(list_id)) if key is None else _all(call, call.get("segment", key))
    return [one for one in found if one.document["status"] == "subscribed"]


def shown(call: Call, one: Version) -> dict[str, Any]:
    """A segment as the API shows it; only subscribed members count."""
    count = sum(1 for member in _all(call, one) if member.document["status"] == "subscribed")
    found = {
        "id": int(one.key),
        "name": one.document["name"],
        "member_count": count,
        "type": one.document["type"],
        "created_at": iso(one.created_at),
        "updated_at": iso(one.at),
        "list_id": one.document["list"],
        "_links": links(f"/lists/{one.document['list']}/segments/{one.key}"),
    }
    return found | ({"options": one.document["options"]} if one.document["options"] else {})


def _required(call: Call, list_id: str, key: str) -> Version:
    found = call.get("segment", key)
    if found.document["list"] != list_id:
        raise missing()
    return found


def _required_static(call: Call, list_id: str, key: str) -> None:
    if _required(call, list_id, key).document["type"] != "static":
        raise invalid("Members can be added to and removed from static segments only.")


def _all(call: Call, found: Version) -> list[Version]:
    """The members of a segment, archived ones left out."""
    known = found.document
    everybody = [
        one for one in call.all(members(known["list"])) if one.document["status"] != "archived"
    ]
    if known["type"] == "static":
        return [one for one in everybody if int(found.key) in one.document["tags"]]
    tests = _tests(known["options"])
    every = all if known["options"].get("match", "all") == "all" else any
    return [one for one in everybody if every(test(one.document) for test in tests)]


def _tests(options: dict[str, Any]) -> list[Callable[[Document], bool]]:
    """The conditions of a saved segment: TextMerge and StaticSegment are understood."""
    return [_test(condition) for condition in options.get("conditions") or ()]


def _test(condition: dict[str, Any]) -> Callable[[Document], bool]:
    kind, operator = condition.get("condition_type"), str(condition.get("op"))
    wanted = str(condition.get("value", ""))
    if kind == "TextMerge" and operator in TESTS:
        test, tag = TESTS[operator], str(condition.get("field"))
        return lambda known: test(known["merge"].get(tag, ""), wanted)
    if kind == "StaticSegment" and operator in ("static_is", "static_not") and wanted.isdigit():
        return lambda known: (int(wanted) in known["tags"]) == (operator == "static_is")
    raise invalid("The conditions are not valid.", "options.conditions", "Unknown condition")


def _put_in(
    call: Call, list_id: str, key: int, addresses: Iterable[str]
) -> tuple[list[str], list[str]]:
    """Tag these members: (addresses that are in now, addresses nobody has)."""
    return _tagged(call, list_id, addresses, lambda tags: tags | {key}, lambda _tags: True)


def _take_out(
    call: Call, list_id: str, key: int, addresses: Iterable[str]
) -> tuple[list[str], list[str]]:
    """Take the tag from these members: (addresses that had it, addresses that had not)."""
    return _tagged(call, list_id, addresses, lambda tags: tags - {key}, lambda tags: key in tags)


def _tagged(
    call: Call,
    list_id: str,
    addresses: Iterable[str],
    change: Callable[[set[int]], set[int]],
    counts: Callable[[set[int]], bool],
) -> tuple[list[str], list[str]]:
    done: list[str] = []
    not_done: list[str] = []
    rows = []
    for address in dict.fromkeys(addresses):
        found = call.account.member(list_id, str(address), call.now)
        tags = set(found.document["tags"]) if found else set()
        if found is None or found.document["status"] == "archived" or not counts(tags):
            not_done.append(address)
            continue
        done.append(address)
        if change(tags) != tags:
            rows.append(found.key)
    call.account.edit_many(
        members(list_id),
        rows,
        call.now,
        lambda known: {**known, "tags": sorted(change(set(known["tags"]))), "by": call.by},
    )
    return done, not_done


def _again(call: Call, list_id: str, addresses: list[str]) -> list[Any]:
    names = tag_names(call)
    found = [call.account.member(list_id, address, call.now) for address in addresses]
    return [people.shown(one, names) for one in found if one is not None]
