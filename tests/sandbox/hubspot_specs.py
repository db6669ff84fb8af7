"""HubSpot's own OpenAPI documents, when the folder with the vendors' specs lies beside us."""

from __future__ import annotations

import json
import os
import re
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator

VARIABLE = "MARKETING_OPS_SPECS"
FOLDER = (
    Path(os.environ.get(VARIABLE) or Path(__file__).resolve().parents[3] / "shared" / "specs")
    / "hubspot"
)
_REFERENCES = "#/components/schemas/"


def need_specs() -> None:
    """Skip, or in CI fail, when the specs are not there."""
    if FOLDER.is_dir():
        return
    reason = f"HubSpot's specs are not at {FOLDER}: set {VARIABLE} to the folder of specs"
    if os.environ.get("CI"):
        pytest.fail(reason)
    pytest.skip(reason)


def check(method: str, path: str, status: int, body: Any) -> str:
    """Hold an answer against its schema; returns the path as the spec writes it.

    HubSpot writes null for a property without a value, which its spec does not tell: such
    properties are left out before.
    """
    for pattern, written, document, operation in _operations():
        if operation[0] != method.lower() or not pattern.fullmatch(path):
            continue
        responses = operation[1]["responses"]
        # 201 and 207 are answered where the documents know 200 alone.
        known = responses.get(str(status)) or responses.get("200")
        if status >= 400:
            known = responses["default"]
        content = known.get("content")
        if content:
            schema = next(iter(content.values()))["schema"]
            _validator(document, json.dumps(schema)).validate(_without_nulls(body))
        return written
    raise AssertionError(f"no spec knows {method} {path}")


@cache
def _operations() -> list[tuple[re.Pattern[str], str, str, tuple[str, dict[str, Any]]]]:
    """Every operation of the documents, those with more fixed words first."""
    found = []
    for file in sorted(FOLDER.glob("*.json")):
        for path, operations in _document(file.name)["paths"].items():
            pattern = re.compile(re.sub(r"\{[^}]+\}", "[^/]+", path))
            for method, operation in operations.items():
                if method != "parameters":
                    found.append((pattern, path, file.name, (method, operation)))
    return sorted(found, key=lambda one: one[1].count("{"))


@cache
def _document(name: str) -> dict[str, Any]:
    return dict(json.loads((FOLDER / name).read_text(encoding="utf-8")))


@cache
def _validator(document: str, schema: str) -> Draft202012Validator:
    whole = {**json.loads(schema), "components": _document(document)["components"]}
    return Draft202012Validator(whole)


def _without_nulls(value: Any) -> Any:
    if isinstance(value, list):
        return [_without_nulls(one) for one in value]
    if not isinstance(value, dict):
        return value
    kept = {name: _without_nulls(one) for name, one in value.items()}
    if isinstance(kept.get("properties"), dict):
        kept["properties"] = {k: v for k, v in kept["properties"].items() if v is not None}
    return kept
