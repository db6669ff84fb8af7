"""include/campaigns/*.yaml as checked models. The file name is the campaign's name."""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import datetime, timedelta
from pathlib import Path
from typing import Annotated, Any, Literal
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, field_validator, model_validator

from marketing_ops import yamlfile
from marketing_ops.durations import Duration, Share, parse_duration
from marketing_ops.paths import include_root
from marketing_ops.yamlfile import Problem

COMPARISONS = ("eq", "neq", "gt", "gte", "lt", "lte", "in")
ACTIONS = ("wait", "send", "if", "split", "exit")
WEEKDAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
_NAME = r"^[a-z][a-z0-9_]*$"


def _not_yet(value: Any) -> Any:
    raise ValueError("is part of the grammar but not available yet in this release")


NotYet = Annotated[Any, BeforeValidator(_not_yet)]
"""A key of the grammar that a later release brings: said so, instead of `not a known key`."""


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, populate_by_name=True)


class After(_Strict):
    """Re-entry once this long has passed since the last entry."""

    after: Duration


class Entry(_Strict):
    """Who enters: on an event, or on entering or leaving a segment."""

    event: str | None = None
    segment: str | None = None
    on: Literal["enter", "leave"] = "enter"
    key: str | None = None
    where: dict[str, Any] = Field(default_factory=dict)
    reentry: Literal["never", "always", "per_key"] | After | None = None
    cool_down: Duration | None = None
    existing: Literal["ignore", "enrol"] = "ignore"
    schedule: NotYet = None
    date: NotYet = None
    manual: NotYet = None

    @property
    def mode(self) -> Literal["never", "always", "per_key"] | After:
        """What `reentry` says, else `per_key` for an entry with a key and `never` without."""
        return self.reentry or ("per_key" if self.key else "never")

    @model_validator(mode="after")
    def _one_kind(self) -> Entry:
        if (self.event is None) == (self.segment is None):
            raise ValueError("needs either `event` or `segment`")
        if self.segment is not None and (self.key or self.where):
            raise ValueError("`key` and `where` belong to an entry by `event`")
        if self.event is not None and (self.existing == "enrol" or self.on == "leave"):
            raise ValueError("`existing: enrol` and `on: leave` belong to an entry by `segment`")
        if self.reentry == "per_key" and not self.key:
            raise ValueError("`reentry: per_key` needs a `key`, for instance `key: cart_id`")
        return self

    @field_validator("where")
    @classmethod
    def _comparisons(cls, value: dict[str, Any]) -> dict[str, Any]:
        for name, wanted in value.items():
            if not re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]*", name):
                raise ValueError(f"`{name}` is not the name of an event property")
            if isinstance(wanted, dict):
                _check_comparisons(wanted)
        return value


class Audience(_Strict):
    """Who may enter, judged at the instant of entry."""

    segment: str


class Goal(_Strict):
    """What the campaign is for: this event within this long after the entry."""

    event: str
    within: Duration
    match: str | None = None


class ExitEvent(_Strict):
    """An event that ends the enrolment; `match: cart_id` counts only the same cart."""

    event: str
    match: str | None = None


class Approval(_Strict):
    """Kept with the version; asked for when the approval task arrives in a later release."""

    above: int = Field(ge=0)


class MaxEntries(BaseModel):
    """`2000 per 1d`."""

    model_config = ConfigDict(frozen=True)

    count: int
    per: timedelta


def _max_entries(text: Any) -> MaxEntries:
    match = re.fullmatch(r"(\d+)\s+per\s+(\S+)", str(text).strip())
    if isinstance(text, MaxEntries):
        return text
    if match is None:
        raise ValueError(f"`{text}` is not a limit: write `2000 per 1d`")
    return MaxEntries(count=int(match.group(1)), per=parse_duration(match.group(2)))


class Guards(_Strict):
    """What stops the campaign from doing harm."""

    max_entries: Annotated[MaxEntries, BeforeValidator(_max_entries)] | None = None
    approval: Approval | None = None
    priority: int = Field(default=50, ge=0, le=100)
    on_cap: Literal["skip", "defer"] = "defer"
    late: Duration = timedelta(days=1)
    fresh: Duration | None = None


