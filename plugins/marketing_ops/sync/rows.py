"""From a parsed record to the fields of a COPY row: fast where it fits, careful where not.

For each stream one function is generated that takes a record of exactly the declared shape apart,
in a fraction of the time of a loop over the columns. Whatever does not fit in any way goes to
`fields_of`, which knows missing and unknown fields and values of a wrong type.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cache
from math import isfinite
from typing import Any

import orjson

from marketing_ops.sources.base import Column, Stream

NULL = "\\N"
"""COPY's mark of NULL. Compared by identity: a text that reads the same is escaped."""

Fields = list[str]
Extractor = Callable[[dict[str, Any]], tuple[str, ...] | None]

_MISSING = object()
_NUMBER = re.compile(r"[+-]?(\d{1,400}(\.\d{0,400})?|\.\d{1,400})([eE][+-]?\d{1,2})?")
_INTEGER = re.compile(r"[+-]?\d{1,18}")
_ESCAPES = str.maketrans(
    {"\\": "\\\\", "\t": "\\t", "\n": "\\n", "\r": "\\r", "\b": "\\b", "\f": "\\f", "\v": "\\v"}
)


class MisfitError(ValueError):
    """A value that does not fit its column's type."""


@dataclass(frozen=True)
class RowShape:
    """What the engine needs of one stream's rows.

    Attributes:
        names: the declared columns, then `extra`.
        fast: the fields of a record of the declared shape, or None when it is of another.
        cursor: the place of the cursor column among the fields, None for children.
        parent: the place of the parent's id, None for a stream without parent.
    """

    stream: Stream
    names: tuple[str, ...]
    fast: Extractor
    cursor: int | None
    parent: int | None

    def careful(self, record: dict[str, Any]) -> Fields:
        """The fields of any object: unknown fields and misfits are kept in `extra`."""
        return fields_of(self.stream, record)


@cache
def shape_of(stream: Stream) -> RowShape:
    """The row shape of a stream, made once."""
    names = [column.name for column in stream.columns]
    return RowShape(
        stream=stream,
        names=(*names, "extra"),
        fast=_generate(stream),
        cursor=names.index(stream.cursor) if stream.cursor else None,
        parent=names.index(stream.parent_column) if stream.parent_column else None,
    )


def escape(fields: tuple[str, ...] | Fields) -> Fields:
    """The fields with COPY's own characters escaped; NUL, which Postgres has not, replaced."""
    escaped = []
    for text in fields:
        if text is not NULL and not text.isalnum():
            text = text.translate(_ESCAPES)
            if "\0" in text:
                text = text.replace("\0", "\N{REPLACEMENT CHARACTER}")
        escaped.append(text)
    return escaped


def unescape(text: str) -> str | None:
    """The value of a field of a COPY row."""
    if text == NULL:
        return None
    return _ESCAPED.sub(_unescaped, text) if "\\" in text else text


_ESCAPED = re.compile(r"\\(.)", re.DOTALL)
_PLAIN = {"t": "\t", "n": "\n", "r": "\r", "b": "\b", "f": "\f", "v": "\v"}


def _unescaped(match: re.Match[str]) -> str:
    return _PLAIN.get(match.group(1), match.group(1))


# ------------------------------------------------------------------ careful


def fields_of(stream: Stream, record: dict[str, Any]) -> Fields:
    """The fields of a record column by column; the last one is `extra`."""
    extra: dict[str, Any] = {}
    fields: Fields = []
    for column in stream.columns:
        value = _value_at(record, column.path)
        if value is _MISSING or value is None:
            fields.append(NULL)
            continue
        try:
            fields.append(_convert(column, value))
        except MisfitError:
            fields.append(NULL)
            extra[column.name] = value
    extra.update(_unknown(record, _known_tree(stream)))
    fields.append(_json(extra) if extra else NULL)
    return fields


def _value_at(record: Any, path: str) -> Any:
    value = record
    for part in path.split("."):
        if isinstance(value, dict):
            value = value.get(part, _MISSING)
        elif isinstance(value, list) and part.isdigit():
            value = value[int(part)] if int(part) < len(value) else _MISSING
        elif value is None or value is _MISSING:
            return _MISSING
        else:
            return _MISSING
    return value


Tree = dict[str, Any]


@cache
def _known_tree(stream: Stream) -> Tree:
    """The declared keys, level by level; None = whatever lies below belongs to the column."""
    tree: Tree = {}
    for column in stream.columns:
        _plant(tree, column.path.split("."))
    for child in stream.children:
        tree.setdefault(child.nested.split(".")[0], None)
    tree.setdefault("__parentId", None)
    return tree


def _plant(tree: Tree, parts: list[str]) -> None:
    head, *rest = parts
    if rest and rest[0] != "nodes":
        below = tree.setdefault(head, {})
        if below is not None:
            _plant(below, rest)
    else:
        tree[head] = None


