"""CRM search: filters over properties, one page of at most 200, never beyond 10,000 in total."""

from __future__ import annotations

import json
from bisect import bisect_left
from collections.abc import Callable
from typing import Any

from sandbox.hubspot import properties
from sandbox.hubspot.answers import Answer, Ask, RefusedError
from sandbox.hubspot.crm import Crm, View, chance
from sandbox.hubspot.objects import Shape, kind_of
from sandbox.hubspot.values import instant
from sandbox.records import Version

GROUPS, FILTERS, IN_ALL, QUERY, PAGE = 5, 6, 18, 3000, 200
KEPT_SEARCHES = 8
ID = "hs_object_id"
_RANGES = {
    "EQ": (0, 1),
    "GT": (1, None),
    "GTE": (0, None),
    "LT": (None, 0),
    "LTE": (None, 1),
    "BETWEEN": (0, 1),
}
"""What an operator adds to its value for the first and the first not in range."""
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
    sorts = [_sort(one) for one in given.get("sorts") or []]
    rows = view.by_id
    axis = _axis(kind, groups, sorts)
    if axis is not None:
        rows, is_exact = _range(kind, axis, groups, view)
        if is_exact:
            tests = []
    if tests:
        rows = [
            one
            for one in rows
            if any(all(test(one.document["properties"]) for test in group) for group in tests)
        ]
    if text:
        rows = [one for one in rows if _mentions(one.document["properties"], text)]
    # Without a sort, in the order in which they were made.
    return rows if sorts == [(axis, False)] else _sorted(crm, kind, sorts or [(ID, False)], rows)


def _axis(
    kind: str, groups: list[list[dict[str, Any]]], sorts: list[tuple[str, bool]]
) -> str | None:
    """The property, id or time of change, along which the answer is a range; None: neither."""
    for name in (*(name for name, _ in sorts[:1]), properties.modified(kind), ID):
        if name in (properties.modified(kind), ID) and (
            sorts == [(name, False)]
            or (len(groups) == 1 and any(one.get("propertyName") == name for one in groups[0]))
        ):
            return name
    return None


def _range(
    kind: str, axis: str, groups: list[list[dict[str, Any]]], view: View
) -> tuple[list[Version], bool]:
    """The objects in range along an axis, and whether that was all that was asked."""
    rows, keys = (view.by_id, view.ids) if axis == ID else (view.by_modified, view.times)
    low, high, used = 0, len(keys), 0
    for one in groups[0] if len(groups) == 1 else ():
        operator, value = one.get("operator"), one.get("value")
        if one.get("propertyName") != axis or operator not in _RANGES:
            continue
        used += 1
        start, end = _RANGES[operator]
        if start is not None:
            low = max(low, bisect_left(keys, _whole_of(axis, value) + start))
        if end is not None:
            last = one.get("highValue") if operator == "BETWEEN" else value
            high = min(high, bisect_left(keys, _whole_of(axis, last) + end))
    is_exact = len(groups) == 1 and used == len(groups[0])
    return rows[low:high], is_exact


def _whole_of(axis: str, value: Any) -> int:
    return int(_typed("number" if axis == ID else "datetime", value))


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


def _sort(given: Any) -> tuple[str, bool]:
    """The property of a sort and whether it goes down."""
    if isinstance(given, dict):
        return str(given.get("propertyName")), given.get("direction") == "DESCENDING"
    return str(given).lstrip("-"), str(given).startswith("-")


def _sorted(
    crm: Crm, kind: str, sorts: list[tuple[str, bool]], rows: list[Version]
) -> list[Version]:
    """In the order asked for; equal ones in an order that has nothing to do with their ids."""
    rows = sorted(rows, key=lambda one: chance(one.key))
    for name, is_down in reversed(sorts):
        type_ = crm.types[kind].get(name)
        if type_ is None:
            raise RefusedError(400, f"There was a problem with the request: no property {name}")
        rows.sort(key=_sort_key(name, type_), reverse=is_down)
    return rows


def _sort_key(name: str, type_: str) -> Callable[[Version], tuple[bool, Any]]:
    def key(one: Version) -> tuple[bool, Any]:
        value = one.document["properties"].get(name)
        return (True, _typed(type_, value)) if value is not None else (False, 0)

    return key
