"""One batch: identities first, then what they did, then what is known of each contact."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from marketing_ops.identity import inbox
from marketing_ops.identity.inbox import Action
from marketing_ops.identity.merges import refresh_contacts, regroup
from marketing_ops.identity.report import UnifyReport
from marketing_ops.identity.statements import Batch, analyze, bigints

CONTACTS_PAGE = 50_000

# Which entities may name a person that nobody has shown yet, or show one.
_WITH_PEOPLE = (
    "contacts",
    "merges",
    "consents",
    "orders",
    "carts",
    "deals",
    "list_members",
    "email_events",
)


def write(
    batch: Batch,
    counts: Mapping[str, int],
    actions: Sequence[Action],
    send_ids: Sequence[int],
    done: UnifyReport,
) -> None:
    """Write everything of the batch; statements of entities without new rows are left out.

    Args:
        counts: rows of each entity in the batch's runs (bounded: only zero or not matters).
    """
    has = {entity: count > 0 for entity, count in counts.items()}
    contacts: set[int] = set()
    consents: set[int] = set()
    if any(has.get(entity) for entity in _WITH_PEOPLE):
        contacts |= _write_identities(batch, has.get("merges", False), done, consents)
    if has.get("consents"):
        consents.update(_count(done, "consents", batch.run("unify_consents"))["contacts"])
    if has.get("products"):
        done.changes["products"] += batch.run("unify_products")["rowcount"]
        _settle(batch, "mkt_core.products")
    if has.get("orders"):
        orders = _count(done, "orders", batch.run("unify_orders"))
        contacts.update(orders["contacts"])
        has["refunds"] = has.get("refunds", False) or orders["refunds"] > 0
        _settle(batch, "mkt_core.orders")
    if has.get("orders") or has.get("order_lines"):
        _count(done, "order_lines", batch.run("unify_order_lines"))
    if has.get("refunds"):
        _count(done, "refunds", batch.run("unify_refunds"))
    if has.get("carts"):
        _count(done, "carts", batch.run("unify_carts"))
    _write_pipeline(batch, has, done)
    for entity in ("lists", "list_members"):
        if has.get(entity):
            _count(done, entity, batch.run(f"unify_{entity}"))
    if has.get("email_events"):
        found = _count(done, "email_events", batch.run("unify_email_events"))
        consents.update(found["contacts"])
    if actions:
        found = inbox.write(batch, list(actions))
        done.events += found["events"]
        done.changes["inbox_matched"] += found["matched"]
        consents.update(found["contacts"])
    if send_ids:
        done.events += batch.run("unify_email_sent", send_ids=bigints(send_ids))["events"]
    _write_contacts(batch, sorted(contacts), done)
    if consents:
        batch.run("unify_consent_now", contacts=bigints(sorted(consents)))


def _write_pipeline(batch: Batch, has: dict[str, bool], done: UnifyReport) -> None:
    """Companies, owners and stages, then the deals and their way through the stages."""
    for entity in ("companies", "owners"):
        if has.get(entity):
            _count(done, entity, batch.run(f"unify_{entity}"))
    if has.get("stages"):
        stages = _count(done, "stages", batch.run("unify_stages"))
        has["deals"] = has.get("deals", False) or stages["deals"] > 0
        _settle(batch, "mkt_core.pipeline_stages")
    if has.get("deals"):
        _count(done, "deals", batch.run("unify_deals"))
        _settle(batch, "mkt_core.deals")
        _count(done, "deal_stages", batch.run("unify_deal_stages"))


def _write_identities(
    batch: Batch, has_merges: bool, done: UnifyReport, consents: set[int]
) -> set[int]:
    """Identities, their keys and the merges these bring; the contacts to compute anew."""
    found = batch.run("unify_identities")
    changed = {*found["inserted"], *found["updated"]}
    done.changes["identities"] += len(changed)
    _settle(batch, "mkt_core.contact_identities")
    moved: list[int] = []
    seeds: set[int] = set()
    if changed:
        keys = batch.run("unify_identity_keys", profiles=bigints(sorted(changed)))
        seeds.update(keys["seeds"])
    if has_merges:
        seeds.update(batch.run("unify_merges")["seeds"])
    if seeds:
        merged, moved = regroup(batch, sorted(seeds))
        done.merges += merged
        consents.update(moved)
    touched = sorted({*changed, *found["observed"]})
    if not touched:
        return set(moved)
    people = batch.warehouse.execute(
        "select array(select distinct contact_id from mkt_core.contact_identities"
        " where profile_id = any(%s::bigint[]))",
        (bigints(touched),),
    ).fetchone()
    assert people is not None
    return {*moved, *people[0]}


def _write_contacts(batch: Batch, contacts: list[int], done: UnifyReport) -> None:
    for start in range(0, len(contacts), CONTACTS_PAGE):
        found = refresh_contacts(batch, contacts[start : start + CONTACTS_PAGE])
        done.contacts += found["changes"]
        done.changes["history_versions"] += found["versions"]


def _count(done: UnifyReport, entity: str, found: dict[str, Any]) -> dict[str, Any]:
    done.changes[entity] += found.get("changes", found.get("rowcount", 0))
    done.changes["removed_events" if entity != "order_lines" else entity] += found.get("removed", 0)
    done.changes["waiting"] += found.get("waiting", 0)
    done.events += found.get("events", 0)
    return found


def _settle(batch: Batch, table: str) -> None:
    """After many new rows of `table`: let the planner know before the next statement joins it."""
    if not batch.is_small:
        analyze(batch.warehouse, table)