class Until(_Strict):
    """The next time of day, on certain weekdays, in the contact's or the reporting zone."""

    until: str = Field(pattern=r"^([01]\d|2[0-3]):[0-5]\d$")
    weekdays: list[Literal["mon", "tue", "wed", "thu", "fri", "sat", "sun"]] = Field(
        default_factory=list
    )
    timezone: str = "contact"
    date: NotYet = None
    offset: NotYet = None

    @field_validator("timezone")
    @classmethod
    def _zone(cls, value: str) -> str:
        if value not in ("contact", "reporting"):
            try:
                ZoneInfo(value)
            except (ZoneInfoNotFoundError, ValueError) as error:
                raise ValueError(
                    f"`{value}` is neither contact, reporting nor a zone like Europe/Belgrade"
                ) from error
        return value


def _wait(value: Any) -> Any:
    return Until.model_validate(value) if isinstance(value, dict) else parse_duration(value)


class Send(_Strict):
    """One message: our template through an account of a channel."""

    via: str
    template: str
    transactional: bool = False
    message: NotYet = None
    broadcast: NotYet = None


class Arm(_Strict):
    """One way of a split; `weight` is its share of the sum of all weights."""

    weight: int = Field(ge=0)
    steps: list[Step] = Field(default_factory=list)
    coupon: NotYet = None


class Split(_Strict):
    """The salt makes the draw: same salt and person, same arm, for ever."""

    salt: str


class Step(_Strict):
    """One step: an id and exactly one action."""

    id: str = Field(pattern=_NAME)
    wait: Annotated[timedelta | Until | None, BeforeValidator(_wait)] = None
    reset_on: ExitEvent | None = None
    send: Send | None = None
    if_: dict[str, Any] | None = Field(default=None, alias="if")
    then: list[Step] = Field(default_factory=list)
    else_: list[Step] = Field(default_factory=list, alias="else")
    split: Split | None = None
    arms: dict[str, Arm] = Field(default_factory=dict)
    exit: str | None = None
    wait_for: NotYet = None
    on_event: NotYet = None
    on_timeout: NotYet = None
    switch: NotYet = None
    task: NotYet = None
    set: NotYet = None
    add_tag: NotYet = None
    remove_tag: NotYet = None
    move_stage: NotYet = None
    webhook: NotYet = None
    goto: NotYet = None

    @property
    def kind(self) -> str:
        """`wait`, `send`, `if`, `split` or `exit`."""
        return next(name for name in ACTIONS if getattr(self, _field(name)) is not None)

    def branches(self) -> list[list[Step]]:
        """The lists of steps inside this one, in the order of the file."""
        return [self.then, self.else_, *(arm.steps for arm in self.arms.values())]

    @model_validator(mode="after")
    def _one_action(self) -> Step:
        actions = [name for name in ACTIONS if getattr(self, _field(name)) is not None]
        if len(actions) != 1:
            found = " and ".join(f"`{name}`" for name in actions) or "none"
            raise ValueError(f"needs exactly one of {', '.join(ACTIONS)}; found {found}")
        kind = actions[0]
        if kind != "if" and (self.then or self.else_):
            raise ValueError("`then` and `else` belong to an `if`")
        if kind == "if" and not (self.then or self.else_):
            raise ValueError("an `if` needs steps under `then` or `else`")
        if kind != "split" and self.arms:
            raise ValueError("`arms` belong to a `split`")
        if kind == "split" and sum(arm.weight for arm in self.arms.values()) <= 0:
            raise ValueError("a `split` needs `arms` with a weight above 0")
        if self.reset_on is not None and not isinstance(self.wait, timedelta):
            raise ValueError("`reset_on` belongs to a `wait` with a duration")
        return self

    @field_validator("if_")
    @classmethod
    def _entry_rule(cls, value: dict[str, Any] | None) -> dict[str, Any] | None:
        if value is not None and "entry" in value:
            comparison = {name: wanted for name, wanted in value.items() if name != "entry"}
            if not comparison:
                raise ValueError(f"an `entry` rule needs one of {', '.join(COMPARISONS)}")
            _check_comparisons(comparison)
        return value


class ExpectedSend(_Strict):
    """A send of a test, with the time since the test's start it must be claimed at."""

    step: str
    at: Duration | None = None


class Expect(_Strict):
    """What a test must end with; a key that is left out is not looked at."""

    entered: bool | None = None
    sends: list[str | ExpectedSend] | None = None
    skipped: list[str] | None = None
    exit: str | None = None
    converted: bool | None = None


