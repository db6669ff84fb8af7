"""What the account keeps of an audience, a segment, a campaign and a member."""

from __future__ import annotations

from collections.abc import Iterator

from sandbox.mailchimp.names import contact_id, key_of
from sandbox.records import Document, Row

PERMISSIONS = {"0a1b2c3d4e": "Email", "5f6a7b8c9d": "Customized online advertising"}


def audience(shop: str) -> Document:
    """The audience of the shop's newsletter."""
    return {
        "name": "Newsletter",
        "company": shop,
        "double_optin": True,
        "merge_fields": [
            {"merge_id": 1, "tag": "FNAME", "name": "First Name", "type": "text"},
            {"merge_id": 2, "tag": "LNAME", "name": "Last Name", "type": "text"},
            {"merge_id": 3, "tag": "BIRTHDAY", "name": "Birthday", "type": "birthday"},
        ],
    }


def segment(list_id: str, name: str, options: Document | None = None) -> Document:
    """A segment: static (a tag, as Mailchimp calls it too) without conditions, else saved."""
    return {
        "list": list_id,
        "name": name,
        "type": "saved" if options else "static",
        "options": options,
    }


def campaign(list_id: str, title: str, subject: str, at: int) -> Document:
    """A campaign that waits to be sent."""
    return {
        "list": list_id,
        "segment": None,
        "title": title,
        "subject": subject,
        "status": "save",
        "created": at,
        "sent": None,
    }


def send(key: str, draft: Document, reached: list[Document], at: int) -> Iterator[Row]:
    """The rows of a campaign sent to these members."""
    yield "campaign", key, at, {**draft, "status": "sent", "sent": at, "emails": len(reached)}
    numbers, addresses = [one["n"] for one in reached], [one["email"] for one in reached]
    yield "recipients", key, at, {"n": numbers, "email": addresses}


def person(list_id: str, key: int, document: Document, at: int, status: str) -> Document:
    """A member made of one of the shop's people (or of anybody with the same fields)."""
    days = [tag for tag in document.get("tags", ()) if tag.startswith("birthday:")]
    email = document["email"]
    is_asked = status in ("subscribed", "unsubscribed", "cleaned")
    return {
        "n": key,
        "contact": contact_id(key),
        "list": list_id,
        "email": email,
        "hash": key_of(email),
        "status": status,
        "merge": {
            "FNAME": document.get("first_name") or "",
            "LNAME": document.get("last_name") or "",
            "BIRTHDAY": days[0][-5:].replace("-", "/") if days and key % 4 else "",
        },
        "tags": [],
        "signup": at if key % 10 else None,
        "opt": at if is_asked else None,
        "ip": f"203.0.113.{key % 254 + 1}" if key % 10 else "",
        "language": (document.get("locale") or "en")[:2],
        "vip": key % 25 == 0,
        "source": "Hosted Signup Form" if key % 10 else "Import",
        "permissions": list(PERMISSIONS)[: key % 3],
        "by": "user",
        "reason": "N/A (Unsubscribed by an admin)" if status == "unsubscribed" else "",
        "left_by": "admin" if status == "unsubscribed" else "",
    }


def left(member: Document, at: int, by: str, reason: str) -> Document:
    """The member unsubscribed; who did it decides whether the API may subscribe them again."""
    return {**member, "status": "unsubscribed", "by": by, "left_by": by, "reason": reason}
