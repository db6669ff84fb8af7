"""Shopify's own introspection, when the folder with the vendors' specs lies beside us."""

from __future__ import annotations

import gzip
import json
import os
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from graphql import GraphQLSchema, build_client_schema

VARIABLE = "MARKETING_OPS_SPECS"
FOLDER = (
    Path(os.environ.get(VARIABLE) or Path(__file__).resolve().parents[3] / "shared" / "specs")
    / "shopify"
)


def need_specs() -> None:
    """Skip, or in CI fail, when the specs are not there."""
    if FOLDER.is_dir():
        return
    reason = f"Shopify's introspection is not at {FOLDER}: set {VARIABLE} to the folder of specs"
    if os.environ.get("CI"):
        pytest.fail(reason)
    pytest.skip(reason)


@cache
def shopify_schema() -> GraphQLSchema:
    """The whole Admin schema 2026-10."""
    with gzip.open(FOLDER / "admin_2026-10.json.gz") as file:
        return build_client_schema(json.load(file)["data"], assume_valid=True)


def checked_queries() -> dict[str, str]:
    """The operations that were checked against 2026-10."""
    text = (FOLDER / "checked_queries_2026-10.json").read_text(encoding="utf-8")
    found: dict[str, Any] = json.loads(text)
    return dict(found["queries"])
