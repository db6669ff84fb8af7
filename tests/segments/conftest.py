"""A small world for segments: people, events and consents, learnt batch by batch."""

from __future__ import annotations

import json
import uuid
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from pydantic import TypeAdapter

from marketing_ops import paths, warehouse
from marketing_ops.segments import compiler
from marketing_ops.segments.definition import SegmentFile
from marketing_ops.segments.grammar import Rule
from marketing_ops.warehouse import Warehouse

NOW = datetime(2026, 3, 2, 12, tzinfo=UTC)
RULE: TypeAdapter[Any] = TypeAdapter(Rule)


def days(number: float) -> timedelta:
    return timedelta(days=number)


LONG_AGO = NOW - days(400)


class World:
    """Writes facts as unify does: versioned by batch, the current state beside the history."""

    def __init__(self, db: Warehouse) -> None:
        self.db = db
        self.batch_number = 0
        self.made: set[tuple[int, int]] = set()

    @contextmanager
    def batch(self, *, is_baseline: bool = False, closed_at: datetime = NOW) -> Iterator[int]:
        with self.db.transaction():
            self.batch_number = warehouse.open_batch(self.db, "unify", is_baseline=is_baseline)
            self.db.execute(
                "update mkt_ops.batches set closed_at = %s where batch = %s",
                (closed_at, self.batch_number),
            )
            yield self.batch_number

    def contact(self, number: int, *, since: datetime = LONG_AGO, **columns: Any) -> None:
        """A new contact, or a new version of a known one, valid from `since`."""
        attributes = json.dumps(columns.pop("attributes", {}))
        values = {"email": f"p{number}@example.com", **columns}
        names = [*values, "attributes", "batch"]
        given = [*values.values(), attributes, self.batch_number]
        marks = ", ".join(["%s"] * len(names))
        sets = ", ".join(f"{name} = excluded.{name}" for name in names)
        self.db.execute(
            f"insert into mkt_core.contacts (contact_id, created_at, {', '.join(names)})"
            f" values (%s, %s, {marks}) on conflict (contact_id) do update set {sets}",
            [number, since, *given],
        )
        historic = {k: v for k, v in columns.items() if k != "email"}
        names = ["lifecycle", *[n for n in historic if n != "lifecycle"], "attributes", "batch"]
        lifecycle = historic.pop("lifecycle", "lead")
        given = [lifecycle, *historic.values(), attributes, self.batch_number]
        marks = ", ".join(["%s"] * len(names))
        self.db.execute(
            f"insert into mkt_core.contact_history (contact_id, valid_from, row_hash, is_assumed,"
            f" {', '.join(names)}) values (%s, %s, %s, not exists (select 1 from"
            f" mkt_core.contact_history where contact_id = %s), {marks})",
            [number, since, f"h{self.batch_number}", number, *given],
        )

    def event(
        self,
        number: int,
        event_type: str,
        at: datetime,
        name: str | None = None,
        *,
        properties: Mapping[str, Any] | None = None,
        **columns: Any,
    ) -> uuid.UUID:
        """One event of a contact; the same `name` again is a correction of it."""
        month = (at.year, at.month)
        if month not in self.made:
            warehouse.ensure_partitions(self.db, "mkt_core.events", at.date(), at.date())
            self.made.add(month)
        key = uuid.uuid5(uuid.NAMESPACE_OID, name or f"{number}{event_type}{at}{columns}")
        self.db.execute(
            "delete from mkt_core.events where event_id = %s and occurred_at <> %s", (key, at)
        )
        if "amount" in columns:
            columns.setdefault("reporting_amount", columns["amount"])
        values = {**columns, "properties": json.dumps(properties or {}), "batch": self.batch_number}
        marks = ", ".join(["%s"] * len(values))
        sets = ", ".join(f"{column} = excluded.{column}" for column in values)
        self.db.execute(
            f"insert into mkt_core.events (event_id, occurred_at, profile_id, contact_id,"
            f" event_type, source, {', '.join(values)})"
            f" values (%s, %s, %s, %s, %s, 'test', {marks})"
            f" on conflict (event_id, occurred_at) do update set {sets},"
            " contact_id = excluded.contact_id",
            [key, at, number, number, event_type, *values.values()],
        )
        return key

    def delete_event(self, key: uuid.UUID) -> None:
        self.db.execute("delete from mkt_core.events where event_id = %s", (key,))

    def consent(
        self, number: int, status: str, at: datetime, *, source: str = "test", **key: str
    ) -> None:
        """A change of consent; `consent_now` follows, where refusal wins a tie."""
        wanted = {"brand": "journey", "channel": "email", "topic": "marketing", **key}
        self.db.execute(
            "insert into mkt_core.consents (profile_id, contact_id, brand, channel, topic, status,"
            " changed_at, source, batch) values (%s, %s, %s, %s, %s, %s, %s, %s, %s)",
            [number, number, *wanted.values(), status, at, source, self.batch_number],
        )
        self.db.execute(
            "insert into mkt_core.consent_now select distinct on (contact_id, brand, channel,"
            " topic) contact_id, brand, channel, topic, status, changed_at from mkt_core.consents"
            " where contact_id = %s and brand = %s and channel = %s and topic = %s"
            " order by contact_id, brand, channel, topic, changed_at desc,"
            " array_position(array['denied', 'pending', 'granted'], status)"
            " on conflict (contact_id, brand, channel, topic) do update set"
            " status = excluded.status, changed_at = excluded.changed_at",
            [number, *wanted.values()],
        )

    def product_order(self, number: int, at: datetime, order_id: int, category: str) -> None:
        """An order with one line of a product of the category."""
        product = self.db.execute(
            "insert into mkt_core.products (system, account, external_id, category, batch)"
            " values ('t', 't', %s, %s, %s) returning product_id",
            (str(order_id), category, self.batch_number),
        ).fetchone()
        assert product is not None
        self.db.execute(
            "insert into mkt_core.orders (order_id, system, account, brand, external_id,"
            " contact_id, placed_at, currency, gross_amount, current_amount, batch)"
            " overriding system value"
            " values (%s, 't', 't', 'journey', %s, %s, %s, 'USD', 1, 1, %s)",
            (order_id, str(order_id), number, at, self.batch_number),
        )
        self.db.execute(
            "insert into mkt_core.order_lines (account, external_id, order_id, product_id,"
            " quantity, amount, batch) values ('t', %s, %s, %s, 1, 1, %s)",
            (str(order_id), order_id, product[0], self.batch_number),
        )
        self.event(number, "order_placed", at, order_id=order_id, amount=1)

    def members(
        self,
        rule: Any,
        at: datetime = NOW,
        *,
        mode: compiler.Mode = "live",
        registry: Mapping[str, SegmentFile] | None = None,
        **instants: Any,
    ) -> list[int]:
        """The contacts for whom a rule (as its YAML reads) holds, in order."""
        sql, params = compiler.rule_sql(
            RULE.validate_python(rule), registry=registry or {}, mode=mode
        )
        rows = self.db.execute(sql.encode(), {**params, "at": at, **instants})
        return sorted(row[0] for row in rows)

    def lived(self, segment: str) -> list[int]:
        """The live members of a segment."""
        rows = self.db.execute(
            "select contact_id from mkt_engage.segment_memberships"
            " where segment = %s and left_at is null order by 1",
            (segment,),
        )
        return [row[0] for row in rows]

    def stays(self, segment: str) -> list[tuple[int, datetime, datetime | None, bool]]:
        """Every stay in a segment as (contact, entered, left, is_baseline)."""
        rows = self.db.execute(
            "select contact_id, entered_at, left_at, is_baseline"
            " from mkt_engage.segment_memberships where segment = %s"
            " order by entered_at, contact_id",
            (segment,),
        )
        return [tuple(row) for row in rows]


@pytest.fixture
def world(db: Warehouse) -> World:
    """An empty warehouse to put people into."""
    return World(db)


class Files:
    """A folder of segment files of the test's own."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def write(self, name: str, where: str, more: str = "") -> Path:
        """`where` is the indented YAML of the rule."""
        path = self.folder / f"{name}.yaml"
        text = f"segment: {name}\ndescription: test\nowner: crm@example.com\nwhere:\n"
        lines = "\n".join(f"  {line}" for line in where.strip("\n").splitlines())
        path.write_text(f"{text}{lines}\n{more}", encoding="utf-8")
        return path

    def remove(self, name: str) -> None:
        (self.folder / f"{name}.yaml").unlink()


@pytest.fixture
def files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Files:
    """An include folder with the real settings and SQL, and no segments yet."""
    real = paths.include_root()
    folder = tmp_path / "include"
    (folder / "segments").mkdir(parents=True)
    (folder / "sql").symlink_to(real / "sql")
    (folder / "settings.yaml").symlink_to(real / "settings.yaml")
    monkeypatch.setenv(paths.INCLUDE_VARIABLE, str(folder))
    return Files(folder / "segments")


__all__ = ["NOW", "RULE", "Files", "World", "date", "days"]
