"""The shop as its API sees it: one SQLite connection for reads, one for writes, small caches."""

from __future__ import annotations

import json
import sqlite3
import threading
from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

from marketing_ops import clock
from sandbox import seed, store
from sandbox.faults import Faults
from sandbox.zones import LocalTime


@dataclass
class Settings:
    """What a test or the demo may turn."""

    token: str = "shpat_sandbox"  # noqa: S105 - the sandbox's own, known to everyone
    client_id: str = "sandbox-client"
    client_secret: str = "sandbox-secret"  # noqa: S105 - as above
    bucket: float = 2000.0
    restore_rate: float = 100.0
    bulk_delay_seconds: float = 0.0
    bulk_rows_between_children: int = 200
    bulk_large: int = 5_000
    """From this many nodes on a result is written by other processes."""


@dataclass
class Bulk:
    """One bulk operation and where its result lies."""

    key: int
    query: str
    created_at: int
    status: str = "CREATED"
    error_code: str | None = None
    objects: int = 0
    roots: int = 0
    completed_at: int | None = None
    path: Path | None = None
    partial: bool = False


class World:
    """One shop. Reading methods answer as of the instant they are given."""

    def __init__(self, path: Path, base_url: Callable[[], str], faults: Faults) -> None:
        self.path, self.base_url, self.faults = path, base_url, faults
        self.settings = Settings()
        self.reader = store.connect(path)
        self.writer = store.connect(path)
        self.write_lock = threading.RLock()
        facts = store.meta(self.reader)
        self.zone: str = facts["zone"]
        self.local = LocalTime(self.zone)
        self.currency: str = facts["shop"]["currency"]
        self.name: str = facts["shop"]["name"]
        self.period = facts["plan"]["period"]
        self.bulks: dict[int, Bulk] = {}
        self.on_bulk: Callable[[Bulk], None] = lambda bulk: None
        self._written_to: int = facts["written_to"]
        self._documents: dict[int, dict[str, Any]] = {}
        self._items: dict[int, dict[str, Any]] = {}
        self._deleted: dict[int, int] | None = None
        self._created: dict[int, int] = {}

    def now(self) -> int:
        """The product's clock in whole seconds; days not yet written are written first."""
        at = int(clock.now().timestamp())
        if self.local.day(at) + 1 > self._written_to:
            self.extend(at)
        return at

    def extend(self, at: int) -> None:
        """Write the days up to `at` and a little further."""
        with self.write_lock:
            seed.extend(self.writer, at)
            self._written_to = store.meta(self.writer)["written_to"]
            self._deleted = None

    def load_items(self) -> None:
        """Have every product's fields at hand, for a request that goes through all orders."""
        if len(self._items) < 1000:
            rows = self.reader.execute("select id, document from products")
            self._items = {key: json.loads(document) for key, document in rows}

    def another_reader(self) -> sqlite3.Connection:
        """A connection for another thread; the caller closes it."""
        return store.connect(self.path)

    def document(self, person: int) -> dict[str, Any]:
        """The fixed fields of somebody; shared, not to be changed."""
        found = self._documents.get(person)
        if found is None:
            found = self._load(self._documents, "people", person)
        return found

    def item(self, product: int) -> dict[str, Any]:
        """The fixed fields of a product; shared, not to be changed."""
        found = self._items.get(product)
        if found is None:
            found = self._load(self._items, "products", product)
        return found

    def _load(self, cache: dict[int, dict[str, Any]], table: str, key: int) -> dict[str, Any]:
        row = self.reader.execute(
            f"select document from {table} where id = ?",  # noqa: S608 - two tables of ours
            (key,),
        ).fetchone()
        cache[key] = json.loads(row[0]) if row else {"title": "", "sku": None, "tags": []}
        return cache[key]

    def is_deleted(self, product: int, at: int) -> bool:
        """Whether a product was gone at an instant."""
        if self._deleted is None:
            rows = self.reader.execute("select subject, at from deletions")
            self._deleted = dict(rows.fetchall())
        return self._deleted.get(product, store.FOREVER) <= at

    def forget(self) -> None:
        """Drop what is cached, after a change by a test or a mutation."""
        self._deleted = None
        self._documents.clear()
        self._items.clear()

    def created_at(self, customer: int) -> int:
        """When a customer's account was made."""
        found = self._created.get(customer)
        if found is None:
            statement = "select min(at) from customer_versions where id = ?"
            found = self.reader.execute(statement, (customer,)).fetchone()[0]
            if found is None:
                return 0
            self._created[customer] = found
        return found


@dataclass
class Run:
    """One request: when it is, what it asked with (graphql-core's coerced variables)."""

    world: World
    now: int
    variables: Any = None
    link: sqlite3.Connection | None = None
    arguments: dict[int, dict[str, Any]] = field(default_factory=dict)
    texts: dict[int, dict[Any, str]] = field(default_factory=lambda: defaultdict(dict))
    pages: list[Any] = field(default_factory=list)
    search: list[dict[str, Any]] = field(default_factory=list)

    def rows(self, statement: str, parameters: Any = ()) -> list[tuple[Any, ...]]:
        """The rows of a statement, read on this request's own connection."""
        return (self.link or self.world.reader).execute(statement, parameters).fetchall()


def seconds(value: datetime) -> int:
    """Whole seconds since 1970 of an aware instant."""
    return int(value.timestamp())
