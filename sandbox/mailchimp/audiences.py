"""The account itself, its audiences and their merge fields."""

from __future__ import annotations

from collections import Counter
from typing import Any

from sandbox.mailchimp.calls import Call, invalid, links
from sandbox.mailchimp.names import iso, key_of, members
from sandbox.records import Version


def root(call: Call) -> Any:
    """Who this account is."""
    found = call.all("audience")
    subscribers = sum(stats(call, one.key)["subscribed"] for one in found)
    return {
        "account_id": "8d3a3db4d97663a9074efcc16",
        "login_id": "10001",
        "account_name": found[0].document["company"],
        "username": "sandbox",
        "email": "owner@example.com",
        "role": "owner",
        "account_timezone": "US/Eastern",
        "pro_enabled": False,
        "total_subscribers": subscribers,
        "_links": links("/"),
    }


def ping(_call: Call) -> Any:
    """The account is there."""
    return {"health_status": "Everything's Chimpy!"}


def listing(call: Call) -> Any:
    """The audiences."""
    before, after = call.since("before_date_created"), call.since("since_date_created")
    found = [
        one
        for one in call.all("audience")
        if (after is None or one.created_at > after) and (before is None or one.created_at < before)
    ]
    shown = [document(call, one) for one in call.page(found)]
    return {"lists": shown, "total_items": len(found), "_links": links("/lists")}


def one_list(call: Call, list_id: str) -> Any:
    """One audience."""
    return document(call, call.get("audience", list_id))


def merge_fields(call: Call, list_id: str) -> Any:
    """The merge fields of an audience."""
    found = [
        {**one, "required": False, "default_value": "", "public": True, "list_id": list_id}
        for one in call.get("audience", list_id).document["merge_fields"]
    ]
    return {
        "merge_fields": list(call.page(found)),
        "list_id": list_id,
        "total_items": len(found),
        "_links": links(f"/lists/{list_id}/merge-fields"),
    }


def add_merge_field(call: Call, list_id: str) -> Any:
    """Another merge field: members have it from now on."""
    name = call.text("name")
    known = call.get("audience", list_id).document["merge_fields"]
    tag = (call.body.get("tag") or name.upper().replace(" ", "")[:10]).upper()
    if any(one["tag"] == tag for one in known):
        raise invalid(f"A Merge Field with the tag {tag} already exists for this list.")
    field = {"merge_id": len(known) + 1, "tag": tag, "name": name}
    field["type"] = call.body.get("type", "text")
    call.account.edit(
        "audience",
        list_id,
        call.now,
        lambda audience: {**audience, "merge_fields": [*audience["merge_fields"], field]},
    )
    return {**field, "list_id": list_id}


def stats(call: Call, list_id: str) -> Counter[str]:
    """How many members an audience has by status."""
    return Counter(one.document["status"] for one in call.all(members(list_id)))


def document(call: Call, audience: Version) -> dict[str, Any]:
    """An audience as the API shows it."""
    counts = stats(call, audience.key)
    sent = [
        one.document["sent"]
        for one in call.all("campaign")
        if one.document["list"] == audience.key and one.document["status"] == "sent"
    ]
    return {
        "id": audience.key,
        "web_id": int(key_of(audience.key)[:6], 16),
        "name": audience.document["name"],
        "contact": {"company": audience.document["company"], "country": "US"},
        "permission_reminder": "You signed up in our shop.",
        "campaign_defaults": {
            "from_name": audience.document["company"],
            "from_email": "news@example.com",
            "subject": "",
            "language": "en",
        },
        "date_created": iso(audience.created_at),
        "list_rating": 4,
        "email_type_option": False,
        "double_optin": audience.document["double_optin"],
        "marketing_permissions": True,
        "visibility": "prv",
        "stats": {
            "member_count": counts["subscribed"],
            "total_contacts": sum(counts.values()) - counts["archived"],
            "unsubscribe_count": counts["unsubscribed"],
            "cleaned_count": counts["cleaned"],
            "campaign_count": len(sent),
            "campaign_last_sent": iso(max(sent, default=None)),
            "merge_field_count": len(audience.document["merge_fields"]),
        },
        "_links": links(f"/lists/{audience.key}"),
    }
