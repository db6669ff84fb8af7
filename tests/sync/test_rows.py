"""From a record to COPY text: the fast way and the careful way are one."""

from __future__ import annotations

from copy import deepcopy
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from marketing_ops.sources.base import Column, Stream
from marketing_ops.sources.shopify.streams import STREAMS
from marketing_ops.sync.fastrows import generate
from marketing_ops.sync.rows import NULL, escape, fields_of, unescape
from marketing_ops.sync.shapes import shape_of
from tests.sync.fakeshop import checkout, customer, line, order, product

AT = datetime(2026, 3, 2, tzinfo=UTC)
BY_NAME = {member.name: member for stream in STREAMS for member in stream.family()}


def samples() -> dict[str, dict[str, Any]]:
    """A record of each stream as the engine hands it on."""
    an_order = order(1, AT, [])
    an_order.pop("lineItems")
    an_order.pop("refunds")
    a_checkout, a_product = checkout(1, AT), product(1, AT)
    a_checkout["lineItems"] = {"nodes": a_checkout["lineItems"]}
    a_product["variants"] = {"nodes": a_product["variants"]}
    return {
        "customers": customer(1, AT),
        "orders": an_order,
        "order_lines": {**line(1), "__parentId": "gid://shopify/Order/1"},
        "products": a_product,
        "checkouts": a_checkout,
    }


@pytest.mark.parametrize("name", samples())
def test_usual_record_takes_the_fast_way(name: str) -> None:
    """The declared shape is taken apart at once, into the text of the careful way."""
    stream, record = BY_NAME[name], samples()[name]
    fast = shape_of(stream).fast(record)
    assert fast is not None
    assert list(fast) == fields_of(stream, record)


VALUES: Any = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.floats(allow_nan=False, allow_infinity=False),
    st.text(max_size=8),
    st.sampled_from(["12.50", "-3", "1e3", "٣", "gid://shopify/X/", "2026-03-02T00:00:00Z", ""]),
    st.lists(st.integers(), max_size=2),
    st.dictionaries(st.text(max_size=3), st.integers(), max_size=2),
)


def _paths(record: Any, path: tuple[str, ...] = ()) -> list[tuple[str, ...]]:
    found = [path] if path else []
    if isinstance(record, dict):
        for key, value in record.items():
            found += _paths(value, (*path, key))
    return found


@given(st.data(), st.sampled_from(sorted(samples())), VALUES)
def test_fast_way_agrees_or_stands_back(data: Any, name: str, value: Any) -> None:
    """Whatever a vendor puts anywhere: the fast way gives the careful way's text, or nothing."""
    stream: Stream = BY_NAME[name]
    record = deepcopy(samples()[name])
    path = data.draw(st.sampled_from(_paths(record)))
    target = record
    for part in path[:-1]:
        target = target[part]
    target[path[-1]] = value
    try:
        careful = fields_of(stream, record)
    except UnicodeEncodeError:
        return
    fast = shape_of(stream).fast(record)
    assert fast is None or list(fast) == careful


@given(st.text())
def test_escaped_text_comes_back(text: str) -> None:
    """COPY's escapes are undone by what the small way uses; only NUL is replaced."""
    (escaped,) = escape([text])
    assert "\t" not in escaped
    assert "\n" not in escaped
    assert unescape(escaped) == text.replace("\0", "\ufffd")


def test_null_is_known_by_identity() -> None:
    """A text that reads like NULL is not NULL."""
    same = "".join(["\\", "N"])
    assert escape([NULL]) == ["\\N"]
    assert escape([same]) == ["\\\\N"]


WAYS = Stream(
    name="ways",
    columns=(
        Column("id", "text", "id"),
        Column("flag", "boolean", "flag"),
        Column("number", "bigint", "number"),
        Column("amount", "numeric", "amount"),
        Column("at", "timestamptz", "at"),
    ),
    cursor="at",
)


@pytest.mark.parametrize(
    ("values", "fields"),
    [
        (("true", "7", "1.50", "2026-01-02T03:04:05Z"), ["t", "7", "1.50", "2026-01-02T03:04:05Z"]),
        (
            (False, 7, None, "2026-01-02T03:04:05.123Z"),
            ["f", "7", NULL, "2026-01-02T03:04:05.123Z"],
        ),
        (("", "", "", ""), [NULL, NULL, NULL, NULL]),
        (("false", "0", "0", None), ["f", "0", "0", NULL]),
    ],
)
def test_vendors_write_one_value_in_many_ways(values: Any, fields: list[str]) -> None:
    """Flags and numbers as text, an empty text for nothing, milliseconds: both ways agree."""
    names = ("flag", "number", "amount", "at")
    record = {"id": "1", **dict(zip(names, values, strict=True))}
    expected = ["1", *fields, NULL]
    assert fields_of(WAYS, record) == expected
    assert list(generate(WAYS)(record) or ()) == expected
