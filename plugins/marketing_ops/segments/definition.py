"""include/segments/*.yaml: what a segment file may say, and every file that can be used."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any, Literal

from pydantic import Field, model_validator

from marketing_ops import yamlfile
from marketing_ops.errors import DefinitionError
from marketing_ops.paths import include_root
from marketing_ops.segments import names
from marketing_ops.segments.grammar import (
    AllRule,
    AnyRule,
    NoneRule,
    NotRule,
    Rule,
    SegmentRule,
    Strict,
)
from marketing_ops.segments.values import Moment, Number, Scalar, Text
from marketing_ops.yamlfile import FileProblemsError, Problem, did_you_mean


class SyncTarget(Strict):
    """Where members are pushed to. Accepted, not evaluated yet."""

    source: Text
    audience: Text | None = None
    list: Text | None = None
    tag: Text | None = None


class ExampleConsent(Strict):
    """One consent of the person of a test; granted long ago unless said otherwise."""

    brand: Text
    channel: Text = "email"
    topic: Text = "marketing"
    status: Literal["granted", "pending", "denied"] = "granted"


class ExampleContact(Strict):
    """The person of a test. `segments`: the nested segments they are in (evaluated if left out)."""

    country: Text | None = None
    region: Text | None = None
    city: Text | None = None
    postal_code: Text | None = None
    language: Text | None = None
    time_zone: Text | None = None
    lifecycle: Literal["lead", "customer"] = "lead"
    birth_date: Moment | None = None
    created_at: Moment | None = None
    email: Text | None = None
    phone: Text | None = None
    first_name: Text | None = None
    last_name: Text | None = None
    attributes: dict[str, Scalar | list[Scalar]] = Field(default_factory=dict)
    consents: list[ExampleConsent] = Field(default_factory=list)
    segments: list[Text] | None = None

    @model_validator(mode="before")
    @classmethod
    def _gather_attributes(cls, value: Any) -> Any:
        """`attributes.age: 30` beside the columns means the same as `attributes: {age: 30}`."""
        if not isinstance(value, dict):
            return value
        dotted = {key: value[key] for key in value if str(key).startswith("attributes.")}
        rest = {key: item for key, item in value.items() if key not in dotted}
        if dotted:
            own = {str(key).removeprefix("attributes."): item for key, item in dotted.items()}
            rest["attributes"] = {**rest.get("attributes", {}), **own}
        return rest


class ExampleEvent(Strict):
    """One event of the person of a test."""

    event: Text
    at: Moment
    key: Text | None = None
    amount: Number | None = None
    currency: Text | None = None
    campaign: Text | None = None
    product_category: Text | None = None
    properties: dict[str, Scalar | list[Scalar]] = Field(default_factory=dict)

    @model_validator(mode="after")
    def _event_is_known(self) -> ExampleEvent:
        if self.event not in names.EVENT_TYPES:
            near = did_you_mean(self.event, list(names.EVENT_TYPES))
            raise ValueError(f"`{self.event}` is no event type.{near}")
        return self


class FileTest(Strict):
    """One example: a person, what happened to them, and whether they are in."""

    name: Text | None = None
    as_of: Moment
    contact: ExampleContact = ExampleContact()
    events: list[ExampleEvent] = Field(default_factory=list)
    expect: Literal["in", "out"]


class SegmentFile(Strict):
    """include/segments/<name>.yaml."""

    segment: Text = Field(pattern=r"^[a-z][a-z0-9_]{0,62}$")
    description: Text
    owner: Text
    where: Rule
    sync_to: list[SyncTarget] = Field(default_factory=list)
    tests: list[FileTest] = Field(default_factory=list)


Registry = Mapping[str, SegmentFile]


@dataclass(frozen=True)
class Constant:
    """Stands for a nested segment whose answer is given: in tests of files."""

    is_true: bool


Resolved = Any
"""A rule without `segment` rules: they are replaced by what they stand for."""

_parsed: dict[tuple[Path, int, int], SegmentFile | list[Problem]] = {}


def segments_folder() -> Path:
    """Where the segment files are."""
    return include_root() / "segments"


def load_all() -> tuple[dict[str, SegmentFile], list[Problem]]:
    """Every usable segment by name, and the problems of those that are not.

    A wrong file stops itself and the segments that refer to it, no other.
    """
    found: dict[str, SegmentFile] = {}
    problems: list[Problem] = []
    broken: set[str] = set()
    for path in sorted(segments_folder().glob("*.yaml")):
        parsed = _parse(path)
        if isinstance(parsed, list):
            problems.extend(parsed)
            broken.add(path.stem)
        else:
            found[path.stem] = parsed
    return found, problems + _drop_unresolvable(found, broken)


def _parse(path: Path) -> SegmentFile | list[Problem]:
    """The file or its problems; parsed again only when it changed (parsing takes milliseconds)."""
    stat = path.stat()
    key = (path, stat.st_mtime_ns, stat.st_size)
    if key not in _parsed:
        for old in [old for old in _parsed if old[0] == path]:
            del _parsed[old]
        try:
            parsed: SegmentFile | list[Problem] = yamlfile.load(path, SegmentFile)
        except FileProblemsError as error:
            parsed = error.problems
        if isinstance(parsed, SegmentFile) and parsed.segment != path.stem:
            says = f"says `{parsed.segment}`, the file is named `{path.stem}`: make them equal"
            parsed = [Problem(path, 1, "segment", says)]
        _parsed[key] = parsed
    return _parsed[key]


def _drop_unresolvable(found: dict[str, SegmentFile], broken: set[str]) -> list[Problem]:
    """Remove segments whose nested segments are missing, broken or circular; say why."""
    problems = []
    is_settled = False
    while not is_settled:
        is_settled = True
        for name, file in list(found.items()):
            complaint = _complaint(name, file, found, broken)
            if complaint:
                path = segments_folder() / f"{name}.yaml"
                problems.append(Problem(path, _line_of_reference(path), "where", complaint))
                broken.add(name)
                del found[name]
                is_settled = False
    return problems


def _complaint(
    name: str, file: SegmentFile, found: dict[str, SegmentFile], broken: set[str]
) -> str | None:
    for nested in references(file.where):
        if nested in broken:
            return f"refers to segment `{nested}`, which has problems of its own"
        if nested not in found:
            near = did_you_mean(nested, set(found))
            return f"refers to segment `{nested}`, which is not there.{near}"
    circle = cycle(name, found)
    return f"refers to itself: {' -> '.join(circle)}" if circle else None


def _line_of_reference(path: Path) -> int:
    return yamlfile.line_of(yamlfile.read(path), ("where",))


def children(rule: Any) -> list[Any]:
    """The rules directly inside a group; empty for a leaf."""
    if isinstance(rule, AllRule):
        return list(rule.all_)
    if isinstance(rule, AnyRule):
        return list(rule.any_)
    if isinstance(rule, NoneRule):
        return list(rule.none_)
    return [rule.not_] if isinstance(rule, NotRule) else []


def references(rule: Any) -> list[str]:
    """The names of the segments a rule refers to, in order of appearance."""
    if isinstance(rule, SegmentRule):
        return [rule.segment]
    return [name for child in children(rule) for name in references(child)]


def cycle(name: str, registry: Registry) -> list[str] | None:
    """The way from `name` back to itself through nested segments, or None."""
    stack = [(name, [name])]
    seen: set[str] = set()
    while stack:
        current, way = stack.pop()
        if current not in registry:
            continue
        for nested in references(registry[current].where):
            if nested == name:
                return [*way, name]
            if nested not in seen:
                seen.add(nested)
                stack.append((nested, [*way, nested]))
    return None


def resolve(
    rule: Any,
    registry: Registry,
    known: Mapping[str, bool] | None = None,
    way: tuple[str, ...] = (),
) -> Resolved:
    """The rule with every nested segment replaced by its own rule.

    Args:
        known: answers given for nested segments by name, instead of their rules.

    Raises:
        DefinitionError: a nested segment is missing, or the segments go round in a circle.
    """
    if isinstance(rule, SegmentRule):
        name = rule.segment
        if known is not None:
            return Constant(known.get(name, False))
        if name in way:
            raise DefinitionError(f"segments refer in a circle: {' -> '.join((*way, name))}")
        if name not in registry:
            raise DefinitionError(_no_segment(name, registry))
        return resolve(registry[name].where, registry, known, (*way, name))
    inside = [resolve(child, registry, known, way) for child in children(rule)]
    if isinstance(rule, AllRule):
        return AllRule.model_construct(all_=inside)
    if isinstance(rule, AnyRule):
        return AnyRule.model_construct(any_=inside)
    if isinstance(rule, NoneRule):
        return NoneRule.model_construct(none_=inside)
    return NotRule.model_construct(not_=inside[0]) if isinstance(rule, NotRule) else rule


def _no_segment(name: str, registry: Registry) -> str:
    return f"there is no segment `{name}`.{did_you_mean(name, set(registry))}"


def leaves(rule: Resolved) -> list[Any]:
    """The rules of a resolved tree that are no groups."""
    inside = children(rule)
    return [leaf for child in inside for leaf in leaves(child)] if inside else [rule]


def canonical(rule: Resolved) -> Any:
    """A resolved rule as plain JSON values: equal rules give equal values."""
    inside = children(rule)
    if inside:
        keys: dict[type, str] = {AllRule: "all", AnyRule: "any", NoneRule: "none", NotRule: "not"}
        key = keys[type(rule)]
        values = [canonical(child) for child in inside]
        return {key: values[0] if key == "not" else values}
    if isinstance(rule, Constant):
        return {"constant": rule.is_true}
    dumped = rule.model_dump(by_alias=True, exclude_none=True, exclude_defaults=True)
    return json.loads(json.dumps(dumped, default=_plain_json, sort_keys=True))


def definition_hash(name: str, registry: Registry | None = None) -> str:
    """The hash of what decides membership: the rule with its nested segments. Words and tests
    do not count.

    Raises:
        DefinitionError: there is no such usable segment.
    """
    files = registry if registry is not None else load_all()[0]
    if name not in files:
        raise DefinitionError(_no_segment(name, files))
    tree = canonical(resolve(files[name].where, files, way=(name,)))
    text = json.dumps(tree, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()[:32]


def _plain_json(value: Any) -> Any:
    if isinstance(value, Decimal):
        # A number and the text of the same digits are different rules.
        return {"number": format(value.normalize(), "f")}
    if isinstance(value, datetime | date):
        return {"date": value.isoformat()}
    return {"seconds": value.total_seconds()}


def json_schema() -> dict[str, Any]:
    """The JSON Schema of a segment file, for editors."""
    schema = SegmentFile.model_json_schema(by_alias=True)
    schema["$schema"] = "https://json-schema.org/draft/2020-12/schema"
    schema["title"] = "Segment"
    return schema
