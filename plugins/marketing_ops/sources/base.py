"""What a vendor declares: connection form, client and streams. The engine knows nothing else."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, Literal

from marketing_ops.connections import Connection
from marketing_ops.sources.shared import Shared

ColumnType = Literal["text", "bigint", "numeric", "boolean", "timestamptz", "jsonb"]
Schedule = Literal["hourly", "daily", "off"]
Dag = Literal["shop", "crm", "engagement", "ads"]


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
        cursor: the column with the source's own time of change; "" for children, and for a
            snapshot: a stream without such a time, which every run reads as a whole.
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
        absorbs: a text column with the ids of the rows that were merged into this one, separated
            by semicolons; they are tombstoned together with the row that names them.
        is_complete: a full read shows every record there is, so that absence means deletion.
        is_reconciled: the nightly comparison lists the vendor's keys and repairs what differs.
        lookups: columns by which a staging view looks rows of an account up; each gets an index.
        max_slices: into how many parts an initial load may be cut that are read side by side.
        schedule: how often it is read unless the user says otherwise.
        dag: which of the sync DAGs reads it: `sync_<dag>`.
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
    absorbs: str = ""
    is_complete: bool = False
    is_reconciled: bool = False
    lookups: tuple[tuple[str, ...], ...] = ()
    max_slices: int = 1
    schedule: Schedule = "hourly"
    dag: Dag = "shop"
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
        part: one of `Source.slices`, the part of a full read to read; None = the whole.
        patience: how many seconds a reader may wait for the vendor to prepare a file; after that
            it raises `StillRunningError` and a later run goes on with the committed state.
    """

    since: datetime | None
    until: datetime
    is_bulk: bool = False
    is_full: bool = False
    resume: Mapping[str, Any] | None = None
    part: Mapping[str, Any] | None = None
    patience: float = float("inf")


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


ClientFactory = Callable[[Connection, float, Shared], Any]
"""Builds a client from a connection, the share of the vendor's quota it may use, and what the
processes that use the account share (pace, token). A client keeps its HttpClient in `http`."""

Reader = Callable[[Any, Stream, ReadRequest], Iterator[Page]]
"""Reads a stream through a client, one page at a time."""

Key = tuple[str, str]
"""A record's id and its time of change as ISO text, "" where the vendor shows none."""


@dataclass(frozen=True)
class Quota:
    """What a vendor lets an account do, as far as it says.

    Attributes:
        calls_per_second: at most, for this kind of stream; None = unknown.
        calls_per_day: at most; None = no daily quota.
        left_today: calls left of the daily quota; None = unknown.
    """

    calls_per_second: float | None = None
    calls_per_day: int | None = None
    left_today: int | None = None


@dataclass(frozen=True)
class Finding:
    """One line of `marketing-ops doctor`.

    Attributes:
        what: what was looked at: `login`, `scopes`, `quota`, `clock`, `version`, ...
        is_ok: False = somebody has to act.
        says: what was found, and when it is not ok what to do; no secret, no address.
    """

    what: str
    is_ok: bool
    says: str


@dataclass(frozen=True)
class Outcome:
    """What became of one recipient of a write, in the order in which they were given.

    Attributes:
        key: the recipient as given (a vendor's id or an address).
        status: `done`, `unchanged` (it was so before), `missing` (the vendor does not know it),
            `rejected` (for good), `unknown` (the vendor may or may not have done it).
        reason: the vendor's code for a rejection, without personal data.
        external_id: the id of what was made, where something was made.
    """

    key: str
    status: Literal["done", "unchanged", "missing", "rejected", "unknown"]
    reason: str = ""
    external_id: str = ""


@dataclass(frozen=True)
class Source:
    """One vendor system.

    Attributes:
        system: its name in include/sources and in the raw tables.
        form: its connection type.
        client: builds its client; None for a system that is only written to.
        read: reads one of its streams.
        streams: what can be read, parents before children, without the children themselves.
        count: how many records of a stream (or of one of its slices) there are; None = the vendor
            does not say.
        slices: cuts a full read into at most that many parts (JSON objects) that together are the
            whole; each comes back as `ReadRequest.part`.
        keys: the keys of every record of a stream that is there now (or of one slice), in pages.
        fetch: the records with these ids as `Page.records` has them; what is gone is left out.
        quota: what the vendor lets the account do with a stream.
        check: looks at login, scopes, versions and quota, for `marketing-ops doctor`.
        writers: what can be written to it: name -> function of the client that returns outcomes.
        has_webhooks: the vendor can push changes.
        channels: delivery channels it can carry.
    """

    system: str
    form: ConnectionForm
    client: ClientFactory | None = None
    read: Reader | None = None
    streams: tuple[Stream, ...] = ()
    count: Callable[[Any, Stream, Mapping[str, Any] | None], int | None] | None = None
    slices: Callable[[Any, Stream, int], list[dict[str, Any]]] | None = None
    keys: Callable[[Any, Stream, Mapping[str, Any] | None], Iterator[list[Key]]] | None = None
    fetch: Callable[[Any, Stream, list[str]], list[dict[str, Any]]] | None = None
    quota: Callable[[Any, Stream], Quota] | None = None
    check: Callable[[Any], Iterator[Finding]] | None = None
    writers: Mapping[str, Callable[..., list[Outcome]]] = field(default_factory=dict)
    has_webhooks: bool = False
    channels: tuple[str, ...] = ()

    def stream(self, name: str) -> Stream | None:
        """The stream of that name; None for an unknown name and for a child."""
        return next((stream for stream in self.streams if stream.name == name), None)

    def can_reconcile(self, name: str) -> bool:
        """Whether the vendor lists the keys of a stream and shows its records by their id."""
        stream = self.stream(name)
        return bool(stream and stream.is_reconciled and self.keys and self.fetch)