def _unknown(record: dict[str, Any], tree: Tree) -> dict[str, Any]:
    """The fields nobody declared, nested ones under their dotted path, and declared objects that
    turned out to be something else.
    """
    found: dict[str, Any] = {}
    for key, value in record.items():
        if key not in tree:
            found[key] = value
            continue
        below = tree[key]
        if below is None or value is None:
            continue
        if isinstance(value, dict):
            nested = _unknown(value, below)
            found.update({f"{key}.{name}": item for name, item in nested.items()})
        else:
            found[key] = value
    return found


def _convert(column: Column, value: Any) -> str:
    return _CONVERTERS[column.type](column, value)


def _text(column: Column, value: Any) -> str:
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        raise MisfitError
    text = value if isinstance(value, str) else str(value)
    if column.is_gid:
        text = text.rpartition("/")[2]
        if not text:
            raise MisfitError
    return text


def _bigint(column: Column, value: Any) -> str:
    text = str(value) if isinstance(value, str | int | float) else ""
    if isinstance(value, bool) or not _INTEGER.fullmatch(text):
        raise MisfitError
    return text


def _numeric(column: Column, value: Any) -> str:
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        raise MisfitError
    if isinstance(value, float) and not isfinite(value):
        raise MisfitError
    text = str(value)
    if not _NUMBER.fullmatch(text):
        raise MisfitError
    return text


def _boolean(column: Column, value: Any) -> str:
    if value is True:
        return "t"
    if value is False:
        return "f"
    raise MisfitError


def _timestamptz(column: Column, value: Any) -> str:
    if not isinstance(value, str) or len(value) < len("2026-01-31T00:00") or value[4] != "-":
        raise MisfitError
    try:
        at = datetime.fromisoformat(value)
        at = at.astimezone(UTC) if at.tzinfo else at.replace(tzinfo=UTC)
    except (ValueError, OverflowError) as error:
        raise MisfitError from error
    return at.isoformat().replace("+00:00", "Z")


def _jsonb(column: Column, value: Any) -> str:
    if column.items:
        if not isinstance(value, list):
            raise MisfitError
        value = [_flat(column.items, item) for item in value]
    return _json(value)


def _flat(items: tuple[Column, ...], record: Any) -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for item in items:
        value = _value_at(record, item.path)
        if value is _MISSING or value is None:
            flat[item.name] = None
        elif item.is_gid:
            flat[item.name] = str(value).rpartition("/")[2]
        else:
            flat[item.name] = value
    return flat


def _json(value: Any) -> str:
    """JSON for a jsonb column, which has no NUL either.

    Raises:
        UnicodeEncodeError: a text is not valid Unicode; the record is rejected.
    """
    try:
        text = orjson.dumps(value).decode()
    except TypeError as error:
        raise UnicodeEncodeError("utf-8", "", 0, 1, "a text is not valid UTF-8") from error
    return text.replace("\\u0000", "\N{REPLACEMENT CHARACTER}") if "\\u0000" in text else text


_CONVERTERS: dict[str, Callable[[Column, Any], str]] = {
    "text": _text,
    "bigint": _bigint,
    "numeric": _numeric,
    "boolean": _boolean,
    "timestamptz": _timestamptz,
    "jsonb": _jsonb,
}

# ------------------------------------------------------------------ fast


def _generate(stream: Stream) -> Extractor:
    """Write and compile `fast`: nested dicts are entered once, their sizes tell of unknown keys.

    What it accepts, `fields_of` turns into the same text (a test holds them against each other).
    """
    writer = _Writer(stream)
    scope: dict[str, Any] = {"NULL": NULL, "is_instant": is_instant, "dumps": orjson.dumps}
    scope |= {"tails": Tails(), "numbers": Numbers()}
    scope.update(flat=_flat, **{f"items{i}": c.items for i, c in enumerate(stream.columns)})
    exec(compile(writer.source(), f"<rows of {stream.name}>", "exec"), scope)  # noqa: S102 - the text is made of our own declarations only
    extractor: Extractor = scope["fast"]
    return extractor


_REMEMBERED = 20_000


class Tails(dict[str, str]):
    """Global id -> what follows its last slash; remembered, since products and orders recur."""

    def __missing__(self, text: str) -> str:
        tail = text.rpartition("/")[2]
        if not tail:
            raise KeyError(text)
        if len(self) >= _REMEMBERED:
            self.clear()
        self[text] = tail
        return tail


class Numbers(dict[str, str]):
    """Texts known to be plain decimal numbers; remembered, since prices recur."""

    def __missing__(self, text: str) -> str:
        if not (text.isascii() and len(text) < 100 and text.replace(".", "", 1).isdigit()):
            raise KeyError(text)
        if len(self) >= _REMEMBERED:
            self.clear()
        self[text] = text
        return text


