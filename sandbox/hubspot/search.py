"""CRM search: filters over properties, one page of at most 200, never beyond 10,000 in total."""

from __future__ import annotations

import json
from bisect import bisect_left
from collections.abc import Callable
from functools import lru_cache
from typing import Any

from sandbox.hashing import number
from sandbox.hubspot import properties
from sandbox.hubspot.answers import Answer, Ask, RefusedError
from sandbox.hubspot.crm import Crm, View
from sandbox.hubspot.objects import Shape, kind_of
from sandbox.hubspot.values import instant
from sandbox.records import Version

GROUPS, FILTERS, IN_ALL, QUERY, PAGE = 5, 6, 18, 3000, 200
KEPT_SEARCHES = 8
Test = Callable[[dict[str, Any]], bool]


def search(ask: Ask, name: str) -> Answer:
    """`POST /crm/objects/{kind}/search`, as far as the index has come."""
    kind, given = kind_of(name), ask.body if isinstance(ask.body, dict) else {}
    limit = _whole(given.get("limit", 10), "limit")
    start = _whole(given.get("after") or 0, "after")
    cap = ask.crm.settings.search_cap
    if not 1 <= limit <= PAGE:
        raise RefusedError(400, f"limit must be between 1 and {PAGE}")
    if start + limit > cap:
        raise RefusedError(400, f"Paging is limited to {cap} results in total: narrow the filters")
    known_at = ask.now - round(ask.crm.settings.search_lag_seconds * 1000)
    found = _found(ask.crm, kind, given, ask.crm.view(kind, known_at))
    shape = Shape(kind, known_at, given.get("properties") or [], [])
    rows = found[start : start + limit]
    body: dict[str, Any] = {
        "total": len(found),
        "results": [shape.shown(ask.crm, one) for one in rows],
    }
    if start + limit < len(found):
        body["paging"] = {"next": {"after": str(start + limit)}}
    return Answer(body)


def _whole(value: Any, name: str) -> int:
    if not str(value).isdigit():
        raise RefusedError(400, f"{name} must be a whole number")
    return int(value)


def _found(crm: Crm, kind: str, given: dict[str, Any], view: View) -> list[Version]:
    """The matching objects in the order asked for, remembered with the view."""
    asked = [given.get(name) for name in ("filterGroups", "sorts", "query")]
    key = json.dumps(asked, sort_keys=True)
    found = view.searches.get(key)
    if found is None:
        while len(view.searches) >= KEPT_SEARCHES:
            view.searches.pop(next(iter(view.searches)))
        found = view.searches[key] = _searched(crm, kind, given, view)
    return found


def _searched(crm: Crm, kind: str, given: dict[str, Any], view: View) -> list[Version]:
    groups = [group.get("filters") or [] for group in given.get("filterGroups") or []]
    if len(groups) > GROUPS or sum(map(len, groups)) > IN_ALL:
        raise RefusedError(400, f"at most {GROUPS} filterGroups and {IN_ALL} filters are taken")
    if any(len(group) > FILTERS for group in groups):
        raise RefusedError(400, f"at most {FILTERS} filters are taken in a group")
    text = str(given.get("query") or "").lower()
    if len(text) > QUERY:
        raise RefusedError(400, f"query is limited to {QUERY} characters")
    tests = [[_test(crm, kind, one) for one in group] for group in groups]
    rows = _candidates(kind, groups, view)
    matching = [
        one
        for one in rows
        if (not tests or any(all(t(one.document["properties"]) for t in group) for group in tests))
        and (not text or _mentions(one.document["properties"], text))
    ]
    return _sorted(crm, kind, given.get("sorts") or [], matching)


def _candidates(kind: str, groups: list[list[dict[str, Any]]], view: View) -> list[Version]:
    """The objects worth testing: a range of the time of change narrows them at once."""
    times = view.by_modified
    low, high = 0, len(times)
    for one in groups[0] if len(groups) == 1 else ():
        if one.get("propertyName") != properties.modified(kind):
            continue
        if one.get("operator") in ("GT", "GTE", "BETWEEN"):
            low = max(low, bisect_left(times, _ms(one["value"]), key=lambda pair: pair[0]))
        if one.get("operator") in ("LT", "LTE", "BETWEEN"):
            end = _ms(one.get("highValue") or one["value"]) + 1
            high = min(high, bisect_left(times, end, key=lambda pair: pair[0]))
    return [one for _, one in times[low:high]]


