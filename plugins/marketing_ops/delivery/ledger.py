"""The ledger's statements: take what is due through the gate, settle what was called."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import Any

from psycopg.rows import dict_row

from marketing_ops import sqlfile
from marketing_ops.content.files import CONTACT
from marketing_ops.delivery.channels.message import Sender
from marketing_ops.delivery.channels.smtp import Outcome
from marketing_ops.settings import Settings
from marketing_ops.warehouse import Warehouse

CHANNEL = "email"
LEASE = timedelta(minutes=15)
"""Longer than a chunk can take: its bound in seconds plus one mail's timeouts."""

MAX_ATTEMPTS = 6
"""Temporary refusals of one send before it counts as rejected."""


@dataclass(frozen=True)
class Taken:
    """One send that the gate let through; `contact` is what templates may know of the person."""

    send_id: int
    entered_on: date
    attempts: int
    campaign_id: int
    version: int
    campaign: str
    contact_id: int
    brand: str
    is_transactional: bool
    ctx: dict[str, Any]
    contact: dict[str, Any]


@dataclass(frozen=True)
class Decision:
    """What the gate made of one send: `in_flight` (then `taken`), `cancelled` or `claimed`."""

    send_id: int
    due_at: datetime
    status: str
    reason: str | None
    taken: Taken | None


@dataclass(frozen=True)
class Gate:
    """What holds for one account's sends, besides what the warehouse knows."""

    account: str
    brand: str
    domain: str
    params: dict[str, Any]

    @classmethod
    def of(cls, account: str, brand: str, sender: Sender, settings: Settings) -> Gate:
        """The brand's policy for mail as parameters of the gate's statement."""
        policy = settings.policy(brand, CHANNEL)
        quiet, cap = policy.quiet, policy.cap
        params = {
            "account": account,
            "brand": brand,
            "domain": sender.domain,
            "groups": settings.limits.shards,
            "reporting_zone": settings.reporting_timezone,
            "is_quiet_by_contact": quiet is not None and quiet.timezone == "contact",
            "quiet_from": quiet.from_ if quiet else None,
            "quiet_to": quiet.to if quiet else None,
            "cap_sends": cap.sends if cap else None,
            "cap_per": cap.per if cap else None,
            "give_up": policy.give_up,
        }
        return cls(account, brand, sender.domain, params)


def expire_leases(warehouse: Warehouse, account: str, now: datetime) -> list[tuple[int, str]]:
    """(send_id, `unknown` or `claimed`) of the sends whose worker died."""
    rows = sqlfile.execute(warehouse, "engage/deliver_expire", {"account": account, "now": now})
    return [(int(send_id), str(status)) for send_id, status in rows]


def due_groups(warehouse: Warehouse, account: str, now: datetime, groups: int) -> list[int]:
    """The groups of shards in which something is due and may go out."""
    params = {"account": account, "now": now, "groups": groups}
    return [int(group) for (group,) in sqlfile.execute(warehouse, "engage/deliver_due", params)]


def take(
    warehouse: Warehouse,
    gate: Gate,
    group: int,
    *,
    after: tuple[datetime, int],
    chunk: int,
    now: datetime,
) -> list[Decision]:
    """Put the next due sends of a group through the whole gate; in the order they fell due.

    Args:
        after: (due_at, send_id) of the last one decided in this run.
    """
    params = gate.params | {
        "now": now,
        "lease_until": now + LEASE,
        "shard_group": group,
        "chunk": chunk,
        "after_due_at": after[0],
        "after_send_id": after[1],
    }
    with warehouse.transaction():
        sqlfile.execute(
            warehouse, "engage/deliver_lock", {"name": f"deliver:{gate.account}:{group}"}
        )
        with warehouse.cursor(row_factory=dict_row) as cursor:
            cursor.execute(sqlfile.load("engage/deliver_take").encode(), params)
            rows = cursor.fetchall()
    return sorted(map(_decision, rows), key=lambda decision: (decision.due_at, decision.send_id))


