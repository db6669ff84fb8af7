"""From Mailchimp's records to those of our streams: ids that are unique in the account."""

from __future__ import annotations

from collections import Counter
from hashlib import blake2b
from typing import Any

from marketing_ops.sources.base import Stream
from marketing_ops.sources.mailchimp.parents import Parent

Record = dict[str, Any]


def shaped(stream: Stream, parent: Parent, rows: list[Any]) -> list[Any]:
    """The records of a stream in a page of rows. What is no object stays as it is."""
    if name := stream.api["events"]:
        return [event for row in rows for event in _events(parent, row, name)]
    make = _MAKERS.get(stream.name, _same)
    times = [column.path for column in stream.columns if column.type == "timestamptz"]
    return [_timed(make(parent, row), times) if isinstance(row, dict) else row for row in rows]


def member_key(list_id: str, row: Record) -> str | None:
    """What a member is known by: stays the same when the address changes; None without any."""
    own = row.get("contact_id") or row.get("unique_email_id")
    return f"{list_id}:{own}" if own else None


def _timed(record: Record, times: list[str]) -> Record:
    """Mailchimp writes "" for a time that is not known."""
    for name in times:
        if record.get(name) == "":
            record[name] = None
    return record


def _same(_parent: Parent, row: Record) -> Record:
    return row


def _member(parent: Parent, row: Record) -> Record:
    return {
        **row,
        "list_id": parent.id,
        "email_hash": row.get("id"),
        "id": member_key(parent.id, row),
    }


def _numbered(parent: Parent, row: Record) -> Record:
    """A segment or complaint, whose number is unique in its audience."""
    own = row.get("id")
    key = None if own is None else f"{parent.id}:{own}"
    return {**row, "list_id": parent.id, "own_id": own, "id": key}


def _recipient(parent: Parent, row: Record) -> Record:
    record = {**row, "campaign_id": parent.id}
    record["email_hash"] = own = record.pop("email_id", None)
    record["id"] = f"{parent.id}:{own}" if own else None
    return record


def _sent(parent: Parent, row: Record) -> Record:
    return {**_recipient(parent, row), "sent_at": parent.sent_at}


def _events(parent: Parent, row: Any, name: str) -> list[Any]:
    """What one recipient did, each as a record of its own; a row without a list is rejected."""
    if not isinstance(row, dict) or not isinstance(row.get(name), list):
        return [row]
    base = _recipient(parent, {key: value for key, value in row.items() if key != name})
    again: Counter[str] = Counter()
    made = []
    for item in row[name]:
        if not isinstance(item, dict):
            made.append(item)
            continue
        found = {key: value for key, value in item.items() if key != "ip"}
        # Mailchimp gives events no id, and may show the same second twice.
        facts = [str(item.get(name) or "") for name in ("action", "type", "timestamp", "url")]
        text = "\0".join([str(base["id"]), *facts])
        again[text] += 1
        digest = blake2b(f"{text}\0{again[text]}".encode("utf-8", "replace"), digest_size=12)
        made.append({**base, **found, "id": f"{parent.id}:{digest.hexdigest()}"})
    return made


_MAKERS = {
    "members": _member,
    "segments": _numbered,
    "complaints": _numbered,
    "sent": _sent,
    "unsubscribes": _recipient,
}
