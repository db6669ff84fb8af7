"""What a vendor declares: connection form, client and streams. The engine knows nothing else."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, Literal

from marketing_ops.connections import Connection

ColumnType = Literal["text", "bigint", "numeric", "boolean", "timestamptz", "jsonb"]
Schedule = Literal["hourly", "daily", "off"]


@dataclass(frozen=True)
class Column:
    """One typed column of a raw table and where its value lies in a record.

    Attributes:
        name: the column's name.
        type: its Postgres type. A value that does not fit becomes NULL, the original goes to
            `extra` under the column's name.
        path: dotted path in the record, list items by number (`variants.nodes.0.sku`).
        is_gid: the value is a global id; only what follows its last slash is kept.
        items: for a jsonb list of objects: the flat fields to keep of each (names and paths).
    """

    name: str
    type: ColumnType
    path: str
    is_gid: bool = False
    items: tuple[Column, ...] = ()


@dataclass(frozen=True, eq=False)
class Stream:
    """One kind of record of a vendor, and how it appears, changes and vanishes.

    Attributes:
        name: as users write it in include/sources and as the raw table is called.
        columns: the first one is the key and is named `id`.
        cursor: the column with the source's own time of change; "" for children.
        overlap: how far the cursor is moved back, for what the vendor shows late.
        filter_margin: how far the vendor's filter has to start earlier (and end later) than the
            window because it compares less exactly than by instant. Records outside the window
            are then left out here.
        is_ascending: pages come in the cursor's order, so that the cursor may follow each batch.
        is_newest_first: pages come newest first; reading stops at the window's start.
        page_size: records asked for at a time.
        has_bulk: an initial load, a refresh and long backfills are read as one file.
        children: streams nested in this one's records; replaced together with their parent.
        nested: for a child, the dotted path of its list in the parent's record.
        line_mark: for a child that stands on lines of its own in a bulk file: what its ids contain.
        parent_column: for a child, the column with the parent's id (path `__parentId`).
        parent: for a child, the parent's name.
        deletes: this stream's records say that rows of the named stream are gone; it has no
            table of its own. Its columns are `id` (of the row that is gone) and the cursor.
        is_complete: a full read shows every record there is, so that absence means deletion.
        schedule: how often it is read unless the user says otherwise.
        entity: the core entity unify makes of it, "" for none.
        note: what a user has to know (scopes, retention).
        api: what only the vendor's own reader understands (query text, sort keys).
    """

    name: str
    columns: tuple[Column, ...]
    cursor: str = ""
    overlap: timedelta = timedelta(minutes=5)
    filter_margin: timedelta = timedelta(0)
    is_ascending: bool = True
    is_newest_first: bool = False
    page_size: int = 100
    has_bulk: bool = False
    children: tuple[Stream, ...] = ()
    nested: str = ""
    line_mark: str = ""
    parent_column: str = ""
    parent: str = ""
    deletes: str = ""
    is_complete: bool = False
    schedule: Schedule = "hourly"
    entity: str = ""
    note: str = ""
    api: Mapping[str, Any] = field(default_factory=dict)

    def family(self) -> tuple[Stream, ...]:
        """The stream and its children, in the order in which they are merged."""
        return (self, *self.children)


@dataclass(frozen=True)
class ReadRequest:
    """What one run wants of a stream.

    Attributes:
        since: inclusive start of the window by the stream's cursor, None = from the beginning.
        until: exclusive, frozen end of the window.
        is_bulk: read it as one file.
        is_full: everything there is, not a window.
        resume: the state of the last page that an earlier, interrupted run committed.
    """

    since: datetime | None
    until: datetime
    is_bulk: bool = False
    is_full: bool = False
    resume: Mapping[str, Any] | None = None


@dataclass
class Page:
    """One step of reading: parsed records, or raw lines of JSON.

    Attributes:
        records: parsed records (children nested in them), in the source's order.
        lines: instead, whole lines of JSONL in which children stand beside their parents and
            name them in `__parentId`. A family that stands together is not cut.
        broken: records that are no JSON: (reason, bytes).
        is_escaped: strings of `records` may hold backslashes or control characters.
        state: JSON to resume after this page, when the run commits it; None = cannot resume.
        has_more: another page follows.
        expected: on the last page, how many records the source says there are in all.
        roots: on the last page, how many of them have no parent.
    """

    records: list[Any] = field(default_factory=list)
    lines: bytes = b""
    broken: list[tuple[str, bytes]] = field(default_factory=list)
    is_escaped: bool = True
    state: dict[str, Any] | None = None
    has_more: bool = False
    expected: int | None = None
    roots: int | None = None


@dataclass(frozen=True)
class FormField:
    """An extra field of the connection form; `kind` is its JSON schema type."""

    label: str
    description: str = ""
    kind: Literal["string", "integer", "number", "boolean"] = "string"
    default: Any = None
    is_secret: bool = False


@dataclass(frozen=True)
class ConnectionForm:
    """How the connection type looks in Airflow; see `as_provider_info`."""

    conn_type: str
    hook_name: str
    hook_class: str
    hidden: tuple[str, ...] = ()
    relabeling: Mapping[str, str] = field(default_factory=dict)
    placeholders: Mapping[str, str] = field(default_factory=dict)
    fields: Mapping[str, FormField] = field(default_factory=dict)

    def as_provider_info(self) -> dict[str, Any]:
        """The entry of this type in a provider's `connection-types`."""
        return {
            "connection-type": self.conn_type,
            "hook-class-name": self.hook_class,
            "hook-name": self.hook_name,
            "ui-field-behaviour": {
                "hidden-fields": list(self.hidden),
                "relabeling": dict(self.relabeling),
                "placeholders": dict(self.placeholders),
            },
            "conn-fields": {name: _form_field(item) for name, item in self.fields.items()},
        }


def _form_field(item: FormField) -> dict[str, Any]:
    schema: dict[str, Any] = {"type": [item.kind, "null"]}
    if item.default is not None:
        schema["default"] = item.default
    if item.is_secret:
        schema["format"] = "password"
    return {"label": item.label, "description": item.description, "schema": schema}


ClientFactory = Callable[[Connection, float], Any]
"""Builds a client from a connection and the share of the vendor's quota it may use."""

Reader = Callable[[Any, Stream, ReadRequest], Iterator[Page]]
"""Reads a stream through a client, one page at a time."""


@dataclass(frozen=True)
class Source:
    """One vendor system.

    Attributes:
        system: its name in include/sources and in the raw tables.
        form: its connection type.
        client: builds its client; None for a system that is only written to.
        read: reads one of its streams.
        streams: what can be read, parents before children, without the children themselves.
        has_webhooks: the vendor can push changes.
        channels: delivery channels it can carry.
    """

    system: str
    form: ConnectionForm
    client: ClientFactory | None = None
    read: Reader | None = None
    streams: tuple[Stream, ...] = ()
    has_webhooks: bool = False
    channels: tuple[str, ...] = ()

    def stream(self, name: str) -> Stream | None:
        """The stream of that name; None for an unknown name and for a child."""
        return next((stream for stream in self.streams if stream.name == name), None)