def is_instant(text: str) -> bool:
    """Whether `text` is an instant in the one form that is copied as it is."""
    try:
        datetime.fromisoformat(text)
    except ValueError:
        return False
    return True


class _Writer:
    """Writes the text of `fast` for one stream."""

    def __init__(self, stream: Stream) -> None:
        self.stream = stream
        self.lines = ["def fast(o):", " try:"]
        self.names = 0

    def source(self) -> str:
        tree: Tree = {}
        for number, column in enumerate(self.stream.columns):
            _grow(tree, column.path.split("."), number)
        self._level("o", tree, " " * 2)
        fields = ",".join(f"f{number}" for number in range(len(self.stream.columns)))
        self.lines += [
            f"  return ({fields},NULL)",
            " except (KeyError, TypeError, AttributeError):",
        ]
        self.lines += ["  return None"]
        return "\n".join(self.lines)

    def _level(self, variable: str, tree: Tree, indent: str) -> None:
        add = self.lines.append
        add(f"{indent}if len({variable}) != {len(tree)}: return None")
        for key, below in tree.items():
            value = f"v{self.names}"
            self.names += 1
            add(f"{indent}{value} = {variable}[{key!r}]")
            if isinstance(below, int):
                self._leaf(below, value, indent)
                continue
            leaves = list(_leaves(below))
            nulls = " = ".join(f"f{number}" for number in leaves)
            add(f"{indent}if {value} is None: {nulls} = NULL")
            add(f"{indent}else:")
            if "nodes" in below:
                self._connection(value, below["nodes"], indent + " ")
            else:
                self._level(value, below, indent + " ")

    def _connection(self, value: str, below: Any, indent: str) -> None:
        """A list of nested nodes: the whole of it, or fields of its first one."""
        nodes, add = f"{value}n", self.lines.append
        add(f"{indent}{nodes} = {value}['nodes']")
        add(f"{indent}if type({nodes}) is not list: return None")
        if isinstance(below, int):
            self._leaf(below, nodes, indent)
            return
        leaves = " = ".join(f"f{number}" for number in _leaves(below))
        add(f"{indent}if not {nodes}: {leaves} = NULL")
        add(f"{indent}else:")
        for key, number in below["0"].items():
            add(f"{indent} {nodes}_{number} = {nodes}[0].get({key!r})")
            self._leaf(number, f"{nodes}_{number}", indent + " ")

    def _leaf(self, number: int, value: str, indent: str) -> None:
        column = self.stream.columns[number]
        target, add = f"f{number}", self.lines.append
        if column.type == "jsonb":
            made = f"[flat(items{number}, i) for i in {value}]" if column.items else value
            add(f"{indent}if {value} is None: {target} = NULL")
            add(f"{indent}elif type({value}) is list: {target} = dumps({made}).decode()")
        elif column.type == "bigint":
            add(f"{indent}if type({value}) is int and -10**18 < {value} < 10**18:")
            add(f"{indent} {target} = str({value})")
            add(f"{indent}elif {value} is None: {target} = NULL")
            add(f"{indent}elif {value}.isascii() and {value}.isdigit() and len({value}) < 19:")
            add(f"{indent} {target} = {value}")
        elif column.type == "boolean":
            add(f"{indent}if {value} is True: {target} = 't'")
            add(f"{indent}elif {value} is False: {target} = 'f'")
            add(f"{indent}elif {value} is None: {target} = NULL")
        elif column.type == "numeric":
            add(f"{indent}{target} = NULL if {value} is None else numbers[{value}]")
            return
        elif column.is_gid and number:
            add(f"{indent}{target} = NULL if {value} is None else tails[{value}]")
            return
        else:
            fits = f"len({value}) == 20 and {value}[19] == 'Z' and is_instant({value})"
            add(f"{indent}if {value} is None: {target} = NULL")
            add(f"{indent}elif type({value}) is not str: return None")
            if column.is_gid:
                add(f"{indent}elif {value}[-1:] not in ('', '/'):")
                add(f"{indent} {target} = {value}[{value}.rfind('/') + 1:]")
            elif column.type == "timestamptz":
                add(f"{indent}elif {fits}: {target} = {value}")
            else:
                add(f"{indent}else: {target} = {value}")
                return
        add(f"{indent}else: return None")


def _grow(tree: Tree, parts: list[str], number: int) -> None:
    for part in parts[:-1]:
        tree = tree.setdefault(part, {})
    tree[parts[-1]] = number


def _leaves(tree: Tree) -> list[int]:
    found: list[int] = []
    for below in tree.values():
        found += [below] if isinstance(below, int) else _leaves(below)
    return found