def settle_and_begin(
    warehouse: Warehouse,
    gate: Gate,
    now: datetime,
    *,
    done: tuple[Taken, Outcome, str] | None,
    following: Taken | None,
) -> bool:
    """Commit an outcome and the start of the next call at once; False = do not make that call.

    Args:
        done: a called send, its outcome and the hash of what it said.
        following: the send that is called next; it must still be in flight with this attempt.
    """
    params: dict[str, Any] = {
        "now": now,
        "account": gate.account,
        "send_id": None,
        "entered_on": None,
        "status": None,
        "reason": None,
        "not_before": None,
        "content_hash": None,
        "is_hard_bounce": False,
        "address_hash": None,
        "next_send_id": following.send_id if following else None,
        "next_entered_on": following.entered_on if following else None,
        "next_attempts": following.attempts if following else None,
    }
    if done is not None:
        params |= _outcome_params(*done, now)
    row = sqlfile.execute(warehouse, "engage/deliver_settle", params).fetchone()
    return bool(row and row[0])


def settle_uncalled(
    warehouse: Warehouse,
    taken: Taken,
    now: datetime,
    reason: str,
    *,
    not_before: datetime | None = None,
) -> None:
    """A taken send that cannot be written: cancelled, or claimed again until `not_before`."""
    warehouse.execute(
        "update mkt_engage.sends set status = %(status)s::text, reason = %(reason)s,"
        " lease_until = %(not_before)s, attempts = attempts - 1,"
        " outcome_at = case when %(status)s::text = 'cancelled' then %(now)s::timestamptz end"
        " where send_id = %(send_id)s and entered_on = %(entered_on)s and status = 'in_flight'"
        " and called_at is null",
        {
            "status": "claimed" if not_before else "cancelled",
            "reason": reason,
            "not_before": not_before,
            "now": now,
            "send_id": taken.send_id,
            "entered_on": taken.entered_on,
        },
    )


def release(warehouse: Warehouse, *, uncalled: list[Taken], unsent: list[Taken]) -> None:
    """Give back, as it was, what was taken and not called.

    Args:
        unsent: calls that were begun and certainly handed nothing over.
    """
    if uncalled or unsent:
        params = {
            "send_ids": [taken.send_id for taken in uncalled],
            "unsent_ids": [taken.send_id for taken in unsent],
        }
        sqlfile.execute(warehouse, "engage/deliver_release", params)


def retry_at(attempts: int, now: datetime) -> datetime:
    """When a temporarily refused send is tried again: 5, 10, 20, ... minutes, at most 4 hours."""
    return now + min(timedelta(minutes=5 * 2 ** (attempts - 1)), timedelta(hours=4))


def _outcome_params(
    taken: Taken, outcome: Outcome, content_hash: str, now: datetime
) -> dict[str, Any]:
    status, not_before = outcome.status, None
    reason: str | None = outcome.reason or None
    if outcome.status == "retry":
        is_last = taken.attempts >= MAX_ATTEMPTS
        not_before = None if is_last else retry_at(taken.attempts, now)
        reason = f"{'gave up after' if is_last else 'temporary'}: {outcome.reason}"
    address = str(taken.contact["email"] or "").lower()
    return {
        "send_id": taken.send_id,
        "entered_on": taken.entered_on,
        "status": {"retry": "claimed" if not_before else "rejected"}.get(status, status),
        "reason": reason,
        "not_before": not_before,
        "content_hash": content_hash,
        "is_hard_bounce": outcome.is_hard_bounce,
        "address_hash": hashlib.sha256(address.encode()).hexdigest(),
    }


def _decision(row: dict[str, Any]) -> Decision:
    taken = None
    if row["status"] == "in_flight":
        taken = Taken(
            send_id=row["send_id"],
            entered_on=row["entered_on"],
            attempts=row["attempts"],
            campaign_id=row["campaign_id"],
            version=row["version"],
            campaign=row["campaign"],
            contact_id=row["contact_id"],
            brand=row["brand"],
            is_transactional=row["is_transactional"],
            ctx=row["ctx"],
            contact={name: row[name] for name in CONTACT},
        )
    return Decision(row["send_id"], row["due_at"], row["status"], row["reason"], taken)
