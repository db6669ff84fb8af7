"""What is written to Mailchimp: members, their tags, static segments."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from hashlib import md5
from itertools import islice
from typing import Any

from marketing_ops.sources.base import Outcome
from marketing_ops.sources.mailchimp.answers import (
    GoneError,
    RecipientBusyError,
    RecipientRefusedError,
    refusal_of,
)
from marketing_ops.sources.mailchimp.client import MailchimpClient
from marketing_ops.sources.mailchimp.records import member_key

BATCH = 500
"""The most addresses Mailchimp takes in one call."""


def email_hash(address: str) -> str:
    """What Mailchimp calls an address by: md5 of it in lower case."""
    return md5(address.strip().lower().encode(), usedforsecurity=False).hexdigest()


def write_members(
    client: MailchimpClient,
    audience: str,
    members: Sequence[Mapping[str, Any]],
    *,
    status_if_new: str = "pending",
) -> list[Outcome]:
    """Add members or change what is given of known ones; a known one's status is never touched.

    One call each: in a batch Mailchimp knows no `status_if_new`, and `status` would subscribe
    again whoever left (2026-11).

    Args:
        audience: its id.
        members: `email_address` and what else Mailchimp takes (`merge_fields`, `language`, ...).
        status_if_new: of somebody new; `pending` lets Mailchimp ask for a confirmation.
    """
    return [_write_member(client, audience, member, status_if_new) for member in members]


def _write_member(
    client: MailchimpClient, audience: str, member: Mapping[str, Any], status_if_new: str
) -> Outcome:
    address = str(member["email_address"])
    body = {key: value for key, value in member.items() if key != "status"}
    path = f"/lists/{audience}/members/{email_hash(address)}"
    try:
        made = client.send(
            "PUT", path, {**body, "status_if_new": status_if_new}, is_idempotent=True
        )
    except (GoneError, RecipientRefusedError, RecipientBusyError) as error:
        return _refused(address, error)
    return Outcome(address, "done", external_id=member_key(audience, made) or "")


def write_tags(
    client: MailchimpClient,
    audience: str,
    members: Sequence[str],
    *,
    add: Sequence[str] = (),
    remove: Sequence[str] = (),
) -> list[Outcome]:
    """Give members tags and take others from them; an unknown tag is made.

    Args:
        audience: its id.
        members: their addresses, or their keys as in `members` (`<audience>:<contact>`).
    """
    tags = [{"name": name, "status": "active"} for name in add]
    tags += [{"name": name, "status": "inactive"} for name in remove]
    return [_write_tags(client, audience, member, tags) for member in members]


def _write_tags(
    client: MailchimpClient, audience: str, member: str, tags: list[dict[str, str]]
) -> Outcome:
    who = email_hash(member) if "@" in member else member.rpartition(":")[2]
    path = f"/lists/{audience}/members/{who}/tags"
    try:
        client.send("POST", path, {"tags": tags}, is_idempotent=True)
    except (GoneError, RecipientRefusedError, RecipientBusyError) as error:
        return _refused(member, error)
    return Outcome(member, "done")


def write_segment_members(
    client: MailchimpClient,
    segment: str,
    *,
    add: Sequence[str] = (),
    remove: Sequence[str] = (),
) -> list[Outcome]:
    """Put addresses into a static segment and take others out: first those added.

    Args:
        segment: its key as in `segments` (`<audience>:<segment>`).
    """
    audience, _, own = segment.partition(":")
    path = f"/lists/{audience}/segments/{own}"
    outcomes = []
    for name, addresses in (("members_to_add", add), ("members_to_remove", remove)):
        for batch in _batches(addresses):
            answer = client.send("POST", path, {name: batch}, is_idempotent=True)
            refused = _errors(answer)
            outcomes += [_segmented(address, refused.get(address.lower())) for address in batch]
    return outcomes


def _errors(answer: Mapping[str, Any]) -> dict[str, str]:
    """Our word for what is wrong with each address: 200 is not success."""
    found: dict[str, str] = {}
    for error in answer.get("errors") or ():
        code = refusal_of(error.get("error"))
        found.update((str(address).lower(), code) for address in error["email_addresses"])
    return found


def _segmented(address: str, code: str | None) -> Outcome:
    if code is None:
        return Outcome(address, "done")
    if code == "not_in_segment":
        return Outcome(address, "unchanged", code)
    return Outcome(address, "missing" if code == "not_found" else "rejected", code)


def _refused(key: str, error: GoneError | RecipientRefusedError | RecipientBusyError) -> Outcome:
    if isinstance(error, GoneError):
        return Outcome(key, "missing", "not_found")
    if isinstance(error, RecipientBusyError):
        return Outcome(key, "unknown", "try_again_later")
    return Outcome(key, "rejected", error.code)


def _batches(addresses: Sequence[str]) -> Iterator[list[str]]:
    rest = iter(addresses)
    while batch := list(islice(rest, BATCH)):
        yield batch