class FileTest(BaseModel):
    """One story of one contact. Other keys of a timeline item are the event's properties.

    Attributes:
        contact: columns of the contact, `attributes`, and `consents` (granted if left out).
        arms: split -> arm that the contact of the story draws.
        timeline: what happens, each `at` a time after the start or, known long since, `ago`.
        lasts: how long the story is watched.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str
    start: datetime = datetime.fromisoformat("2026-03-02T12:00:00+00:00")
    contact: dict[str, Any] = Field(default_factory=dict)
    arms: dict[str, str] = Field(default_factory=dict)
    timeline: list[dict[str, Any]]
    lasts: Duration = timedelta(days=30)
    expect: Expect

    @field_validator("timeline")
    @classmethod
    def _items(cls, value: list[dict[str, Any]]) -> list[dict[str, Any]]:
        for item in value:
            if ("at" in item) == ("ago" in item):
                raise ValueError("an item needs `at: 2h` (after the start) or `ago: 40d` (before)")
            parse_duration(item.get("at", item.get("ago")))
            if sum(name in item for name in ("event", "enter", "leave", "consent")) != 1:
                raise ValueError(
                    "an item needs one of `event`, `enter`, `leave` (a segment), `consent`"
                )
        return value


class Campaign(_Strict):
    """include/campaigns/<name>.yaml."""

    campaign: str = Field(pattern=_NAME)
    brand: str
    description: str = ""
    owner: str = ""
    approvers: list[str] = Field(default_factory=list)
    entry: Entry
    audience: Audience | None = None
    goal: Goal | None = None
    exit: list[Literal["goal"] | ExitEvent] = Field(default_factory=list)
    holdout: Share = 0.0
    guards: Guards = Guards()
    steps: list[Step] = Field(min_length=1)
    tests: list[FileTest] = Field(default_factory=list)
    migrate: NotYet = None

    @model_validator(mode="after")
    def _whole(self) -> Campaign:
        if "goal" in self.exit and self.goal is None:
            raise ValueError("`exit: [goal]` needs a `goal`")
        return self

    def walk(self) -> Iterator[Step]:
        """Every step, outer before inner, in the order of the file."""
        yield from _walk(self.steps)


def _walk(steps: list[Step]) -> Iterator[Step]:
    for step in steps:
        yield step
        for branch in step.branches():
            yield from _walk(branch)


def _field(name: str) -> str:
    return "if_" if name == "if" else name


def _check_comparisons(comparison: dict[str, Any]) -> None:
    for name in comparison:
        if name not in COMPARISONS:
            hint = yamlfile.did_you_mean(name, list(COMPARISONS))
            raise ValueError(f"`{name}` is not a comparison.{hint}")


def folder() -> Path:
    """Where the campaigns' files are."""
    return include_root() / "campaigns"


def load_all() -> tuple[dict[str, Campaign], list[Problem]]:
    """Every campaign by name, and the problems of the files that cannot be used.

    A wrong file stops itself only.
    """
    found, problems = yamlfile.load_folder(folder(), Campaign)
    for name, campaign in list(found.items()):
        if campaign.campaign != name:
            message = f"says `{campaign.campaign}`, the file is named `{name}`: make them equal"
            problems.append(Problem(folder() / f"{name}.yaml", 1, "campaign", message))
            del found[name]
    return found, problems


def raw(name: str) -> dict[str, Any]:
    """The file as plain dicts, lists and scalars: what a version keeps. Without its tests and the
    words for people, so that a new comment makes no new version."""
    document = plain(yamlfile.read(folder() / f"{name}.yaml"))
    assert isinstance(document, dict)
    for key in ("tests", "description", "owner", "approvers"):
        document.pop(key, None)
    return document


def plain(node: Any) -> Any:
    """A YAML document without line marks, ready for JSON; instants become ISO text."""
    if isinstance(node, dict):
        return {str(key): plain(value) for key, value in node.items()}
    if isinstance(node, list):
        return [plain(item) for item in node]
    if isinstance(node, bool) or node is None:
        return node
    for kind in (int, float):
        if isinstance(node, kind):
            return kind(node)
    return node.isoformat() if hasattr(node, "isoformat") else str(node)
