"""From a parsed record to the fields of a COPY row, whatever the record looks like.

The careful way, column by column: missing and unknown fields, values of a wrong type. `fastrows`
does the same in a fraction of the time for a record of just the declared shape.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable
from datetime import UTC, datetime
from functools import cache
from math import isfinite
from typing import Any

import orjson

from marketing_ops.sources.base import Column, Stream

NULL = "\\N"
"""COPY's mark of NULL. Compared by identity: a text that reads the same is escaped."""

Fields = list[str]

Odd = tuple[str, str]
"""A field that is not as it was declared, and how: `new`, `retyped` or `vanished`."""

_MISSING = object()
_NUMBER = re.compile(r"[+-]?(\d{1,400}(\.\d{0,400})?|\.\d{1,400})([eE][+-]?\d{1,2})?", re.ASCII)
_INTEGER = re.compile(r"[+-]?\d{1,18}", re.ASCII)
_JSON_NUL = re.compile(r"(?<!\\)((?:\\\\)*)\\u0000")
_ESCAPES = str.maketrans(
    {"\\": "\\\\", "\t": "\\t", "\n": "\\n", "\r": "\\r", "\b": "\\b", "\f": "\\f", "\v": "\\v"}
)


class MisfitError(ValueError):
    """A value that does not fit its column's type."""


def escape(fields: tuple[str, ...] | Fields) -> Fields:
    """The fields with COPY's own characters escaped; NUL, which Postgres has not, replaced."""
    together = "".join(fields)
    nulls = [text for text in fields if text is NULL]
    if together.isprintable() and together.count("\\") == len(nulls):
        return list(fields)  # as nearly always: a page is marked for the sake of one record
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


def fields_of(stream: Stream, record: dict[str, Any], odd: Counter[Odd] | None = None) -> Fields:
    """The fields of a record column by column; the last one is `extra`.

    Args:
        odd: counts what is not as declared.
    """
    extra: dict[str, Any] = {}
    fields: Fields = []
    odd = Counter() if odd is None else odd
    for column in stream.columns:
        value = _value_at(record, column.path)
        if value is _MISSING or value is None:
            fields.append(NULL)
            if value is _MISSING:
                odd[column.name, "vanished"] += 1
            continue
        try:
            fields.append(_convert(column, value))
        except MisfitError:
            fields.append(NULL)
            extra[column.name] = value
            odd[column.name, "retyped"] += 1
    unknown = _unknown(record, _known_tree(stream))
    odd.update((name, "new") for name in unknown)
    extra.update(unknown)
    fields.append(_json(extra) if extra else NULL)
    return fields


def _value_at(record: Any, path: str) -> Any:
    value = record
    for part in path.split("."):
        if isinstance(value, dict):
            value = value.get(part, _MISSING)
        elif isinstance(value, list) and part.isdigit():
            value = value[int(part)] if int(part) < len(value) else _MISSING
        else:
            return None if value is None else _MISSING
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
    if value == "" and column.type not in ("text", "jsonb"):
        return NULL  # several vendors write an empty number, date or flag so
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
    if value is True or value == "true":
        return "t"
    if value is False or value == "false":
        return "f"
    raise MisfitError


def _timestamptz(column: Column, value: Any) -> str:
    if not isinstance(value, str) or len(value) < len("2026-01-31T00:00") or value[4] != "-":
        raise MisfitError
    if (instant := plain_instant(value)) is not None:
        return instant
    try:
        at = datetime.fromisoformat(value)
        at = at.astimezone(UTC) if at.tzinfo else at.replace(tzinfo=UTC)
    except (ValueError, OverflowError) as error:
        raise MisfitError from error
    return at.isoformat().replace("+00:00", "Z")


def plain_instant(text: str) -> str | None:
    """The text of an instant in UTC, to the second or the millisecond, as vendors write it most;
    None for any other form.
    """
    length, end = len(text), text[19:]
    if text[7:11:3] != "-T":  # a week's date has no second hyphen there
        return None
    if end == "+00:00":
        text = f"{text[:19]}Z"
    elif end != "Z" and not (length == 24 and end[0] == "." and end[4] == "Z"):
        return None
    try:
        datetime.fromisoformat(text)
    except ValueError:
        return None
    return text


def _jsonb(column: Column, value: Any) -> str:
    if column.items:
        if not isinstance(value, list):
            raise MisfitError
        value = [flat(column.items, item) for item in value]
    return _json(value)


def flat(items: tuple[Column, ...], record: Any) -> dict[str, Any]:
    """One object of a list with its declared fields only, ids without their prefix."""
    kept: dict[str, Any] = {}
    for item in items:
        value = _value_at(record, item.path)
        if value is _MISSING or value is None:
            kept[item.name] = None
        elif item.is_gid:
            kept[item.name] = str(value).rpartition("/")[2]
        else:
            kept[item.name] = value
    return kept


def _json(value: Any) -> str:
    """JSON for a jsonb column, which has no NUL either.

    Raises:
        UnicodeEncodeError: a text is not valid Unicode; the record is rejected.
    """
    try:
        text = orjson.dumps(value).decode()
    except TypeError as error:
        raise UnicodeEncodeError("utf-8", "", 0, 1, "a text is not valid UTF-8") from error
    return _JSON_NUL.sub("\\1\N{REPLACEMENT CHARACTER}", text) if "\\u0000" in text else text


_CONVERTERS: dict[str, Callable[[Column, Any], str]] = {
    "text": _text,
    "bigint": _bigint,
    "numeric": _numeric,
    "boolean": _boolean,
    "timestamptz": _timestamptz,
    "jsonb": _jsonb,
}
