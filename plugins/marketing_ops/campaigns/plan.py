"""A definition compiled: a flat list of nodes that the tick's statements join."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

import orjson

from marketing_ops.campaigns.definition import Campaign, ExitEvent, Step, Until

CHANNEL = "email"


@dataclass(frozen=True)
class Node:
    """One step of one version. `next_step` None = the campaign ends after it.

    Attributes:
        params: what the kind needs. wait: `seconds` (with `reset_event`, `reset_match`) or
            `until`, `weekdays` (0 = Monday), `timezone`; send: `via`, `template`,
            `transactional`, `channel`; if: `rule` or `entry` with its comparison, `then`,
            `else`; split: `salt`, `arms` (name, weight, next); exit: `reason`.
    """

    step: str
    kind: str
    next_step: str | None
    params: dict[str, Any] = field(default_factory=dict)


def compile_nodes(campaign: Campaign) -> list[Node]:
    """The campaign's nodes; the first is where an enrolment starts.

    A branch without steps, and the end of a branch, lead to the step after the branch's owner.
    """
    return _compile(campaign.steps, None)


def definition_hash(definition: dict[str, Any], content: dict[str, Any]) -> str:
    """The hash a version is known by: equal files, templates and segments give the same one."""
    text = orjson.dumps([definition, content], option=orjson.OPT_SORT_KEYS)
    return hashlib.sha256(text).hexdigest()


def _compile(steps: list[Step], after: str | None) -> list[Node]:
    nodes: list[Node] = []
    for number, step in enumerate(steps):
        following = steps[number + 1].id if number + 1 < len(steps) else after
        nodes.append(Node(step.id, step.kind, following, _params(step, following)))
        for branch in step.branches():
            nodes.extend(_compile(branch, following))
    return nodes


def _params(step: Step, following: str | None) -> dict[str, Any]:
    if step.kind == "wait":
        return _wait_params(step.wait, step.reset_on)
    if step.send is not None:
        return {
            "via": step.send.via,
            "template": step.send.template,
            "transactional": step.send.transactional,
            "channel": CHANNEL,
        }
    if step.if_ is not None:
        rule = step.if_ if "entry" not in step.if_ else None
        return {
            "rule": rule,
            "entry": None if rule is not None else step.if_,
            "then": _first(step.then, following),
            "else": _first(step.else_, following),
        }
    if step.split is not None:
        arms = [
            {"arm": name, "weight": arm.weight, "next": _first(arm.steps, following)}
            for name, arm in step.arms.items()
        ]
        return {"salt": step.split.salt, "arms": arms}
    return {"reason": step.exit}


def _first(steps: list[Step], following: str | None) -> str | None:
    return steps[0].id if steps else following


def _wait_params(wait: timedelta | Until | None, reset: ExitEvent | None) -> dict[str, Any]:
    if isinstance(wait, timedelta):
        params: dict[str, Any] = {"seconds": wait.total_seconds()}
        if reset is not None:
            params |= {"reset_event": reset.event, "reset_match": reset.match}
        return params
    assert wait is not None
    names = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
    days = [names.index(day) for day in wait.weekdays] or list(range(7))
    return {"until": wait.until, "weekdays": days, "timezone": wait.timezone}


def reachable(nodes: list[Node]) -> set[str]:
    """The ids of the steps that somebody can come to, from the first one on."""
    by_step = {node.step: node for node in nodes}
    found: set[str] = set()
    waiting: list[str | None] = [nodes[0].step]
    while waiting:
        step = waiting.pop()
        if step is None or step in found:
            continue
        found.add(step)
        waiting.extend(_targets(by_step[step]))
    return found


def _targets(node: Node) -> list[str | None]:
    if node.kind == "if":
        return [node.params["then"], node.params["else"]]
    if node.kind == "split":
        return [arm["next"] for arm in node.params["arms"] if arm["weight"] > 0]
    return [None] if node.kind == "exit" else [node.next_step]
