"""Which identities are one person: connected by keys that few enough people share."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from marketing_ops import clock, sqlfile
from marketing_ops.errors import FatalError
from marketing_ops.identity.statements import Batch, bigints
from marketing_ops.settings import settings
from marketing_ops.warehouse import (
    Warehouse,
    audit,
    ensure_partitions,
    lock,
    open_batch,
    translated_errors,
)


def regroup(batch: Batch, seeds: Iterable[int]) -> tuple[int, list[int]]:
    """Join and part the contacts of `seeds` and of everybody they share a key with.

    A contact is a connected component of identities and keys; a key with more holders than
    `identity.max_people_per_key` joins nobody, and what it joined before it grew so popular comes
    apart. Facts, consents, memberships, suppressions and enrolments follow their identity.

    Returns:
        How many identities moved, and the contacts to compute anew (old and new ones).
    """
    params = {"max_people": settings().identity.max_people_per_key}
    sqlfile.execute(batch.warehouse, "core/merge_tables")
    batch.run("merge_collect", seeds=bigints(seeds), **params)
    batch.run("merge_links", **params)
    batch.warehouse.execute("analyze unify_group, unify_links")
    while batch.run("merge_spread")["rowcount"]:
        pass
    moves = batch.warehouse.execute(
        "select old_contact_id, label from unify_group where old_contact_id <> label"
    ).fetchall()
    contacts = sorted({contact for move in moves for contact in move})
    if moves:
        _hold_shards(batch, contacts)
        batch.run("merge_close")
        batch.run("merge_open")
        batch.run("merge_facts")
        batch.run("merge_stays")
        batch.run("merge_people")
        today = clock.now().date()
        ensure_partitions(batch.warehouse, "mkt_engage.enrolment_log", today, today)
        batch.run("merge_enrolments")
    batch.warehouse.execute("drop table unify_group, unify_links")
    return len(moves), contacts


def _hold_shards(batch: Batch, contacts: list[int]) -> None:
    """Wait for ticks at work on the shards of `contacts`, and hold new ones off until the commit.

    A tick decides by what it read of a contact; a merge in between would send to two people in
    the name of one.
    """
    from marketing_ops.campaigns.runner import SHARDS, lock_name

    groups = settings().limits.shards
    for group in sorted({contact % SHARDS % groups for contact in contacts}):
        lock(batch.warehouse, *lock_name(group, groups))


def refresh_contacts(batch: Batch, contacts: Iterable[int]) -> dict[str, Any]:
    """Compute `contacts` anew from their identities' records and orders."""
    priority = settings().identity.field_priority
    return batch.run("unify_contacts", contacts=bigints(contacts), field_priority=list(priority))


def shared_params(number: int) -> dict[str, Any]:
    """The parameters every statement of batch `number` may read."""
    return {
        "batch": number,
        "now": clock.now(),
        "timezone": settings().reporting_timezone,
        "reporting_currency": settings().reporting_currency,
    }


def undo(warehouse: Warehouse, merge_id: int, actor: str) -> int:
    """Part the two people that merge `merge_id` took for one; returns the batch that did it.

    The keys that joined them are cut for the merged side, so that no later unify joins them
    again. The batch is a baseline: nobody enters a campaign because of it. Nothing sent or
    recorded is rewritten but the person it belongs to.

    Raises:
        FatalError: there is no such merge, or it is undone already.
    """
    with translated_errors(), warehouse.transaction():
        lock(warehouse, "batches")
        row = warehouse.execute(
            "select from_contact_id, from_profile_ids, into_profile_ids, undone_batch"
            " from mkt_core.contact_merges where merge_id = %s",
            (merge_id,),
        ).fetchone()
        if row is None:
            raise FatalError(f"there is no merge {merge_id} in mkt_core.contact_merges")
        first, from_profiles, into_profiles, undone = row
        if undone is not None:
            raise FatalError(f"merge {merge_id} was undone already, in batch {undone}")
        number = open_batch(warehouse, "undo_merge", is_baseline=True)
        batch = Batch(warehouse, number, False, shared_params(number))
        parted = _part(batch, merge_id, from_profiles, into_profiles)
        refresh_contacts(batch, parted)
        batch.run("unify_consent_now", contacts=bigints(parted))
        details = {"from_contact_id": first, "batch": number, "identities": len(from_profiles)}
        audit(warehouse, actor, "undo_merge", str(merge_id), details)
    return number


def _part(
    batch: Batch, merge_id: int, from_profiles: list[int], into_profiles: list[int]
) -> list[int]:
    """Cut what joins the two sides until the merge is closed; the contacts to compute anew."""
    contacts: set[int] = set()
    # First the keys of the two sides alone; a later common acquaintance may still join them.
    for others in (bigints(into_profiles), None):
        batch.run("merge_cut", from_profiles=bigints(from_profiles), into_profiles=others)
        _, moved = regroup(batch, [*from_profiles, *into_profiles])
        contacts.update(moved)
        closed = batch.warehouse.execute(
            "select undone_batch is not null from mkt_core.contact_merges where merge_id = %s",
            (merge_id,),
        ).fetchone()
        if closed and closed[0]:
            return sorted(contacts)
    raise FatalError(f"merge {merge_id} joins identities that share no key: it cannot be undone")
