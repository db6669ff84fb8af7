"""Versions: what a campaign was when it went live, frozen with its templates and segments."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from functools import cached_property
from typing import Any

from psycopg.types.json import Jsonb

from marketing_ops import yamlfile
from marketing_ops.campaigns import definition, plan, rules
from marketing_ops.campaigns.definition import Campaign
from marketing_ops.segments.definition import Registry, segments_folder
from marketing_ops.warehouse import Warehouse


@dataclass(frozen=True)
class Frozen:
    """What a version consists of, ready for JSON."""

    definition: dict[str, Any]
    content: dict[str, Any]

    @property
    def hash(self) -> str:
        """Equal for equal definitions, templates and segments."""
        return plan.definition_hash(self.definition, self.content)


@dataclass(frozen=True)
class Version:
    """One version as the tick needs it. It never changes, so a process reads it once."""

    campaign_id: int
    version: int
    hash: str
    campaign: Campaign
    segments: dict[str, Any] = field(repr=False)

    @cached_property
    def registry(self) -> Registry:
        """The segments it may refer to."""
        return rules.registry(self.segments)

    @cached_property
    def audience(self) -> rules.Condition | None:
        """The compiled audience, or None when everybody may enter."""
        audience = self.campaign.audience
        if audience is None:
            return None
        return rules.segment_condition({"segment": audience.segment}, self.registry)

    @cached_property
    def entry_where(self) -> rules.Condition:
        """The compiled `where` of an entry by event."""
        return rules.property_condition(self.campaign.entry.where)

    @cached_property
    def conditions(self) -> dict[str, rules.Condition]:
        """The compiled condition of each `if`, by step."""
        found = {}
        for step in self.campaign.walk():
            if step.if_ is None:
                continue
            if "entry" in step.if_:
                wanted = {name: value for name, value in step.if_.items() if name != "entry"}
                found[step.id] = rules.property_condition({str(step.if_["entry"]): wanted})
            else:
                found[step.id] = rules.segment_condition(step.if_, self.registry)
        return found

    @cached_property
    def event_types(self) -> set[str]:
        """The events that matter to somebody entering or inside."""
        campaign = self.campaign
        found = {item.event for item in campaign.exit if not isinstance(item, str)}
        found |= {campaign.entry.event} if campaign.entry.event else set()
        found |= {campaign.goal.event} if campaign.goal else set()
        return found


def freeze(campaign: Campaign) -> Frozen:
    """The campaign's definition with the templates it sends and the segments it refers to.

    Raises:
        FileProblemsError: a template or segment cannot be read.
    """
    from marketing_ops import content  # its CSS inliner is not for the tick to load

    templates = {step.send.template for step in campaign.walk() if step.send is not None}
    frozen = {
        "templates": {name: content.load_template(name) for name in sorted(templates)},
        "segments": _segments(campaign),
    }
    return Frozen(definition.raw(campaign.campaign), definition.plain(frozen))


def _segments(campaign: Campaign) -> dict[str, Any]:
    waiting = [campaign.audience.segment] if campaign.audience else []
    waiting += [campaign.entry.segment] if campaign.entry.segment else []
    for step in campaign.walk():
        if step.if_ is not None and "entry" not in step.if_:
            waiting += rules.segments_of(step.if_)
    found: dict[str, Any] = {}
    while waiting:
        name = waiting.pop()
        if name not in found:
            path = segments_folder() / f"{name}.yaml"
            found[name] = definition.plain(yamlfile.read(path))
            found[name].pop("tests", None)
            waiting += rules.segments_of(found[name]["where"])
    return dict(sorted(found.items()))


def store(
    warehouse: Warehouse,
    campaign_id: int,
    campaign: Campaign,
    frozen: Frozen,
    actor: str,
    at: datetime,
) -> int:
    """The number of the version with this content; a new one only if it never went live.

    Call inside a transaction that holds the campaign's lock.
    """
    row = warehouse.execute(
        "select version from mkt_engage.campaign_versions"
        " where campaign_id = %s and definition_hash = %s",
        (campaign_id, frozen.hash),
    ).fetchone()
    if row is not None:
        return int(row[0])
    row = warehouse.execute(
        "insert into mkt_engage.campaign_versions (campaign_id, version, definition_hash,"
        " definition, content, created_at, created_by)"
        " select %(id)s, coalesce(max(version), 0) + 1, %(hash)s, %(definition)s, %(content)s,"
        " %(at)s, %(actor)s from mkt_engage.campaign_versions where campaign_id = %(id)s"
        " returning version",
        {
            "id": campaign_id,
            "hash": frozen.hash,
            "definition": Jsonb(frozen.definition),
            "content": Jsonb(frozen.content),
            "at": at,
            "actor": actor,
        },
    ).fetchone()
    assert row is not None
    _store_nodes(warehouse, campaign_id, int(row[0]), plan.compile_nodes(campaign))
    return int(row[0])


def _store_nodes(
    warehouse: Warehouse, campaign_id: int, version: int, nodes: list[plan.Node]
) -> None:
    steps = [node.step for node in nodes]
    warehouse.execute(
        "insert into mkt_engage.campaign_steps (campaign_id, step)"
        " select %s, t.step from unnest(%s::text[]) with ordinality as t (step, place)"
        " order by t.place on conflict do nothing",
        (campaign_id, steps),
    )
    rows = warehouse.execute(
        "select step, step_id from mkt_engage.campaign_steps where campaign_id = %s", (campaign_id,)
    )
    ids: dict[str | None, int | None] = {str(step): int(step_id) for step, step_id in rows}
    ids[None] = None
    for number, node in enumerate(nodes):
        warehouse.execute(
            "insert into mkt_engage.campaign_nodes (campaign_id, version, step_id, is_entry, kind,"
            " next_step_id, params) values (%s, %s, %s, %s, %s, %s, %s)",
            (
                campaign_id,
                version,
                ids[node.step],
                number == 0,
                node.kind,
                ids[node.next_step],
                Jsonb(_interned(node.params, ids)),
            ),
        )


def _interned(params: dict[str, Any], ids: dict[str | None, int | None]) -> dict[str, Any]:
    """The params with the steps they name as ids."""
    changed: dict[str, Any] = {
        name: ids[params[name]] for name in ("then", "else") if name in params
    }
    if "arms" in params:
        changed["arms"] = [{**arm, "next": ids[arm["next"]]} for arm in params["arms"]]
    return params | changed


_known: dict[tuple[int, int, str], Version] = {}


def load(warehouse: Warehouse) -> list[Version]:
    """Every version that ever went live, oldest first; each read once a process."""
    rows = warehouse.execute(
        "select campaign_id, version, definition_hash from mkt_engage.campaign_versions"
        " order by campaign_id, version"
    ).fetchall()
    return [_load(warehouse, (int(row[0]), int(row[1]), str(row[2]))) for row in rows]


def _load(warehouse: Warehouse, key: tuple[int, int, str]) -> Version:
    if key not in _known:
        row = warehouse.execute(
            "select definition, content -> 'segments' from mkt_engage.campaign_versions"
            " where campaign_id = %s and version = %s",
            key[:2],
        ).fetchone()
        assert row is not None
        campaign = Campaign.model_validate(row[0])
        _known[key] = Version(key[0], key[1], key[2], campaign, dict(row[1] or {}))
    return _known[key]
