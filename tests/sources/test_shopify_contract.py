"""Every query we send is valid for Shopify's own schema, and for the sandbox's."""

from __future__ import annotations

import gzip
import json
import os
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from graphql import GraphQLSchema, build_client_schema, parse, validate

from marketing_ops.sources.base import ReadRequest
from marketing_ops.sources.shopify import bulk, pages
from marketing_ops.sources.shopify.client import API_VERSION
from marketing_ops.sources.shopify.streams import STREAMS

AT = datetime(2026, 3, 2, 12, 0, 0, 500_000, tzinfo=UTC)
SHARED_VARIABLE = "MARKETING_OPS_SHARED"


def _specs() -> Path:
    named = os.environ.get(SHARED_VARIABLE)
    root = Path(named) if named else Path(__file__).resolve().parents[3] / "shared"
    return root / "specs" / "shopify" / f"admin_{API_VERSION}.json.gz"


def queries() -> dict[str, str]:
    """Every text we send, by name."""
    found = {"bulk_run": bulk._RUN, "bulk_poll": bulk._POLL}
    for stream in STREAMS:
        found[f"{stream.name}_page"] = pages.page_query(stream)
        for connection in stream.api["connections"]:
            found[f"{stream.name}_{connection}"] = pages.nested_query(stream, connection)
        if stream.has_bulk:
            for is_full in (True, False):
                request = ReadRequest(AT, AT, is_bulk=True, is_full=is_full)
                found[f"{stream.name}_bulk_{is_full}"] = bulk.bulk_query(stream, request)
    return found


@pytest.fixture(scope="module")
def schema() -> GraphQLSchema:
    """Shopify's introspection of the version we use."""
    path = _specs()
    assert path.exists(), f"the contract needs {path}: lay shared/ beside the checkout"
    introspection: Any = json.loads(gzip.decompress(path.read_bytes()))["data"]
    return build_client_schema(introspection, assume_valid=True)


def test_queries_are_valid_for_shopify(schema: GraphQLSchema) -> None:
    """No unknown field, no wrong argument; deprecated fields would show up as warnings only."""
    for name, text in queries().items():
        assert validate(schema, parse(text)) == [], name


def test_queries_use_nothing_deprecated(schema: GraphQLSchema) -> None:
    """What Shopify has announced to remove is not asked for."""
    from graphql.validation import NoDeprecatedCustomRule

    for name, text in queries().items():
        assert validate(schema, parse(text), [NoDeprecatedCustomRule]) == [], name


def test_queries_are_valid_for_the_sandbox() -> None:
    """The sandbox serves all of them."""
    from sandbox.shopify.documents import load_schema

    known = load_schema()
    for name, text in queries().items():
        assert validate(known, parse(text)) == [], name


def test_search_quotes_timestamps_and_rounds_outwards() -> None:
    """Unquoted timestamps lose their time; a fraction of a second loses no record."""
    (orders,) = [stream for stream in STREAMS if stream.name == "orders"]
    text = pages.search(orders, AT, AT)
    assert text == "updated_at:>='2026-03-02T12:00:00Z' updated_at:<'2026-03-02T12:00:01Z'"
