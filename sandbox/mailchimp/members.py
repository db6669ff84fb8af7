"""The members of an audience: read, written one by one or by 500, tagged, archived, forgotten."""

from __future__ import annotations

import re
from typing import Any

from sandbox.mailchimp.calls import Call, Problem, batch, invalid, links, missing
from sandbox.mailchimp.life import PERMISSIONS, left, person
from sandbox.mailchimp.names import instant, iso, key_of, members, unique_email_id
from sandbox.mailchimp.tags import tag_id, tag_names
from sandbox.records import Document, Version

STATUSES = ("subscribed", "unsubscribed", "cleaned", "pending", "transactional")
ADDRESS = re.compile(r"[^@\s]+@[^@\s]+\.[A-Za-z]{2,}")
BIRTHDAY = re.compile(r"(0[1-9]|1[0-2])/(0[1-9]|[12]\d|3[01])")
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
    return shown(_required(call, list_id, key), tag_names(call))


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


def _required(call: Call, list_id: str, key: str) -> Version:
    call.get("audience", list_id)
    found = call.account.member(list_id, key, call.now)
    if found is None:
        raise missing()
    return found


# -- write ----------------------------------------------------------------------------------------


def put(call: Call, list_id: str, key: str) -> Any:
    """Update the member with this hash, or add one.

    `status` is taken as it is, so that it subscribes again somebody whom an admin unsubscribed;
    `status_if_new` counts only for somebody new.
    """
    call.get("audience", list_id)
    found = call.account.member(list_id, key, call.now)
    if found is not None:
        return _update(call, list_id, found)
    status = call.body.get("status_if_new") or call.body.get("status")
    if status is None:
        raise invalid(
            "The resource submitted could not be validated. For field-specific details, see the"
            " 'errors' array.",
            "status_if_new",
            "Data presented is not one of the accepted values: subscribed, unsubscribed, cleaned,"
            " pending, transactional.",
        )
    return _add(call, list_id, call.body, status)


def patch(call: Call, list_id: str, key: str) -> Any:
    """Update a member."""
    return _update(call, list_id, _required(call, list_id, key))


def add(call: Call, list_id: str) -> Any:
    """A new member; somebody known (and not archived) is refused."""
    call.get("audience", list_id)
    email = call.text("email_address")
    found = call.account.member(list_id, email, call.now)
    if found is not None and found.document["status"] != "archived":
        raise Problem(
            400,
            "Member Exists",
            f"{email} is already a list member. Use PUT to insert or update list members.",
        )
    if found is not None:
        return _update(call, list_id, found)
    return _add(call, list_id, call.body, call.text("status"))


def archive(call: Call, list_id: str, key: str) -> None:
    """Archive a member: the record stays, with another status."""
    found = _required(call, list_id, key)
    if found.document["status"] == "archived":
        raise Problem(405, "Method Not Allowed", "This list member cannot be removed.")
    call.account.edit(
        members(list_id),
        found.key,
        call.now,
        lambda known: {**known, "status": "archived", "by": call.by},
    )


def forget(call: Call, list_id: str, key: str) -> None:
    """Delete a member for good: nothing says that it is gone, and it cannot be added again."""
    found = _required(call, list_id, key)
    call.account.edit(members(list_id), found.key, call.now, lambda _: None)
    kept = {"hash": found.document["hash"], "by": call.by}
    call.account.records.put("forgotten", f"{list_id}:{kept['hash']}", call.now, kept)


def write_many(call: Call, list_id: str) -> Any:
    """Up to 500 members: 200 whatever became of each; `errors` says which were refused."""
    call.get("audience", list_id)
    new: list[Any] = []
    updated: list[Any] = []
    errors: list[dict[str, str]] = []
    may_update = bool(call.body.get("update_existing"))
    for given in batch(call.body.get("members"), "members"):
        email = str(given.get("email_address") or "")
        found = call.account.member(list_id, email, call.now) if "@" in email else None
        try:
            if found is None:
                new.append(_add(call, list_id, given, given.get("status") or ""))
            elif not may_update:
                errors.append(_refused(email, "ERROR_CONTACT_EXISTS", EXISTS.format(email)))
            else:
                updated.append(_update(call, list_id, found, given))
        except Problem as problem:
            errors.append(_refused(email, "ERROR_GENERIC", problem.detail))
    return {
        "new_members": new,
        "updated_members": updated,
        "errors": errors,
        "total_created": len(new),
        "total_updated": len(updated),
        "error_count": len(errors),
        "_links": links(f"/lists/{list_id}"),
    }


EXISTS = "{} is already a list member, do you want to update? please provide update_existing:true"


def _refused(email: str, code: str, error: str) -> dict[str, str]:
    found = {"email_address": email, "error": error, "error_code": code}
    return {**found, "field": "", "field_message": ""}


