"""The receiver's inbox: opens, clicks and one-click unsubscribes, matched to their send."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from typing import Any

import orjson

from marketing_ops import clock, sqlfile
from marketing_ops.identity.statements import Batch, bigints
from marketing_ops.warehouse import Warehouse

PAGE_ROWS = 5000
WAIT_FOR_SEND = timedelta(days=7)
_FIRST = datetime(1970, 1, 1, tzinfo=UTC)
_LAST = datetime(2100, 1, 1, tzinfo=UTC)

# Fetched by a machine, not by the reader's eyes: Google's and Yahoo's image caches, and Apple's
# privacy proxy, which names itself by these eleven letters alone (both as of November 2026).
_PROXY_WORDS = ("GoogleImageProxy", "YahooMailProxy")
_PROXY_NAMES = ("Mozilla/5.0",)


@dataclass(frozen=True)
class Action:
    """One readable row of the inbox."""

    inbox_id: int
    brand: str
    topic: str
    delivery_id: str
    send_id: int
    at: datetime
    url: str | None
    is_proxy: bool

    @property
    def month(self) -> date:
        """The first day of its month, UTC."""
        return self.at.astimezone(UTC).date().replace(day=1)


@dataclass
class Actions:
    """A page of the inbox, ready to be written.

    Attributes:
        matched: those whose send exists.
        unmatched: how many wait for their send.
        malformed: how many can never be read.
    """

    matched: list[Action] = field(default_factory=list)
    unmatched: int = 0
    malformed: int = 0


def read(warehouse: Warehouse) -> Actions:
    """The next unprocessed rows; closes what cannot be read and notes what has no send yet."""
    rows = sqlfile.execute(warehouse, "core/unify_inbox_pending", {"bound": PAGE_ROWS}).fetchall()
    if not rows:
        return Actions()
    readable: list[Action] = []
    refused: list[tuple[int, str]] = []
    for inbox_id, brand, topic, delivery_id, body, _ in rows:
        try:
            readable.append(_parse(inbox_id, brand, topic, delivery_id, bytes(body)))
        except ValueError as error:
            refused.append((inbox_id, str(error)))
    if refused:
        ids, reasons = zip(*refused, strict=True)
        params = {"inbox_ids": bigints(ids), "reasons": list(reasons), "now": clock.now()}
        sqlfile.execute(warehouse, "core/unify_inbox_malformed", params)
    known = _known_sends(warehouse, readable)
    matched = [action for action in readable if action.send_id in known]
    strangers = [action.inbox_id for action in readable if action.send_id not in known]
    if strangers:
        now = clock.now()
        params = {
            "inbox_ids": bigints(strangers),
            "now": now,
            "given_up_before": now - WAIT_FOR_SEND,
        }
        sqlfile.execute(warehouse, "core/unify_inbox_unmatched", params)
    return Actions(matched, len(strangers), len(refused))


def write(batch: Batch, actions: list[Action]) -> dict[str, Any]:
    """Write the events and refusals of `actions` in the batch; returns the statement's counts."""
    return batch.run(
        "unify_inbox",
        inbox_ids=bigints(action.inbox_id for action in actions),
        topics=[action.topic for action in actions],
        brands=[action.brand for action in actions],
        delivery_ids=[action.delivery_id for action in actions],
        send_ids=bigints(action.send_id for action in actions),
        instants=[action.at for action in actions],
        urls=[action.url for action in actions],
        proxies=[action.is_proxy for action in actions],
    )


def _known_sends(warehouse: Warehouse, actions: list[Action]) -> set[int]:
    if not actions:
        return set()
    ids = bigints({action.send_id for action in actions})
    rows = warehouse.execute(
        "select send_id from mkt_engage.sends where send_id = any(%s::bigint[])", (ids,)
    )
    return {int(row[0]) for row in rows}


def _parse(inbox_id: int, brand: str, topic: str, delivery_id: str, body: bytes) -> Action:
    """The row as an action.

    Raises:
        ValueError: what is wrong with it, without its content.
    """
    try:
        data = orjson.loads(body)
    except orjson.JSONDecodeError:
        raise ValueError("the body is not JSON") from None
    if not isinstance(data, dict):
        raise ValueError("the body is not a JSON object")
    send_id, url, agent = data.get("send_id"), data.get("url"), data.get("user_agent")
    if not isinstance(send_id, int) or isinstance(send_id, bool) or not 0 < send_id < 2**63:
        raise ValueError("send_id is not a positive integer")
    try:
        at = datetime.fromisoformat(str(data.get("at")))
    except ValueError:
        raise ValueError("at is not an ISO 8601 instant") from None
    if at.tzinfo is None or not _FIRST <= at < _LAST:
        raise ValueError("at has no UTC offset or lies outside 1970 to 2100")
    is_proxy = topic == "email_opened" and _is_proxy(agent if isinstance(agent, str) else "")
    link = url.replace("\x00", "") if isinstance(url, str) else None
    return Action(inbox_id, brand, topic, delivery_id, send_id, at, link, is_proxy)


def _is_proxy(agent: str) -> bool:
    return agent.strip() in _PROXY_NAMES or any(word in agent for word in _PROXY_WORDS)
