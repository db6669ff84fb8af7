"""What a marketer decides about a campaign. Files declare; only these functions start and stop."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from marketing_ops import clock, incidents, sqlfile, yamlfile
from marketing_ops.campaigns import definition, lint, runner, versions
from marketing_ops.campaigns.definition import Campaign
from marketing_ops.campaigns.versions import Frozen
from marketing_ops.errors import FatalError
from marketing_ops.settings import settings
from marketing_ops.warehouse import (
    Warehouse,
    audit,
    ensure_partitions,
    last_batch,
    lock,
    translated_errors,
)
from marketing_ops.yamlfile import FileProblemsError


def start(warehouse: Warehouse, name: str, actor: str) -> int:
    """Make the file's present content the live version; returns its number.

    The first start, or one after a stop or pause, ignores everything that happened before it:
    only people for whom the entry becomes true from now on come in (unless the file says
    `existing: enrol`). Starting a live campaign again takes an edited file over for new entries
    without a gap; people inside keep the version they entered with.

    Raises:
        FileProblemsError: the file, a template or a segment has problems; nothing was changed.
        FatalError: there is no such file.
    """
    campaign = _file(name)
    return go_live(warehouse, campaign, versions.freeze(campaign), actor, clock.now())


def go_live(
    warehouse: Warehouse, campaign: Campaign, frozen: Frozen, actor: str, at: datetime
) -> int:
    """As `start`, for what was checked and frozen already, from the instant `at` on."""
    name = campaign.campaign
    with translated_errors(), warehouse.transaction():
        lock(warehouse, "campaign", name)
        campaign_id, state = _row(warehouse, campaign, actor, at)
        version = versions.store(warehouse, campaign_id, campaign, frozen, actor, at)
        if state == "live":
            warehouse.execute(
                "update mkt_engage.campaigns set live_version = %s where campaign_id = %s",
                (version, campaign_id),
            )
        else:
            _begin(warehouse, campaign_id, campaign, version, actor, at)
        details = {"version": version, "was": state, "hash": frozen.hash}
        audit(warehouse, actor, "campaign.start", name, details)
    return version


def pause(warehouse: Warehouse, name: str, actor: str) -> None:
    """Nobody enters, nobody moves, nothing is claimed. Goals and exits are still noted.

    What was claimed and is not in flight yet waits too.
    """
    with translated_errors(), warehouse.transaction():
        campaign_id = _change(warehouse, name, actor, {"live"}, "paused")
        audit(warehouse, actor, "campaign.pause", name, {"campaign_id": campaign_id})


def resume(warehouse: Warehouse, name: str, actor: str) -> None:
    """A paused campaign goes on: who would have entered meanwhile enters at the next tick.

    Sends that became due meanwhile are subject to `guards.late`. After `guards.max_entries`
    stopped the entries, the people held back stay out: only new ones come in from now on.
    """
    with translated_errors(), warehouse.transaction():
        campaign_id = _change(warehouse, name, actor, {"paused", "live"}, "live")
        row = warehouse.execute(
            "update mkt_engage.campaigns set entries_stopped_at = null"
            " where campaign_id = %s and entries_stopped_at is not null returning campaign_id",
            (campaign_id,),
        ).fetchone()
        if row is not None:
            warehouse.execute(
                "delete from mkt_engage.campaign_marks where campaign_id = %s", (campaign_id,)
            )
            incidents.close_incidents(warehouse, f"campaigns.{name}")
        details = {"campaign_id": campaign_id, "was_full": row is not None}
        audit(warehouse, actor, "campaign.resume", name, details)


def stop(warehouse: Warehouse, name: str, actor: str) -> int:
    """End the campaign: everybody inside exits, claimed sends not in flight are cancelled.

    Returns:
        How many were inside.
    """
    at = clock.now()
    month = at.date().replace(day=1)
    with translated_errors():
        ensure_partitions(warehouse, "mkt_engage.enrolment_log", month, month)
        with warehouse.transaction():
            campaign_id = _change(warehouse, name, actor, {"live", "paused"}, "stopped")
            warehouse.execute(
                "delete from mkt_engage.campaign_marks where campaign_id = %s", (campaign_id,)
            )
            audit(warehouse, actor, "campaign.stop", name, {"campaign_id": campaign_id})
        left = 0
        groups = settings().limits.shards
        for group in range(groups):
            with warehouse.transaction():
                lock(warehouse, *runner.lock_name(group, groups))
                params = {
                    "campaign_id": campaign_id,
                    "shards": runner.group_of(group, groups),
                    "at": at,
                }
                left += sqlfile.execute(warehouse, "engage/campaign_stop", params).rowcount
    return left


def states(warehouse: Warehouse) -> dict[str, str]:
    """Every campaign of the files and of the database with its state; a file alone is a draft."""
    found = dict.fromkeys(definition.load_all()[0], "draft")
    rows = warehouse.execute("select campaign, state from mkt_engage.campaigns")
    return found | {str(name): str(state) for name, state in rows}


def _file(name: str) -> Campaign:
    campaigns, _ = definition.load_all()
    problems = lint.problems(name)
    if problems:
        raise FileProblemsError(problems)
    if name not in campaigns:
        hint = yamlfile.did_you_mean(name, set(campaigns))
        raise FatalError(f"there is no include/campaigns/{name}.yaml.{hint}")
    return campaigns[name]


def _row(warehouse: Warehouse, campaign: Campaign, actor: str, at: datetime) -> tuple[int, str]:
    name, brand = campaign.campaign, campaign.brand
    warehouse.execute(
        "insert into mkt_engage.campaigns (campaign, brand, state_changed_at, state_changed_by)"
        " values (%s, %s, %s, %s) on conflict (campaign) do nothing",
        (name, brand, at, actor),
    )
    row = warehouse.execute(
        "select campaign_id, state, brand from mkt_engage.campaigns where campaign = %s for update",
        (name,),
    ).fetchone()
    assert row is not None
    if row[2] != brand:
        raise FatalError(
            f"campaign `{name}` belongs to brand `{row[2]}`: give the one for `{brand}` a new name,"
            " since consent, caps and unsubscribes are per brand"
        )
    return int(row[0]), str(row[1])


def _begin(
    warehouse: Warehouse,
    campaign_id: int,
    campaign: Campaign,
    version: int,
    actor: str,
    at: datetime,
) -> None:
    """Live from now on, blind for what was before."""
    params: dict[str, Any] = {
        "id": campaign_id,
        "version": version,
        "at": at,
        "actor": actor,
        "batch": last_batch(warehouse),
    }
    warehouse.execute(
        "update mkt_engage.campaigns set state = 'live', live_version = %(version)s,"
        " state_changed_at = %(at)s, state_changed_by = %(actor)s, seen_batch = %(batch)s,"
        " seen_at = %(at)s, entries_stopped_at = null where campaign_id = %(id)s",
        params,
    )
    # Shards that were never ticked have nothing to catch up with: history enrols nobody.
    warehouse.execute(
        "update mkt_engage.shard_marks set seen_batch = %(batch)s, seen_at = %(at)s"
        " where tick_id is null and seen_batch < %(batch)s",
        params,
    )
    warehouse.execute("delete from mkt_engage.campaign_marks where campaign_id = %(id)s", params)
    if campaign.entry.existing == "enrol":
        warehouse.execute(
            "insert into mkt_engage.campaign_marks (campaign_id, shard, seen_batch, seen_at,"
            " is_existing) select %(id)s, shard, %(batch)s, %(at)s, true"
            " from mkt_engage.shard_marks",
            params,
        )


def _change(warehouse: Warehouse, name: str, actor: str, allowed: set[str], state: str) -> int:
    row = warehouse.execute(
        "select campaign_id, state from mkt_engage.campaigns where campaign = %s for update",
        (name,),
    ).fetchone()
    if row is None:
        known = {
            str(item[0]) for item in warehouse.execute("select campaign from mkt_engage.campaigns")
        }
        hint = yamlfile.did_you_mean(name, known)
        raise FatalError(f"campaign `{name}` was never started.{hint}")
    if row[1] not in allowed:
        raise FatalError(f"campaign `{name}` is {row[1]}: it cannot become {state}")
    warehouse.execute(
        "update mkt_engage.campaigns set state = %s, state_changed_at = %s, state_changed_by = %s"
        " where campaign_id = %s",
        (state, clock.now(), actor, row[0]),
    )
    return int(row[0])