def _add(call: Call, list_id: str, given: Document, status: str) -> Any:
    email = str(given.get("email_address") or "").strip()
    if not ADDRESS.fullmatch(email):
        raise invalid("Please provide a valid email address.", "email_address", "Invalid address")
    if call.account.records.get("forgotten", f"{list_id}:{key_of(email)}", call.now):
        raise Problem(
            400,
            "Forgotten Email",
            f"{email} was permanently deleted and cannot be re-imported. The contact must"
            " re-subscribe to get back on the list.",
        )
    if call.account.is_busy(email):
        raise Problem(
            400,
            "Invalid Resource",
            f"{email} has signed up to a lot of lists very recently; we're not allowing more"
            " signups for now",
        )
    if status not in STATUSES:
        raise invalid("The value is not valid.", "status", "The value is not a valid choice.")
    made = person(list_id, 0, {"email": email}, call.now, status)
    made |= {"signup": None, "ip": "", "vip": False, "permissions": [], "left_by": "", "reason": ""}
    merge = {one["tag"]: "" for one in call.get("audience", list_id).document["merge_fields"]}
    made |= {"merge": merge, "source": "API - Sandbox", "by": call.by}
    change = _changed(call, list_id, given)
    key = call.account.add_member(list_id, call.now, {**change(made), "status": status})
    return shown(call.get(members(list_id), key), tag_names(call))


def _update(call: Call, list_id: str, found: Version, given: Document | None = None) -> Any:
    given = call.body if given is None else given
    known, status = found.document, given.get("status")
    if status is None and known["status"] == "archived":
        # Who is written to comes back from the archive as someone new would.
        status = given.get("status_if_new")
    _check_status(known, status)
    email = str(given.get("email_address") or known["email"])
    if key_of(email) != known["hash"]:
        if not ADDRESS.fullmatch(email):
            raise invalid("Please provide a valid email address.", "email_address", "Invalid")
        if call.account.member(list_id, email, call.now):
            raise Problem(400, "Member Exists", f"{email} is already a list member.")
    change = _changed(call, list_id, given)

    def moved(one: Document) -> Document:
        one = {**change(one), "by": call.by}
        if given.get("email_address"):
            one |= {"email": email, "hash": key_of(email)}
        if status == "unsubscribed" != one["status"]:
            return left(one, call.now, call.by, BY_ADMIN)
        if status == "subscribed" != one["status"]:
            one["opt"] = call.now
        return {**one, "status": status} if status else one

    call.account.edit(members(list_id), found.key, call.now, moved)
    return shown(call.get(members(list_id), found.key), tag_names(call))


def _check_status(known: Document, status: str | None) -> None:
    if status is not None and status not in (*STATUSES, "archived"):
        raise invalid("The value is not valid.", "status", "The value is not a valid choice.")
    has_left = known["status"] == "unsubscribed" and known["left_by"] == "user"
    if status == "subscribed" and (has_left or known["status"] == "cleaned"):
        raise Problem(
            400,
            "Member In Compliance State",
            f"{known['email']} is in a compliance state due to unsubscribe, bounce, or compliance"
            " review and cannot be subscribed.",
        )


def _changed(call: Call, list_id: str, given: Document) -> Any:
    """What the fields of a body make of a member; raises Problem for a value that cannot be."""
    fields = call.get("audience", list_id).document["merge_fields"]
    merge = {
        one["tag"]: str(given.get("merge_fields", {}).get(one["tag"]))
        for one in fields
        if given.get("merge_fields", {}).get(one["tag"]) is not None
    }
    for one in fields:
        value = merge.get(one["tag"])
        if value and one["type"] == "birthday" and not BIRTHDAY.fullmatch(value):
            raise invalid(
                "Your merge fields were invalid.", one["tag"], "Please enter a valid birthday"
            )
    enabled = given.get("marketing_permissions")
    tags = [tag_id(call, list_id, _tag_name(one)) for one in given.get("tags") or ()]

    def change(one: Document) -> Document:
        made = {**one, "merge": {**one["merge"], **merge}}
        for name in ("language", "vip"):
            if given.get(name) is not None:
                made[name] = given[name]
        if tags:
            made["tags"] = sorted({*one["tags"], *tags})
        for name, key in (("timestamp_signup", "signup"), ("timestamp_opt", "opt")):
            if given.get(name):
                made[key] = instant(given[name])
        if given.get("ip_signup") or given.get("ip_opt"):
            made["ip"] = given.get("ip_signup") or given.get("ip_opt")
        if enabled is not None:
            kept = set(one["permissions"]) - {p["marketing_permission_id"] for p in enabled}
            kept |= {p["marketing_permission_id"] for p in enabled if p.get("enabled")}
            made["permissions"] = [key for key in PERMISSIONS if key in kept]
        return made

    return change


# -- tags -----------------------------------------------------------------------------------------


def tags_of(call: Call, list_id: str, key: str) -> Any:
    """The tags of a member."""
    found = _required(call, list_id, key)
    names = tag_names(call)
    tags = [
        {"id": tag, "name": names[tag], "date_added": iso(found.at)}
        for tag in found.document["tags"]
        if tag in names
    ]
    return {"tags": list(call.page(tags)), "total_items": len(tags)}


def set_tags(call: Call, list_id: str, key: str) -> None:
    """Add and remove tags by name; a name that is new becomes a tag. Answers nothing."""
    found = _required(call, list_id, key)
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


def _tag_name(given: Any) -> str:
    return str(given["name"] if isinstance(given, dict) else given)
