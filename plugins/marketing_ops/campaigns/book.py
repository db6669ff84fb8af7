"""What one tick works by: the versions and the database's decisions about the campaigns."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import cache
from typing import Any

import orjson

from marketing_ops import sqlfile
from marketing_ops.campaigns import versions
from marketing_ops.campaigns.definition import After, Campaign
from marketing_ops.campaigns.plan import CHANNEL
from marketing_ops.campaigns.versions import Version
from marketing_ops.settings import settings, sources
from marketing_ops.warehouse import Warehouse

RELIED_ON = ("orders", "customers")
"""Streams whose age `guards.fresh` looks at: purchases and withdrawn consents."""


@dataclass(frozen=True)
class State:
    """What the database decided about one campaign. `is_full`: its entry guard tripped."""

    campaign_id: int
    name: str
    brand: str
    state: str
    live_version: int | None
    started_batch: int
    started_at: datetime
    is_full: bool
    is_stopped: bool

    @property
    def is_live(self) -> bool:
        """Whether people inside move."""
        return self.state == "live"

    @property
    def is_open(self) -> bool:
        """Whether people enter."""
        return self.is_live and not self.is_full


def read_states(warehouse: Warehouse) -> list[State]:
    """Every campaign that is not a draft."""
    return [State(*row) for row in sqlfile.execute(warehouse, "engage/tick_state")]


class Book:
    """The versions of all campaigns, and what the tick's statements need to know of them."""

    def __init__(self, warehouse: Warehouse) -> None:
        loaded = versions.load(warehouse)
        self.versions = {(version.campaign_id, version.version): version for version in loaded}
        self.types = sorted({name for version in loaded for name in version.event_types})
        self.watches = orjson.dumps(
            [row for version in loaded for row in _watches(version)]
        ).decode()

    def entry(self, state: State) -> Version:
        """The version by which people enter a live campaign now."""
        assert state.live_version is not None
        return self.versions[(state.campaign_id, state.live_version)]

    def segments(self, states: list[State]) -> list[str]:
        """The segments by which people enter, or would if their campaign were live."""
        found = set()
        for state in states:
            if state.live_version is not None and state.state != "stopped":
                segment = self.entry(state).campaign.entry.segment
                found |= {segment} if segment else set()
        return sorted(found)

    @property
    def hash(self) -> str:
        """Changes with every version and policy a tick may act by."""
        parts = [version.hash for version in self.versions.values()]
        text = orjson.dumps([parts, policies()])
        return hashlib.sha256(text).hexdigest()[:32]

    def fresh_brands(self, states: list[State]) -> set[str]:
        """The brands of live campaigns that hold their sends when facts are old."""
        live = {state.campaign_id for state in states if state.is_live}
        return {
            version.campaign.brand
            for version in self.versions.values()
            if version.campaign_id in live and version.campaign.guards.fresh is not None
        }

    def senders(self, states: list[State], ages: dict[str, timedelta]) -> list[dict[str, Any]]:
        """One row per version that may claim now; those of a stopped brand may not.

        Args:
            ages: brand -> how old the oldest facts are that its sends rely on.
        """
        live = {state.campaign_id for state in states if state.is_live and not state.is_stopped}
        return [
            _sender(version, ages.get(version.campaign.brand))
            for version in self.versions.values()
            if version.campaign_id in live
        ]


def _sender(version: Version, age: timedelta | None) -> dict[str, Any]:
    guards = version.campaign.guards
    return {
        "campaign_id": version.campaign_id,
        "version": version.version,
        "brand": version.campaign.brand,
        "priority": guards.priority,
        "on_cap": guards.on_cap,
        "late_seconds": guards.late.total_seconds(),
        "is_stale": guards.fresh is not None and age is not None and age > guards.fresh,
    }


def _watches(version: Version) -> list[dict[str, Any]]:
    campaign = version.campaign
    common = {"campaign_id": version.campaign_id, "version": version.version}
    found: list[dict[str, Any]] = []
    if campaign.goal is not None:
        goal = campaign.goal
        found.append(
            common
            | {"event_type": goal.event, "match": goal.match, "is_goal": True}
            | {"is_exit": "goal" in campaign.exit, "seconds": goal.within.total_seconds()}
        )
    found.extend(
        common
        | {"event_type": item.event, "match": item.match, "is_goal": False}
        | {"is_exit": True, "seconds": None}
        for item in campaign.exit
        if not isinstance(item, str)
    )
    return found


def policies() -> list[dict[str, Any]]:
    """The cap, quiet hours and patience of every brand, as the claim reads them."""
    rows = []
    for brand in settings().brands:
        policy = settings().policy(brand, CHANNEL)
        cap, quiet = policy.cap, policy.quiet
        rows.append(
            {
                "brand": brand,
                "channel": CHANNEL,
                "cap_sends": cap.sends if cap else None,
                "cap_seconds": cap.per.total_seconds() if cap else None,
                "quiet_from": quiet.from_ if quiet else None,
                "quiet_to": quiet.to if quiet else None,
                "quiet_zone": quiet.timezone if quiet else "contact",
                "give_up_seconds": policy.give_up.total_seconds(),
            }
        )
    return rows


def reentry(campaign_id: int, campaign: Campaign) -> dict[str, Any]:
    """How a campaign judges somebody who was in it before.

    `is_never`: any earlier enrolment refuses. `is_single`: an active one does (an entry without a
    key has a person inside once at a time). `gap_seconds`: one entered nearer than this does.
    """
    entry = campaign.entry
    gaps = [entry.cool_down.total_seconds()] if entry.cool_down else []
    gaps += [entry.mode.after.total_seconds()] if isinstance(entry.mode, After) else []
    return {
        "campaign_id": campaign_id,
        "campaign": campaign.campaign,
        "holdout": campaign.holdout,
        "is_never": entry.mode == "never",
        "is_single": entry.key is None,
        "gap_seconds": max(gaps) if gaps else None,
    }


@cache
def _relied_on() -> dict[str, list[tuple[str, str]]]:
    """Brand -> the (account, stream) pairs its sends rely on."""
    found: dict[str, list[tuple[str, str]]] = {}
    for name, source in sources()[0].items():
        for stream, schedule in source.streams.items():
            if stream in RELIED_ON and schedule != "off":
                found.setdefault(source.brand, []).append((name, stream))
    return found


def ages(warehouse: Warehouse, brands: set[str], at: datetime, batch: int) -> dict[str, timedelta]:
    """Brand -> age of the oldest stream it relies on; a stream that never came is a century old.

    A brand without such streams has nothing to wait for and is left out.
    """
    pairs = [(brand, *pair) for brand in brands for pair in _relied_on().get(brand, [])]
    if not pairs:
        return {}
    rows = sqlfile.execute(
        warehouse,
        "engage/tick_freshness",
        {
            "accounts": [account for _, account, _ in pairs],
            "streams": [stream for _, _, stream in pairs],
            "batch": batch,
        },
    ).fetchall()
    fresh = {(row[0], row[1]): row[2] for row in rows}
    found: dict[str, timedelta] = {}
    for brand, account, stream in pairs:
        seen = fresh[(account, stream)]
        age = at - seen if seen is not None else timedelta(days=36525)
        found[brand] = max(age, found.get(brand, age))
    return found
