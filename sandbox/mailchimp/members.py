"""The members of an audience as the API shows them, and their tags."""

from __future__ import annotations

from typing import Any

from sandbox.mailchimp.calls import Call, batch, invalid, links, missing
from sandbox.mailchimp.documents import PERMISSIONS
from sandbox.mailchimp.names import iso, members, unique_email_id
from sandbox.mailchimp.tags import tag_id, tag_names
from sandbox.records import Version

STATUSES = ("subscribed", "unsubscribed", "cleaned", "pending", "transactional")
BY_ADMIN = "N/A (Unsubscribed by an admin)"


# -- read -----------------------------------------------------------------------------------------


def listing(call: Call, list_id: str) -> Any:
    """A page of members, by the API's own order or by `last_changed`.

    The rows are those of this moment: who changes between two pages moves to the end of the order
    by `last_changed`, and everybody behind moves up by one.
    """
    call.get("audience", list_id)
    found = _filtered(call, call.all(members(list_id)))
    order = call.query.get("sort_field")
    if order == "last_changed":
        found.sort(key=lambda one: (one.at // 1000, one.key))
    elif order in ("timestamp_signup", "timestamp_opt"):
        name = order.removeprefix("timestamp_")
        found.sort(key=lambda one: (one.document[name] or 0, one.key))
    elif order:
        raise invalid("The value is not valid.", "sort_field", "The value is not a valid choice.")
    if call.query.get("sort_dir", "ASC").upper() == "DESC":
        found.reverse()
    names = tag_names(call)
    return {
        "members": [shown(one, names) for one in call.page(found)],
        "list_id": list_id,
        "total_items": len(found),
        "_links": links(f"/lists/{list_id}/members"),
    }


def _filtered(call: Call, found: list[Version]) -> list[Version]:
    """Those that the parameters ask for. Since and before are both exclusive, to the second."""
    since, before = call.since("since_last_changed"), call.since("before_last_changed")
    status, unique = call.query.get("status"), call.query.get("unique_email_id")
    if status is not None and status not in (*STATUSES, "archived"):
        raise invalid("The value is not valid.", "status", "The value is not a valid choice.")
    is_vip = call.is_true("vip_only")
    return [
        one
        for one in found
        if (since is None or one.at // 1000 > since // 1000)
        and (before is None or one.at // 1000 < before // 1000)
        and (status is None or one.document["status"] == status)
        and (unique is None or unique_email_id(one.document["n"]) == unique)
        and (not is_vip or one.document["vip"])
    ]


def one_member(call: Call, list_id: str, key: str) -> Any:
    """One member, whatever the status."""
    return shown(required(call, list_id, key), tag_names(call))


def shown(one: Version, names: dict[int, str]) -> dict[str, Any]:
    """A member as the API shows it."""
    known = one.document
    rate = known["n"] % 7 / 10
    tags = [{"id": key, "name": names[key]} for key in known["tags"] if key in names]
    found = {
        "id": known["hash"],
        "email_address": known["email"],
        "unique_email_id": unique_email_id(known["n"]),
        "contact_id": known["contact"],
        "full_name": f"{known['merge']['FNAME']} {known['merge']['LNAME']}".strip(),
        "web_id": known["n"],
        "email_type": "html",
        "status": known["status"],
        "consents_to_one_to_one_messaging": True,
        "merge_fields": known["merge"],
        "interests": {},
        "stats": {"avg_open_rate": rate, "avg_click_rate": rate / 10},
        "ip_signup": known["ip"] if known["signup"] else "",
        "timestamp_signup": iso(known["signup"]),
        "ip_opt": known["ip"] if known["opt"] else "",
        "timestamp_opt": iso(known["opt"]),
        "member_rating": 2 + known["n"] % 4,
        "last_changed": iso(one.at),
        "language": known["language"],
        "vip": known["vip"],
        "email_client": "",
        "location": {"latitude": 0, "longitude": 0, "country_code": "US", "timezone": ""},
        "marketing_permissions": [
            {"marketing_permission_id": key, "text": text, "enabled": key in known["permissions"]}
            for key, text in PERMISSIONS.items()
        ],
        "source": known["source"],
        "tags_count": len(tags),
        "tags": tags,
        "list_id": known["list"],
        "_links": links(f"/lists/{known['list']}/members/{known['hash']}"),
    }
    if known["status"] == "unsubscribed":
        found["unsubscribe_reason"] = known["reason"] or BY_ADMIN
    return found


def required(call: Call, list_id: str, key: str) -> Version:
    """A member who has to be there."""
    call.get("audience", list_id)
    found = call.account.member(list_id, key, call.now)
    if found is None:
        raise missing()
    return found


# -- tags -----------------------------------------------------------------------------------------


def tags_of(call: Call, list_id: str, key: str) -> Any:
    """The tags of a member."""
    found = required(call, list_id, key)
    names = tag_names(call)
    tags = [
        {"id": tag, "name": names[tag], "date_added": iso(found.at)}
        for tag in found.document["tags"]
        if tag in names
    ]
    return {"tags": list(call.page(tags)), "total_items": len(tags)}


def set_tags(call: Call, list_id: str, key: str) -> None:
    """Add and remove tags by name; a name that is new becomes a tag. Answers nothing."""
    found = required(call, list_id, key)
    given = batch(call.body.get("tags"), "tags")
    if not given or any(one.get("status") not in ("active", "inactive") for one in given):
        raise invalid("The value is not valid.", "tags", "Needs `name` and `status` of each.")
    wanted = {one["status"]: set[int]() for one in given}
    for one in given:
        wanted[one["status"]].add(tag_id(call, list_id, one["name"]))
    on, off = wanted.get("active", set()), wanted.get("inactive", set())
    if set(found.document["tags"]) - off | on == set(found.document["tags"]):
        return
    call.account.edit(
        members(list_id),
        found.key,
        call.now,
        lambda known: {**known, "tags": sorted({*known["tags"], *on} - off), "by": call.by},
    )
