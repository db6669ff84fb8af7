"""What is wrong with campaign files, offline: file, line, key and the nearest right spelling."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from marketing_ops import content, yamlfile
from marketing_ops.campaigns import definition, plan, rules
from marketing_ops.campaigns.definition import Campaign, Step
from marketing_ops.segments import definition as segments
from marketing_ops.segments.names import EVENT_TYPES
from marketing_ops.settings import settings, sources
from marketing_ops.yamlfile import Problem, did_you_mean

SENDING_SYSTEMS = ("smtp",)
"""Systems of accounts that can carry our own templates."""


def problems(name: str | None = None) -> list[Problem]:
    """Every problem of every campaign file, or of one campaign's.

    A campaign without a file has none here: that is the caller's to notice.
    """
    campaigns, found = definition.load_all()
    for each, campaign in campaigns.items():
        if name in (None, each):
            found.extend(_Check(each, campaign).run())
    return [problem for problem in found if name is None or problem.path.stem == name]


class _Check:
    """One file that has the right shape, against everything it refers to."""

    def __init__(self, name: str, campaign: Campaign) -> None:
        self.path: Path = definition.folder() / f"{name}.yaml"
        self.campaign = campaign
        self.document = yamlfile.read(self.path)
        self.found: list[Problem] = []

    def run(self) -> list[Problem]:
        brands = set(settings().brands)
        if self.campaign.brand not in brands:
            self._unknown(("brand",), "brand", self.campaign.brand, brands, "settings.yaml")
        self._entry()
        self._events()
        seen: set[str] = set()
        for location, step in _located(self.campaign.steps, ("steps",)):
            if step.id in seen:
                why = f"step id `{step.id}` is used twice: each step needs its own"
                self._add((*location, "id"), why)
            seen.add(step.id)
            self._step(location, step)
        if not self.found:
            self._reachable()
            self._tests()
        return self.found

    def _entry(self) -> None:
        known = set(segments.load_all()[0])
        entry, audience = self.campaign.entry, self.campaign.audience
        if entry.segment is not None and entry.segment not in known:
            self._unknown(("entry", "segment"), "segment", entry.segment, known, "segments")
        if audience is not None and audience.segment not in known:
            self._unknown(("audience", "segment"), "segment", audience.segment, known, "segments")

    def _events(self) -> None:
        named: list[tuple[tuple[Any, ...], str | None]] = [
            (("entry", "event"), self.campaign.entry.event),
            (("goal", "event"), self.campaign.goal.event if self.campaign.goal else None),
        ]
        for number, item in enumerate(self.campaign.exit):
            if not isinstance(item, str):
                named.append((("exit", number, "event"), item.event))
        for location, step in _located(self.campaign.steps, ("steps",)):
            if step.reset_on is not None:
                named.append(((*location, "reset_on", "event"), step.reset_on.event))
        for location, event in named:
            if event is not None and event not in EVENT_TYPES:
                self._unknown(location, "event", event, set(EVENT_TYPES), None)

    def _step(self, location: tuple[Any, ...], step: Step) -> None:
        if step.send is not None:
            self._send((*location, "send"), step)
        if step.if_ is not None and "entry" not in step.if_:
            try:
                names = rules.segments_of(step.if_)
            except ValidationError as error:
                self._add(
                    (*location, "if"), str(error.errors()[0]["msg"]).removeprefix("Value error, ")
                )
                return
            known = set(segments.load_all()[0])
            for name in names:
                if name not in known:
                    self._unknown((*location, "if"), "segment", name, known, "segments")

    def _send(self, location: tuple[Any, ...], step: Step) -> None:
        assert step.send is not None
        accounts = sources()[0]
        account = accounts.get(step.send.via)
        if account is None:
            self._unknown((*location, "via"), "source", step.send.via, set(accounts), "sources")
        elif account.system not in SENDING_SYSTEMS:
            why = f"`{step.send.via}` is a {account.system} account: it cannot send templates"
            self._add((*location, "via"), why)
        elif account.brand != self.campaign.brand:
            why = f"`{step.send.via}` belongs to brand `{account.brand}`"
            self._add((*location, "via"), why)
        for problem in content.check(step.send.template):
            if not problem.path.parent.exists() or (problem.line == 1 and problem.key == ""):
                message = f"template `{step.send.template}`: {problem.message}"
                self._add((*location, "template"), message)
            else:
                self.found.append(
                    Problem(self.path, self._line((*location, "template")), str(problem), "")
                )

    def _reachable(self) -> None:
        nodes = plan.compile_nodes(self.campaign)
        reachable = plan.reachable(nodes)
        for location, step in _located(self.campaign.steps, ("steps",)):
            if step.id not in reachable:
                self._add(location, f"step `{step.id}` can never be reached")

    def _tests(self) -> None:
        steps = {step.id: step for step in self.campaign.walk()}
        for number, test in enumerate(self.campaign.tests):
            for name in [*(test.expect.sends or []), *(test.expect.skipped or [])]:
                step = name if isinstance(name, str) else name.step
                if step not in steps or steps[step].send is None:
                    sends = {key for key, value in steps.items() if value.send is not None}
                    self._unknown(("tests", number, "expect"), "send step", step, sends, None)
            for item in test.timeline:
                event = item.get("event")
                if event is not None and event not in EVENT_TYPES:
                    location = ("tests", number, "timeline")
                    self._unknown(location, "event", str(event), set(EVENT_TYPES), None)

    def _unknown(
        self, location: tuple[Any, ...], kind: str, name: str, known: set[str], place: str | None
    ) -> None:
        where = f" in include/{place}" if place else ""
        self._add(location, f"there is no {kind} `{name}`{where}.{did_you_mean(name, known)}")

    def _add(self, location: tuple[Any, ...], message: str) -> None:
        key = ".".join(str(part) for part in location)
        self.found.append(Problem(self.path, self._line(location), key, message))

    def _line(self, location: tuple[Any, ...]) -> int:
        return yamlfile.line_of(self.document, location)


def _located(
    steps: list[Step], location: tuple[Any, ...]
) -> Iterator[tuple[tuple[Any, ...], Step]]:
    """Every step with its place in the document."""
    for number, step in enumerate(steps):
        here = (*location, number)
        yield here, step
        yield from _located(step.then, (*here, "then"))
        yield from _located(step.else_, (*here, "else"))
        for name, arm in step.arms.items():
            yield from _located(arm.steps, (*here, "arms", name, "steps"))
