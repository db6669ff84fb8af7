"""Members written one by one or by 500: status rules, merge fields, archive, deletion for good."""

from __future__ import annotations

import re
from typing import Any

from sandbox.mailchimp.calls import Call, Problem, batch, invalid, links
from sandbox.mailchimp.documents import PERMISSIONS, left, person
from sandbox.mailchimp.members import BY_ADMIN, STATUSES, required, shown
from sandbox.mailchimp.names import instant, key_of, members
from sandbox.mailchimp.tags import tag_id, tag_names
from sandbox.records import Document, Version

ADDRESS = re.compile(r"[^@\s]+@[^@\s]+\.[A-Za-z]{2,}")
BIRTHDAY = re.compile(r"(0[1-9]|1[0-2])/(0[1-9]|[12]\d|3[01])")


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
    return _update(call, list_id, required(call, list_id, key))


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
    found = required(call, list_id, key)
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
    found = required(call, list_id, key)
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
        if not isinstance(given, dict):
            raise invalid("The value is not valid.", "members", "Needs objects.")
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


def _tag_name(given: Any) -> str:
    return str(given["name"] if isinstance(given, dict) else given)
