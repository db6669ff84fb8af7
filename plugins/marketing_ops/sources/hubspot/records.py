"""One CRM object: its id and times, and how it reaches the engine."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from functools import cache
from typing import Any

from marketing_ops.sources.base import Stream
from marketing_ops.sources.hubspot.client import API_VERSION

ID = "hs_object_id"
_ENVELOPE = frozenset(
    {
        "properties",
        "propertiesWithHistory",
        "associations",
        "createdAt",
        "updatedAt",
        "archived",
        "archivedAt",
        "objectWriteTraceId",
        "url",
    }
)

Record = dict[str, Any]


def path_of(stream: Stream) -> str:
    """Where the stream's objects lie."""
    return f"/crm/objects/{API_VERSION}/{stream.api['object']}"


def names_of(stream: Stream) -> list[str]:
    """The properties to ask for: those of the columns and what the stream has beside them."""
    own = [column.path for column in stream.columns if column.name not in _MADE]
    return list(dict.fromkeys([*own, *stream.api["properties"]]))


_MADE = frozenset({"id", "company_id", "contact_ids"})
"""Columns that are no properties."""


def flat(stream: Stream, record: Any) -> Any:
    """A record as its columns expect it: `id` beside its properties.

    Every property comes as text, an empty one as "" or null. What does not read as its column's
    type stays as it came, so that the row keeps it.
    """
    if not isinstance(record, dict) or not isinstance(record.get("properties"), dict):
        return record
    made: Record = {"id": record.get("id")}
    made.update((name, value) for name, value in record.items() if name not in _ENVELOPE)
    made.update((name, None if value == "" else value) for name, value in _properties(record))
    for name, kind in _typed(stream):
        value = made.get(name)
        if type(value) is str:
            made[name] = _BOOLEANS.get(value, value) if kind == "boolean" else instant(value)
    return made


def _properties(record: Record) -> Iterator[tuple[str, Any]]:
    return ((name, value) for name, value in record["properties"].items() if name != ID)


_BOOLEANS: dict[str, Any] = {"true": True, "false": False}


@cache
def _typed(stream: Stream) -> tuple[tuple[str, str], ...]:
    return tuple(
        (column.path, column.type)
        for column in stream.columns
        if column.type in ("boolean", "timestamptz")
    )


def instant(value: str) -> str:
    """A time in ISO form: some properties are in ms, some are a date alone."""
    if value.isdigit() and 9 < len(value) < 15:
        return iso(int(value))
    return f"{value}T00:00:00Z" if len(value) == len("2026-01-31") else value


def ms_of(value: str) -> int:
    """Epoch ms of a time as HubSpot writes it.

    Raises:
        ValueError: it is none.
    """
    return round(datetime.fromisoformat(instant(value)).timestamp() * 1000)


def iso(ms: int) -> str:
    """Epoch ms as ISO text."""
    return datetime.fromtimestamp(ms / 1000, UTC).isoformat(timespec="milliseconds")


def to_ms(at: datetime) -> int:
    """Rounded down: a start loses nothing, an end leaves a fraction to the next window."""
    return int(at.timestamp() * 1000)


def id_of(record: Any) -> int | None:
    """The id of an object as a number; None when it shows none."""
    key = record.get("id") if isinstance(record, dict) else None
    return int(key) if isinstance(key, str) and key.isdecimal() else None
