"""A batch of rows on their way into Postgres: COPY text, de-duplicated, with its rejects."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from hashlib import blake2b
from typing import Any

import orjson

from marketing_ops.sources.base import Page, Stream
from marketing_ops.sync.books import Counts
from marketing_ops.sync.rows import NULL, Fields, Odd, escape
from marketing_ops.sync.shapes import RowShape, shape_of

_NO_ID = (NULL, "")


@dataclass(frozen=True)
class Reject:
    """A record that cannot be stored, with its bytes."""

    stream: str
    record_id: str | None
    reason: str
    payload: bytes


class RowSet:
    """The rows of one stream in a batch.

    Attributes:
        lines: COPY text: the shape's columns, the hash, the source's time; None = superseded.
        index: id -> place in `lines`.
        complete: parents whose nested list was here as a whole, so that absence means gone.
        unresolved: rows whose parent's time is not known in this batch.
        odd: how many records show a field that is not as declared.
    """

    def __init__(self, stream: Stream) -> None:
        self.stream = stream
        self.shape: RowShape = shape_of(stream)
        self.counts = Counts()
        self.lines: list[str | None] = []
        self.stamps: list[str] = []
        self.index: dict[str, int] = {}
        self.complete: set[str] = set()
        self.unresolved = 0
        self.odd: Counter[Odd] = Counter()

    def put(self, key: str, line: str) -> None:
        """Add a row; of two with one id the later one stays."""
        if key in self.index:
            self.drop(self.index[key])
        self.index[key] = len(self.lines)
        self.lines.append(line)

    def times(self) -> dict[str, str]:
        """The source's time of each row by id."""
        return {key: self.stamps[place] for key, place in self.index.items()}

    def drop(self, place: int) -> None:
        """Take a row out as a duplicate."""
        if self.lines[place] is not None:
            self.lines[place] = None
            self.counts.duplicates += 1

    def rows(self) -> list[str]:
        """The rows that stay."""
        if not self.counts.duplicates:
            return self.lines  # type: ignore[return-value]  # nothing was dropped
        return [line for line in self.lines if line is not None]


def line_of(fields: tuple[str, ...] | Fields, stamp: str) -> str:
    """COPY text of a row: its fields, their hash, the source's time.

    Raises:
        UnicodeEncodeError: a text is not valid Unicode.
    """
    text = "\t".join(fields)
    return f"{text}\t\\\\x{blake2b(text.encode(), digest_size=8).hexdigest()}\t{stamp}"


