"""Sends whose outcome nobody knows: listed, never repeated by themselves, settled by a person."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Literal

from marketing_ops import clock, sqlfile
from marketing_ops.errors import FatalError
from marketing_ops.warehouse import Warehouse, audit


@dataclass(frozen=True)
class UnknownSend:
    """One send in doubt. `provider_id` is its Message-ID: look for it in the server's log."""

    send_id: int
    campaign: str
    step: str | None
    account: str
    contact_id: int
    in_flight_at: datetime
    provider_id: str
    reason: str


def list_unknown(warehouse: Warehouse, at_most: int = 1000) -> list[UnknownSend]:
    """The sends in doubt, oldest first."""
    rows = sqlfile.execute(warehouse, "engage/deliver_unknown", {"at_most": at_most})
    return [UnknownSend(*row) for row in rows]


def settle(
    warehouse: Warehouse, send_id: int, outcome: Literal["accepted", "rejected"], actor: str
) -> None:
    """Record what the server's log proves about one send in doubt.

    A send proved `rejected` was not delivered; it is not repeated either, but counts for no cap.

    Raises:
        FatalError: that send is not in doubt.
    """
    with warehouse.transaction():
        row = warehouse.execute(
            "update mkt_engage.sends set status = %s, reason = 'settled by hand', outcome_at = %s"
            " where send_id = %s and status = 'unknown' returning 1",
            (outcome, clock.now(), send_id),
        ).fetchone()
        if row is None:
            raise FatalError(f"send {send_id} is not unknown: see `marketing-ops unknown-sends`")
        audit(warehouse, actor, "settle_send", str(send_id), {"outcome": outcome})


def render(sends: list[UnknownSend]) -> str:
    """The list for a terminal, with what to do."""
    if not sends:
        return "no send is in doubt"
    lines = [
        f"{send.send_id}  {send.in_flight_at:%Y-%m-%d %H:%M:%S}Z  {send.campaign}/{send.step}"
        f"  contact {send.contact_id}  {send.account}  <{send.provider_id}>  {send.reason}"
        for send in sends
    ]
    return "\n".join(
        [
            f"{len(sends)} send(s) in doubt: the server may or may not have taken them, and nobody"
            " gets them a second time. Look for the Message-ID in the server's log.",
            *lines,
        ]
    )
