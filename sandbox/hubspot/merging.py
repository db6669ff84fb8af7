"""Merging two objects: a new id, the gaps of the first filled from the second."""

from __future__ import annotations

from typing import Any

from sandbox.hubspot import properties
from sandbox.hubspot.values import iso
from sandbox.records import Row, Version


def merged(kind: str, key: str, first: Version, second: Version, now: int) -> list[Row]:
    """The merged object, the end of the two, and where they went."""
    old = (first.document["properties"], second.document["properties"])
    values = {**old[1], **old[0]}
    made = properties.created(kind)
    values[made] = min(old[0][made], old[1][made])
    values["hs_object_id"] = key
    values["hs_merged_object_ids"] = ";".join(_ids(first) + _ids(second))
    values[properties.modified(kind)] = iso(now)
    gone: list[Row] = []
    for one in (first, second):
        gone += [
            (kind, one.key, now, None),
            ("merged", f"{kind}:{one.key}", now, {"into": key}),
        ]
    document = {"properties": values, "links": _links(first.document, second.document)}
    return [(kind, key, now, document), *gone]


def _ids(one: Version) -> list[str]:
    """The object's id, after those that were merged into it before."""
    before = one.document["properties"].get("hs_merged_object_ids", "")
    return [*filter(None, before.split(";")), one.key]


def _links(first: dict[str, Any], second: dict[str, Any]) -> dict[str, list[str]]:
    kinds = [*first["links"], *second["links"]]
    return {
        kind: list(dict.fromkeys([*first["links"].get(kind, ()), *second["links"].get(kind, ())]))
        for kind in dict.fromkeys(kinds)
    }
