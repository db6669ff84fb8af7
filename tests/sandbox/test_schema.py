"""Our schema is a true part of Shopify's, and every query of the product is valid in both."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from pathlib import Path

import pytest
from graphql import (
    GraphQLEnumType,
    GraphQLInputObjectType,
    GraphQLInterfaceType,
    GraphQLObjectType,
    GraphQLUnionType,
    parse,
    validate,
)

from marketing_ops.sources.base import ReadRequest
from marketing_ops.sources.shopify import bulk, pages
from marketing_ops.sources.shopify.streams import STREAMS
from sandbox.shopify.documents import load_schema
from tests.sandbox import specs
from tests.sandbox.specs import checked_queries, need_specs, shopify_schema

SOURCE = Path(bulk.__file__).parent
OPERATION = re.compile(r"^\s*(query|mutation|subscription)?\s*[\w]*\s*(\([^)]*\))?\s*\{", re.DOTALL)


def product_queries() -> dict[str, str]:
    """Every operation the product sends to a shop, by where it comes from."""
    found = {
        f"{path.name}:{path.stem}": path.read_text() for path in sorted(SOURCE.rglob("*.graphql"))
    }
    for stream in STREAMS:
        found[f"page of {stream.name}"] = pages.page_query(stream)
        for connection in stream.api["connections"]:
            found[f"{stream.name}.{connection}"] = pages.nested_query(stream, connection)
        if stream.has_bulk:
            request = ReadRequest(since=None, until=datetime(2026, 11, 1, tzinfo=UTC))
            found[f"bulk of {stream.name}"] = bulk.bulk_query(stream, request)
    for path in sorted(SOURCE.glob("*.py")):
        module = __import__(f"marketing_ops.sources.shopify.{path.stem}", fromlist=["_"])
        for name, value in vars(module).items():
            if isinstance(value, str) and name.isupper() and OPERATION.match(value):
                found[f"{path.name}:{name}"] = value
    return found


def test_schema_is_a_part_of_shopifys() -> None:
    """Each of our types, fields, arguments and values exists in 2026-10 with the same type."""
    need_specs()
    theirs = shopify_schema().type_map
    problems = []
    for name, ours in load_schema().type_map.items():
        if name.startswith("__"):
            continue
        other = theirs.get(name)
        if other is None or type(other) is not type(ours):
            problems.append(f"{name}: not there, or another kind")
        elif isinstance(ours, GraphQLEnumType) and isinstance(other, GraphQLEnumType):
            problems += [f"{name}.{one}" for one in set(ours.values) - set(other.values)]
        elif isinstance(ours, GraphQLUnionType) and isinstance(other, GraphQLUnionType):
            problems += [
                f"{name}={one}"
                for one in {str(t) for t in ours.types} - {str(t) for t in other.types}
            ]
        elif isinstance(ours, GraphQLObjectType | GraphQLInterfaceType | GraphQLInputObjectType):
            assert isinstance(other, type(ours))
            problems += _differences(name, ours, other)
    assert problems == []


def _differences(name: str, ours: object, other: object) -> list[str]:
    problems = []
    for field_name, field in ours.fields.items():  # type: ignore[attr-defined]
        there = other.fields.get(field_name)  # type: ignore[attr-defined]
        if there is None or str(there.type) != str(field.type):
            problems.append(f"{name}.{field_name}: {field.type} against {there and there.type}")
            continue
        for argument, value in getattr(field, "args", {}).items():
            known = there.args.get(argument)
            if known is None or str(known.type) != str(value.type):
                problems.append(f"{name}.{field_name}({argument})")
    known = {one.name for one in getattr(other, "interfaces", ())}
    implemented = {one.name for one in getattr(ours, "interfaces", ())}
    return problems + [f"{name} implements {one}" for one in implemented - known]


def test_a_wrong_type_would_be_found() -> None:
    """The comparison above is not blind: a changed field is reported."""
    need_specs()
    ours = load_schema().type_map["Order"]
    theirs = shopify_schema().type_map["Customer"]
    assert any("lineItems" in one for one in _differences("Order", ours, theirs))


@pytest.mark.parametrize("name", sorted(product_queries()))
def test_product_queries_are_valid(name: str) -> None:
    """What the product sends is valid in the sandbox's schema and in Shopify's own."""
    node = parse(product_queries()[name])
    assert validate(load_schema(), node) == []
    need_specs()
    assert validate(shopify_schema(), node) == []


def test_product_queries_are_found() -> None:
    """The collection above sees the pages, the bulk queries and the constants of the client."""
    names = set(product_queries())
    assert {"page of orders", "bulk of orders", "orders.lineItems"} <= names
    assert any(name.startswith("bulk.py:") for name in names)


def test_checked_queries_are_valid() -> None:
    """The operations once checked against 2026-10 are valid in the sandbox's schema too."""
    need_specs()
    schema, theirs = load_schema(), shopify_schema()
    for name, text in checked_queries().items():
        node = parse(text)
        assert validate(schema, node) == [], name
        assert validate(theirs, node) == [], name


def test_missing_specs_are_told(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Without the folder the contract fails in CI; elsewhere it is skipped, saying why."""
    monkeypatch.setattr(specs, "FOLDER", tmp_path / "absent")
    monkeypatch.setenv("CI", "true")
    with pytest.raises(pytest.fail.Exception, match="MARKETING_OPS_SPECS"):
        need_specs()
    monkeypatch.delenv("CI")
    with pytest.raises(pytest.skip.Exception, match="MARKETING_OPS_SPECS"):
        need_specs()