class Batch:
    """Collects pages of one stream family until they are merged.

    Attributes:
        newest: the largest source time among the rows, as text; "" without one.
        absorbed: id of a row that was merged into one of these -> the time of that one.
        records: how many records stood by themselves (lines or roots), for the source's count.
        bytes: about how much it holds.

    Args:
        before: the batch before this one: lines may stand behind parents that went into it.
    """

    def __init__(self, stream: Stream, before: Batch | None = None) -> None:
        self.stream = stream
        self.root = RowSet(stream)
        self.children = [RowSet(child) for child in stream.children]
        self.rejects: list[Reject] = []
        self.newest = ""
        self.records = 0
        self.roots = 0
        self.pages = 0
        self.bytes = 0
        self.absorbed: dict[str, str] = {}
        self._spans: dict[str, list[tuple[int, int]]] = {}
        self._on_lines = [child for child in self.children if child.stream.line_mark]
        self._earlier = before.root.times() if before is not None and self._on_lines else {}

    def row_sets(self) -> list[RowSet]:
        """The root's rows, then each child's."""
        return [self.root, *self.children]

    def ids(self) -> set[str]:
        """The ids of the records without parent that came in, rejected ones included."""
        rejected = {reject.record_id for reject in self.rejects if reject.record_id}
        return rejected.union(self.root.index)

    @property
    def size(self) -> int:
        """Rows and rejected records in the batch."""
        return len(self.rejects) + sum(len(rows.lines) for rows in self.row_sets())

    def add_page(self, page: Page) -> None:
        """Take a page in."""
        self.pages += 1
        for reason, payload in page.broken:
            self._reject(self.root, None, reason, payload)
            self.records += 1
            self.roots += 1
        if page.lines:
            self._add_lines(page.lines)
        marks = [len(rows.lines) for rows in self.row_sets()]
        if self.children:
            for record in page.records:
                self._add_parsed(record, page.is_escaped)
        else:
            self._add_plain(page.records, page.is_escaped)
        for rows, mark in zip(self.row_sets(), marks, strict=True):
            self.bytes += sum(map(len, filter(None, rows.lines[mark:])))

    def _add_plain(self, records: list[Any], is_escaped: bool) -> None:
        """As `_add_parsed` for records without children, in their usual case without detours.

        This is where most of a page's time goes: everything it needs is a local name.
        """
        root, fast, detour = self.root, self.root.shape.fast, self._add_parsed
        cursor, absorbs = root.shape.cursor, root.shape.absorbs
        index, lines, stamps = root.index, root.lines, root.stamps
        join, digest_of, newest, added = "\t".join, blake2b, self.newest[:-1], 0
        for record in records:
            fields: tuple[str, ...] | Fields | None = fast(record) if type(record) is dict else None
            if is_escaped and fields is not None:
                fields = escape(fields)
            if fields is None or fields[0] in _NO_ID or fields[0] in index:
                detour(record, is_escaped)
                newest = self.newest[:-1]
                continue
            stamp = NULL if cursor is None else fields[cursor]
            if (stamp is NULL and cursor is not None) or (
                absorbs is not None and fields[absorbs] is not NULL
            ):
                detour(record, is_escaped)
                newest = self.newest[:-1]
                continue
            text = join(fields)
            try:
                digest = digest_of(text.encode(), digest_size=8).hexdigest()
            except UnicodeEncodeError:
                detour(record, is_escaped)
                continue
            index[fields[0]] = len(lines)
            lines.append(f"{text}\t\\\\x{digest}\t{stamp}")
            stamps.append(stamp)
            added += 1
            if stamp is not NULL and stamp[:-1] > newest:
                self.newest, newest = stamp, stamp[:-1]
        root.counts.fetched += added
        self.records += added
        self.roots += added

    def _add_parsed(self, record: Any, is_escaped: bool) -> None:
        self.records += 1
        self.roots += 1
        if isinstance(record, dict):
            self._add_root(record, is_escaped)
        else:
            self._reject(self.root, None, "is not an object", _bytes(record))

    def _add_lines(self, block: bytes) -> None:
        """The lines of a bulk file: roots, and children that name their parent."""
        loads, add_root = orjson.loads, self._add_root
        add_child = self._child_adder() if len(self._on_lines) == 1 else self._add_line_child
        lines = block.split(b"\n")
        if not lines[-1]:
            lines.pop()
        self.records += len(lines)
        self.bytes += len(block)
        for line in lines:
            try:
                record = loads(line)
            except orjson.JSONDecodeError:
                self.roots += 1
                self._reject(self.root, None, "is not valid JSON or not valid UTF-8", line)
                continue
            if type(record) is not dict:
                self.roots += 1
                self._reject(self.root, None, "is not an object", line)
            elif "__parentId" in record:
                add_child(record, b"\\" in line)
            else:
                self.roots += 1
                add_root(record, b"\\" in line)

    def _child_adder(self) -> Callable[[dict[str, Any], bool], None]:
        """As `_add_line_child` for the one stream on lines, in its usual case without detours.

        This is where most of a big load's time goes: everything it needs is a local name.
        """
        (rows,) = self._on_lines
        fast, parent_place, mark = rows.shape.fast, rows.shape.parent or 0, rows.stream.line_mark
        places, stamps, index, lines = self.root.index, self.root.stamps, rows.index, rows.lines
        counts, append, digest_of, detour = rows.counts, lines.append, blake2b, self._add_line_child
        join, last, stamp = "\t".join, "", NULL

        def add(record: dict[str, Any], is_escaped: bool) -> None:
            nonlocal last, stamp
            fields = fast(record)
            if fields is None or is_escaped or fields[0] is NULL or mark not in record["id"]:
                detour(record, is_escaped)
                return
            key, parent = fields[0], fields[parent_place]
            if parent != last:
                place = places.get(parent)
                if place is None or parent is NULL:
                    detour(record, is_escaped)
                    return
                last, stamp = parent, stamps[place]
            if key in index:
                detour(record, is_escaped)
                return
            counts.fetched += 1
            text = join(fields)
            digest = digest_of(text.encode(), digest_size=8).hexdigest()
            index[key] = len(lines)
            append(f"{text}\t\\\\x{digest}\t{stamp}")

        return add

    def _add_line_child(self, record: dict[str, Any], is_escaped: bool) -> None:
        key = record.get("id")
        for rows in self._on_lines:
            if type(key) is str and rows.stream.line_mark in key:
                break
        else:
            self._reject(self.root, _id_of(record), "is of a kind nobody declared", _bytes(record))
            return
        shape = rows.shape
        fields = shape.fast(record) or shape.careful(record, rows.odd)
        if is_escaped:
            fields = escape(fields)
        parent = fields[shape.parent or 0]
        if parent is NULL or fields[0] in _NO_ID:
            self._reject(rows, _id_of(record), "has no id or no parent", _bytes(record))
            return
        rows.counts.fetched += 1
        place = self.root.index.get(parent)
        stamp = self._earlier.get(parent, NULL) if place is None else self.root.stamps[place]
        if stamp is NULL:
            rows.unresolved += 1
        rows.put(fields[0], line_of(fields, stamp))

    def _add_root(self, record: dict[str, Any], is_escaped: bool) -> None:
        nested = [_take(record, rows.stream.nested) for rows in self.children]
        root, shape = self.root, self.root.shape
        try:
            fields = shape.fast(record) or shape.careful(record, root.odd)
            if is_escaped:
                fields = escape(fields)
            key = fields[0]
            stamp = NULL if shape.cursor is None else fields[shape.cursor]
            line = line_of(fields, stamp)
        except UnicodeEncodeError:
            reason = "holds text that is not valid UTF-8, or a number that is none"
            self._reject_root(record, nested, reason)
            return
        if key in _NO_ID or (stamp is NULL and shape.cursor is not None):
            reason = "has no id" if key in _NO_ID else f"has no usable {self.stream.cursor}"
            self._reject_root(record, nested, reason)
            return
        root.counts.fetched += 1
        if self._supersede(key, stamp):
            for rows, items in zip(self.children, nested, strict=True):
                rows.counts.fetched += len(items or ())
                rows.counts.duplicates += len(items or ())
            root.counts.duplicates += 1
            return
        spans = []
        for rows, items in zip(self.children, nested, strict=True):
            start = len(rows.lines)
            if items is not None:
                self._add_nested(rows, record, key, stamp, items, is_escaped)
            spans.append((start, len(rows.lines)))
        root.put(key, line)
        root.stamps.append(stamp)
        if spans:
            self._spans[key] = spans
        if stamp is not NULL and stamp[:-1] > self.newest[:-1]:
            self.newest = stamp
        if shape.absorbs is not None and fields[shape.absorbs] is not NULL:
            self.absorbed.update((old, stamp) for old in _ids_in(fields[shape.absorbs], key))

    def _reject_root(
        self, record: dict[str, Any], nested: list[list[Any] | None], reason: str
    ) -> None:
        """Reject a record with its children, which stay inside its bytes and are not counted."""
        for rows, items in zip(self.children, nested, strict=True):
            if items is not None:
                record[rows.stream.nested.split(".")[0]] = items
        self._reject(self.root, _id_of(record), reason, _bytes(record))

    def _supersede(self, key: str, stamp: str) -> bool:
        """Whether a newer version is in the batch; an older one there loses its children."""
        place = self.root.index.get(key)
        if place is None:
            return False
        if self.root.stamps[place][:-1] > stamp[:-1]:
            return True
        self._drop(self._spans.pop(key, []))
        return False

    def _drop(self, spans: list[tuple[int, int]]) -> None:
        for rows, (start, end) in zip(self.children, spans, strict=False):
            for place in range(start, end):
                rows.drop(place)

    def _add_nested(
        self,
        rows: RowSet,
        parent: dict[str, Any],
        key: str,
        stamp: str,
        items: Iterable[Any],
        is_escaped: bool,
    ) -> None:
        """The children of one parent; the list is whole, so that a missing one is gone."""
        is_whole = True
        for item in items:
            if not self._add_nested_one(rows, parent, stamp, item, is_escaped):
                payload = _bytes({"__parentId": key, "record": item})
                self._reject(rows, _id_of(item), "has no id or is no valid record", payload)
                is_whole = False
        if is_whole:
            rows.complete.add(key)
        else:
            rows.complete.discard(key)

    @staticmethod
    def _add_nested_one(
        rows: RowSet, parent: dict[str, Any], stamp: str, item: Any, is_escaped: bool
    ) -> bool:
        """Add one nested child; False when it cannot be stored."""
        if type(item) is not dict:
            return False
        item["__parentId"] = parent["id"]
        try:
            fields = rows.shape.fast(item) or rows.shape.careful(item, rows.odd)
            if is_escaped:
                fields = escape(fields)
            line = line_of(fields, stamp)
        except UnicodeEncodeError:
            return False
        if fields[0] in _NO_ID:
            return False
        rows.counts.fetched += 1
        rows.put(fields[0], line)
        return True

    def _reject(self, rows: RowSet, record_id: str | None, reason: str, payload: bytes) -> None:
        rows.counts.fetched += 1
        rows.counts.rejected += 1
        self.bytes += len(payload)
        self.rejects.append(Reject(rows.stream.name, record_id, reason, payload))


def _take(record: dict[str, Any], path: str) -> list[Any] | None:
    """Take the nested list at `path` out of a record; None when the record does not show it."""
    head, *rest = path.split(".")
    value = record.pop(head, None)
    for part in rest:
        value = value.get(part) if isinstance(value, dict) else None
    return value if isinstance(value, list) else None


def _ids_in(text: str, own: str) -> Iterator[str]:
    """The ids in an `absorbs` column, without the row's own (a vendor may list it too)."""
    for part in text.split(";"):
        old = part.strip()
        if old and old != own:
            yield old


def _id_of(record: Any) -> str | None:
    value = record.get("id") if isinstance(record, dict) else None
    return str(value).rpartition("/")[2] if isinstance(value, str | int) else None


def _bytes(record: Any) -> bytes:
    """A record as bytes again, whatever is wrong with it."""
    try:
        return orjson.dumps(record)
    except TypeError:
        return json.dumps(record, default=str).encode("utf-8", "surrogateescape")