def _ms(value: Any) -> int:
    try:
        return instant(str(value))
    except ValueError as error:
        raise RefusedError(400, "a time must be ISO 8601 or milliseconds") from error


def _test(crm: Crm, kind: str, given: dict[str, Any]) -> Test:
    """Whether properties pass one filter.

    Raises:
        RefusedError: The property or the operator is unknown, or a value is missing.
    """
    name, operator = str(given.get("propertyName")), str(given.get("operator"))
    type_ = crm.types[kind].get(name, "datetime" if name.startswith("hs_v2_") else None)
    if type_ is None:
        raise RefusedError(400, f"There was a problem with the request: no property {name}")
    if operator == "HAS_PROPERTY":
        return lambda values: name in values
    if operator == "NOT_HAS_PROPERTY":
        return lambda values: name not in values
    if operator in ("IN", "NOT_IN"):
        if not isinstance(given.get("values"), list):
            raise RefusedError(400, f"{operator} needs values")
        several = {_typed(type_, value) for value in given["values"]}
        wanted = operator == "IN"
        return lambda values: name in values and (_typed(type_, values[name]) in several) is wanted
    if given.get("value") is None:
        raise RefusedError(400, f"{operator} needs a value")
    if operator == "BETWEEN":
        low, high = _typed(type_, given["value"]), _typed(type_, given.get("highValue"))
        return lambda values: name in values and low <= _typed(type_, values[name]) <= high
    if operator in ("CONTAINS_TOKEN", "NOT_CONTAINS_TOKEN"):
        token = str(given["value"]).strip("*").lower()
        wanted = operator == "CONTAINS_TOKEN"
        return lambda values: (token in str(values.get(name, "")).lower()) is wanted
    if operator not in _COMPARE:
        raise RefusedError(400, f"unknown operator {operator}")
    compare, value = _COMPARE[operator], _typed(type_, given["value"])
    return lambda values: name in values and compare(_typed(type_, values[name]), value)


_COMPARE: dict[str, Callable[[Any, Any], bool]] = {
    "EQ": lambda a, b: bool(a == b),
    "NEQ": lambda a, b: bool(a != b),
    "LT": lambda a, b: bool(a < b),
    "LTE": lambda a, b: bool(a <= b),
    "GT": lambda a, b: bool(a > b),
    "GTE": lambda a, b: bool(a >= b),
}


def _typed(type_: str, value: Any) -> Any:
    try:
        if type_ in ("datetime", "date"):
            return instant(str(value))
        if type_ == "number":
            return int(value) if str(value).isdigit() else float(value)
    except (TypeError, ValueError) as error:
        raise RefusedError(400, f"a value is no {type_}") from error
    return str(value).lower()


def _mentions(values: dict[str, Any], text: str) -> bool:
    names = ("email", "firstname", "lastname", "phone", "name", "domain", "dealname")
    return any(text in str(values.get(name, "")).lower() for name in names)


def _sorted(crm: Crm, kind: str, sorts: list[Any], rows: list[Version]) -> list[Version]:
    """In the order asked for; equal ones in an order that has nothing to do with their ids."""
    rows = sorted(rows, key=lambda one: _chance(one.key))
    for one in reversed(sorts):
        given = one if isinstance(one, dict) else {"propertyName": one.lstrip("-")}
        name = given.get("propertyName")
        is_down = given.get("direction") == "DESCENDING" or str(one).startswith("-")
        type_ = crm.types[kind].get(str(name))
        if type_ is None:
            raise RefusedError(400, f"There was a problem with the request: no property {name}")
        rows.sort(key=_sort_key(str(name), type_), reverse=is_down)
    return rows


@lru_cache(100_000)
def _chance(key: str) -> int:
    return number(key)


def _sort_key(name: str, type_: str) -> Callable[[Version], tuple[bool, Any]]:
    def key(one: Version) -> tuple[bool, Any]:
        value = one.document["properties"].get(name)
        return (True, _typed(type_, value)) if value is not None else (False, 0)

    return key
