"""What the account really holds now: for comparison with what was synced."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from sandbox.mailchimp.activity import Mailing
from sandbox.mailchimp.calls import Call
from sandbox.mailchimp.names import iso, key_of, members, unique_email_id
from sandbox.mailchimp.segments import shown
from sandbox.mailchimp.tags import tag_names
from sandbox.records import Version

Facts = Iterator[dict[str, Any]]


def _audiences(call: Call) -> Facts:
    for one in call.all("audience"):
        yield {"id": one.key, "name": one.document["name"], "created_at": iso(one.created_at)}


def _members(call: Call) -> Facts:
    names = tag_names(call)
    for audience in call.all("audience"):
        for one in call.all(members(audience.key)):
            known = one.document
            yield {
                "id": known["hash"],
                "contact_id": known["contact"],
                "unique_email_id": unique_email_id(known["n"]),
                "list_id": audience.key,
                "email": known["email"],
                "status": known["status"],
                "merge_fields": known["merge"],
                "tags": [names[key] for key in known["tags"] if key in names],
                "is_vip": known["vip"],
                "language": known["language"],
                "signed_up_at": iso(known["signup"]) or None,
                "opted_in_at": iso(known["opt"]) or None,
                "last_changed": iso(one.at),
            }


def _segments(call: Call) -> Facts:
    for one in call.all("segment"):
        facts = {"id": one.key, "list_id": one.document["list"], "name": one.document["name"]}
        count = shown(call, one)["member_count"]
        yield {**facts, "type": one.document["type"], "members": count, "updated_at": iso(one.at)}


def _campaigns(call: Call) -> Facts:
    for one in call.all("campaign"):
        known = one.document
        yield {
            "id": one.key,
            "list_id": known["list"],
            "title": known["title"],
            "subject": known["subject"],
            "status": known["status"],
            "sent_at": iso(known["sent"]) or None,
            "emails": known.get("emails", 0),
        }


def _mailings(call: Call) -> Iterator[tuple[Version, Mailing]]:
    for one in call.all("campaign"):
        mailing = call.account.life.mailing(one.key)
        if one.document["status"] == "sent" and mailing is not None:
            yield one, mailing


def _sent(call: Call) -> Facts:
    for one, mailing in _mailings(call):
        for number, email in mailing.recipients:
            bounces = mailing.of(number, call.now, ("bounce",))
            facts = {"campaign_id": one.key, "email_id": key_of(email), "email": email}
            yield {**facts, "status": bounces[0].detail if bounces else "sent"}


def _email_activity(call: Call) -> Facts:
    for one, mailing in _mailings(call):
        for number, email in mailing.recipients:
            for event in mailing.of(number, call.now, ("open", "click", "bounce")):
                yield {
                    "campaign_id": one.key,
                    "email_id": key_of(email),
                    "email": email,
                    "action": event.action,
                    "at": iso(event.at),
                    "url": event.detail if event.action == "click" else None,
                    "bounce": event.detail if event.action == "bounce" else None,
                    "is_machine": event.is_machine,
                }


def _opens(call: Call) -> Facts:
    for one in _email_activity(call):
        if one["action"] == "open":
            yield one


def _unsubscribes(call: Call) -> Facts:
    for one, mailing in _mailings(call):
        for number, email in mailing.recipients:
            for event in mailing.of(number, call.now, ("unsubscribe",)):
                yield {
                    "campaign_id": one.key,
                    "email_id": key_of(email),
                    "email": email,
                    "at": iso(event.at),
                    "reason": event.detail,
                }


def _complaints(call: Call) -> Facts:
    for one, mailing in _mailings(call):
        for number, email in mailing.recipients:
            for event in mailing.of(number, call.now, ("abuse",)):
                yield {
                    "list_id": one.document["list"],
                    "campaign_id": one.key,
                    "email_id": key_of(email),
                    "email": email,
                    "at": iso(event.at),
                }


STREAMS: dict[str, Callable[[Call], Facts]] = {
    "audiences": _audiences,
    "members": _members,
    "segments": _segments,
    "campaigns": _campaigns,
    "email_activity": _email_activity,
    "opens": _opens,
    "sent": _sent,
    "unsubscribes": _unsubscribes,
    "complaints": _complaints,
}


def counts(call: Call) -> dict[str, int]:
    """How many records the streams have that are counted without looking at each."""
    return {
        "audiences": len(call.all("audience")),
        "members": sum(len(call.all(members(one.key))) for one in call.all("audience")),
        "segments": len(call.all("segment")),
        "campaigns": len(call.all("campaign")),
        "sent": sum(len(mailing.recipients) for _, mailing in _mailings(call)),
    }
