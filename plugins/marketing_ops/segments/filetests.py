"""The `tests:` of segment files, run through the compiler that serves live memberships.

They run on any migrated warehouse, a live one too: people and events of the tests live in
temporary copies of the real tables (same columns, types and defaults) that end with the
transaction, so that nothing real is read, locked or written.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import date, timedelta
from typing import Any

from marketing_ops import sqlfile
from marketing_ops.segments import compiler
from marketing_ops.segments.definition import (
    ExampleContact,
    ExampleEvent,
    FileTest,
    Registry,
    load_all,
    resolve,
)
from marketing_ops.segments.predicates import plain_text
from marketing_ops.segments.tables import Tables
from marketing_ops.segments.values import start_of
from marketing_ops.settings import settings
from marketing_ops.warehouse import Warehouse

SHADOWS = Tables(core="pg_temp", engage="pg_temp")
_LONG_AGO = timedelta(days=3650)


@dataclass(frozen=True)
class FileTestResult:
    """One test of one file. `number` counts from 1; `found` is `in` or `out`."""

    segment: str
    number: int
    name: str
    expected: str
    found: str

    @property
    def is_ok(self) -> bool:
        """Whether it found what the file expects."""
        return self.expected == self.found

    def __str__(self) -> str:
        verdict = "ok" if self.is_ok else f"FAILED: expected {self.expected}, found {self.found}"
        return f"{self.segment} test {self.number} ({self.name}): {verdict}"


def run(warehouse: Warehouse, names: Sequence[str] | None = None) -> list[FileTestResult]:
    """Run the tests of the usable segment files; in the order of the files.

    Args:
        names: only these segments; None means all.
    """
    registry, _ = load_all()
    results = []
    with _shadow_tables(warehouse):
        for name in sorted(registry):
            if names is not None and name not in names:
                continue
            for number, test in enumerate(registry[name].tests, start=1):
                found = _run_one(warehouse, name, test, registry)
                title = test.name or f"as of {test.as_of}"
                results.append(FileTestResult(name, number, title, test.expect, found))
    return results


@contextmanager
def _shadow_tables(warehouse: Warehouse) -> Iterator[None]:
    with warehouse.transaction(force_rollback=True):
        sqlfile.execute(warehouse, "engage/segment_shadow_tables")
        yield


def _run_one(warehouse: Warehouse, name: str, test: FileTest, registry: Registry) -> str:
    at = start_of(test.as_of, settings().reporting_timezone)
    nested = test.contact.segments
    known = None if nested is None else dict.fromkeys(nested, True)
    tree = resolve(registry[name].where, registry, known, (name,))
    with warehouse.transaction(force_rollback=True):
        _put_contact(warehouse, test.contact, at)
        for number, event in enumerate(test.events, start=1):
            _put_event(warehouse, event, number)
        scope = "pg_temp.contacts"
        found = compiler.members_sql({name: tree}, scope=scope, tables=SHADOWS)
        rows = warehouse.execute(found.sql.encode(), {**found.params, "at": at}).fetchall()
    return "in" if rows else "out"


def _put_contact(warehouse: Warehouse, contact: ExampleContact, at: Any) -> None:
    created = contact.created_at
    row = contact.model_dump(exclude={"attributes", "consents", "segments", "created_at"})
    row["birth_date"] = contact.birth_date
    row["created_at"] = _instant(created) if created is not None else at - _LONG_AGO
    row["attributes"] = _document(contact.attributes)
    sqlfile.execute(warehouse, "engage/segment_shadow_contact", row)
    for consent in contact.consents:
        values = {**consent.model_dump(), "changed_at": at - _LONG_AGO}
        sqlfile.execute(warehouse, "engage/segment_shadow_consent", values)


def _put_event(warehouse: Warehouse, event: ExampleEvent, number: int) -> None:
    row = event.model_dump(exclude={"properties", "at"})
    row |= {"number": number, "at": _instant(event.at), "properties": _document(event.properties)}
    row["is_reporting"] = event.currency in (None, settings().reporting_currency)
    sqlfile.execute(warehouse, "engage/segment_shadow_event", row)
    if event.product_category is not None:
        sqlfile.execute(warehouse, "engage/segment_shadow_line", row)
    if event.campaign is not None:
        sqlfile.execute(warehouse, "engage/segment_shadow_campaign", row)


def _instant(value: Any) -> Any:
    return start_of(value, settings().reporting_timezone) if isinstance(value, date) else value


def _document(values: dict[str, Any]) -> str:
    return json.dumps(values, default=plain_text)
