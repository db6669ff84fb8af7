"""What the identity tests share: a shop that writes raw rows as the sync would, and a ledger."""

from __future__ import annotations

import itertools
import json
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from psycopg import sql
from psycopg.types.json import Jsonb

from marketing_ops.identity.report import UnifyReport
from marketing_ops.identity.runner import unify
from marketing_ops.paths import include_root
from marketing_ops.warehouse import Warehouse, ensure_partitions

ACCOUNT = "shop_journey"
START = datetime(2026, 3, 1, 12, tzinfo=UTC)
STREAMS = ("customers", "orders", "order_lines", "refunds", "products", "checkouts")


def hours(number: float) -> datetime:
    """The instant `number` hours after the story's start."""
    return START + timedelta(hours=number)


class Shop:
    """Writes raw rows; `sync` closes the open run of each stream, so that unify may take them."""

    def __init__(self, db: Warehouse, account: str = ACCOUNT) -> None:
        self.db = db
        self.account = account
        self._runs: dict[str, int] = {}

    def customer(self, number: int, **fields: Any) -> None:
        """One customer, with a verified address unless `email` says otherwise."""
        row = {
            "first_name": f"First{number}",
            "last_name": f"Last{number}",
            "email": f"c{number}@example.com",
            "email_marketing_state": "SUBSCRIBED",
            "email_consent_updated_at": hours(0),
            "created_at": hours(0),
            "updated_at": hours(0),
            "tags": [],
        }
        self._put("customers", number, row | fields)

    def order(self, number: int, customer: int | None = None, **fields: Any) -> None:
        """One paid order of 100 USD, placed `number` hours after the start."""
        at = hours(number % 1000)
        row = {
            "name": f"#{number}",
            "customer_id": None if customer is None else str(customer),
            "created_at": at,
            "updated_at": at,
            "processed_at": at,
            "cancelled_at": None,
            "is_test": False,
            "currency": "USD",
            "financial_status": "PAID",
            "discount_codes": [],
            "total_amount": 100,
            "current_total_amount": 100,
            "refunded_amount": 0,
            "discount_amount": 0,
        }
        self._put("orders", number, row | fields)

    def line(self, number: int, order: int, product: int = 1, **fields: Any) -> None:
        """One line of an order."""
        row = {
            "order_id": str(order),
            "product_id": str(product),
            "title": f"Product {product}",
            "quantity": 1,
            "amount": 10,
            "discount_amount": 0,
        }
        self._put("order_lines", number, row | fields)

    def refund(self, number: int, order: int, **fields: Any) -> None:
        """One refund of 5 USD."""
        row = {"order_id": str(order), "created_at": hours(number % 1000), "amount": 5}
        self._put("refunds", number, row | fields)

    def product(self, number: int, **fields: Any) -> None:
        """One product."""
        row = {"title": f"Product {number}", "category": "shoes", "updated_at": hours(0)}
        self._put("products", number, row | fields)

    def cart(self, number: int, customer: int | None = None, **fields: Any) -> None:
        """One open cart of 50 USD, touched `number` hours after the start."""
        at = hours(number % 1000)
        row = {
            "customer_id": None if customer is None else str(customer),
            "created_at": at,
            "updated_at": at,
            "completed_at": None,
            "amount": 50,
            "currency": "USD",
            "lines": [{"sku": "a"}],
            "url": "https://shop.example.com/cart",
        }
        self._put("checkouts", number, row | fields)

    def remove(self, stream: str, number: int) -> None:
        """Delete a raw row outright, as replacing a parent's children does."""
        table = sql.Identifier("mkt_raw", f"shopify__{stream}")
        query = sql.SQL("delete from {} where account = %s and id = %s").format(table)
        self.db.execute(query, (self.account, str(number)))

    def sync(self, *, is_baseline: bool = False, status: str = "success") -> None:
        """Finish the open runs."""
        for run in self._runs.values():
            self.db.execute(
                "update mkt_ops.sync_runs set status = %s, is_baseline = %s, kind = %s,"
                " inserted = 1, fetched = 1 where sync_run_id = %s",
                (status, is_baseline, "initial" if is_baseline else "incremental", run),
            )
        self._runs.clear()

    def unify(self, *, is_baseline: bool = False) -> UnifyReport:
        """Finish the open runs and take them over."""
        self.sync(is_baseline=is_baseline)
        return unify(self.db, report=lambda line: None)

    def _run(self, stream: str) -> int:
        if stream not in self._runs:
            row = self.db.execute(
                "insert into mkt_ops.sync_runs"
                " (account, system, stream, kind, is_baseline, status, started_at)"
                " values (%s, 'shopify', %s, 'incremental', false, 'running', %s)"
                " returning sync_run_id",
                (self.account, stream, START),
            ).fetchone()
            assert row is not None
            self._runs[stream] = int(row[0])
        return self._runs[stream]

    def _put(self, stream: str, number: int, fields: Mapping[str, Any]) -> None:
        row = {
            "account": self.account,
            "id": str(number),
            "row_hash": b"",
            "source_updated_at": fields.get("updated_at"),
            "loaded_at": START,
            "sync_run_id": self._run(stream),
            "is_deleted": False,
        } | {
            key: Jsonb(value) if isinstance(value, list | dict) else value
            for key, value in fields.items()
        }
        names = sql.SQL(", ").join(map(sql.Identifier, row))
        query = sql.SQL(
            "insert into {} ({}) values ({}) on conflict (account, id) do update set {}"
        ).format(
            sql.Identifier("mkt_raw", f"shopify__{stream}"),
            names,
            sql.SQL(", ").join(sql.Placeholder() * len(row)),
            sql.SQL(", ").join(
                sql.SQL("{} = excluded.{}").format(sql.Identifier(name), sql.Identifier(name))
                for name in row
            ),
        )
        self.db.execute(query, list(row.values()))


class Ledger:
    """Enrolments and sends as the campaign engine and delivery leave them."""

    def __init__(self, db: Warehouse) -> None:
        self.db = db
        self._numbers = itertools.count(1)
        ensure_partitions(db, "mkt_engage.sends", START.date(), START.date())

    def enrol(self, contact: int, profile: int | None = None, **fields: Any) -> int:
        """One active enrolment; returns its id."""
        row = {
            "campaign_id": 1,
            "version": 1,
            "contact_id": contact,
            "profile_id": profile or contact,
            "shard": contact % 64,
            "entry_ref": "birthday:2026",
            "entered_at": START,
            "entered_on": START.date(),
            "step_id": 1,
            "status": "active",
            "due_at": hours(24),
            "updated_at": START,
        } | fields
        return self._insert("enrolments", row, "enrolment_id")

    def send(self, enrolment: int, contact: int, **fields: Any) -> int:
        """One accepted send of an enrolment; returns its id."""
        number = next(self._numbers)
        row = {
            "send_id": 202603 * 10**12 + number,
            "entered_on": START.date(),
            "enrolment_id": enrolment,
            "step_id": number,
            "visit": 1,
            "campaign_id": 1,
            "version": 1,
            "contact_id": contact,
            "shard": contact % 64,
            "brand": "journey",
            "channel": "email",
            "via": "smtp_journey",
            "status": "accepted",
            "due_at": hours(1),
            "claimed_at": hours(1),
            "in_flight_at": hours(1),
            "outcome_at": hours(1),
            "tick_id": 1,
        } | fields
        return self._insert("sends", row, "send_id")

    def act(
        self, topic: str, send: int, *, at: datetime, number: int = 1, agent: str = "Thunderbird"
    ) -> None:
        """One action as the receiver stores it."""
        self.post(
            topic,
            f"{topic}:{send}:{number}",
            {"send_id": send, "at": at.isoformat(), "url": None, "user_agent": agent},
        )

    def post(self, topic: str, delivery_id: str, body: Any) -> None:
        """One inbox row with any body."""
        raw = body if isinstance(body, bytes) else None
        if raw is None:
            raw = json.dumps(body).encode()
        self.db.execute(
            "insert into mkt_ops.webhook_inbox"
            " (source, account, topic, delivery_id, received_at, body)"
            " values ('receiver', 'journey', %s, %s, %s, %s)",
            (topic, delivery_id, hours(2), raw),
        )

    def _insert(self, table: str, row: Mapping[str, Any], key: str) -> int:
        query = sql.SQL("insert into {} ({}) values ({}) returning {}").format(
            sql.Identifier("mkt_engage", table),
            sql.SQL(", ").join(map(sql.Identifier, row)),
            sql.SQL(", ").join(sql.Placeholder() * len(row)),
            sql.Identifier(key),
        )
        found = self.db.execute(query, list(row.values())).fetchone()
        assert found is not None
        return int(found[0])


def rows(db: Warehouse, query: str, *params: Any) -> list[tuple[Any, ...]]:
    """All rows of a query."""
    return db.execute(query.encode(), params or None).fetchall()


def contact_of(db: Warehouse, external_id: object) -> int:
    """The contact an identity belongs to now."""
    found = rows(
        db,
        "select contact_id from mkt_core.contact_identities where external_id = %s",
        str(external_id),
    )
    return int(found[0][0])


def same_person(db: Warehouse, *external_ids: object) -> bool:
    """Whether these identities are one contact, and that contact has a row."""
    found = {contact_of(db, external_id) for external_id in external_ids}
    known = rows(
        db, "select contact_id from mkt_core.contacts where contact_id = any(%s)", list(found)
    )
    return len(found) == 1 and len(known) == 1


VOLATILE = {
    "mkt_core.contacts": "contact_id, email, phone, first_name, last_name, country, region, city,"
    " postal_code, language, time_zone, birth_date, lifecycle, created_at, attributes, is_deleted",
    "mkt_core.contact_identities": "profile_id, system, account, external_id, contact_id, email,"
    " phone, first_seen_at, is_deleted",
    "mkt_core.contact_merges": "from_contact_id, into_contact_id, matched_on, undone_batch",
    "mkt_core.contact_history": "contact_id, valid_from, row_hash, is_assumed",
    "mkt_core.consents": "profile_id, contact_id, brand, channel, status, changed_at, source",
    "mkt_core.consent_now": "contact_id, brand, channel, topic, status, changed_at",
    "mkt_core.products": "external_id, title, category, is_deleted",
    "mkt_core.orders": "order_id, external_id, profile_id, contact_id, placed_at, gross_amount,"
    " current_amount, is_test, is_deleted, batch",
    "mkt_core.order_lines": "external_id, order_id, product_id, amount, batch",
    "mkt_core.refunds": "external_id, order_id, amount, batch",
    "mkt_core.carts": "external_id, contact_id, updated_at, completed_at, amount, batch",
    "mkt_core.companies": "account, external_id, name, owner_id, is_deleted, batch",
    "mkt_core.owners": "account, external_id, email, is_active, batch",
    "mkt_core.pipeline_stages": "account, external_id, name, is_won, is_closed, batch",
    "mkt_core.deals": "deal_id, external_id, profile_id, contact_id, stage_id, status, amount,"
    " decided_at, is_deleted, batch",
    "mkt_core.deal_stage_events": "external_id, deal_id, contact_id, stage_id, from_stage_id,"
    " entered_at, batch",
    "mkt_core.lists": "account, external_id, name, size, batch",
    "mkt_core.list_members": "external_id, list_id, contact_id, added_at, left_at, is_deleted,"
    " batch",
    "mkt_core.events": "event_id, occurred_at, profile_id, contact_id, event_type, key, amount,"
    " reporting_amount, batch, is_machine, properties",
    "mkt_ops.batches": "batch, is_baseline",
    "mkt_ops.dirty_days": "kpi_group, date",
}


def snapshot(db: Warehouse) -> dict[str, list[tuple[Any, ...]]]:
    """Everything unify writes, in a comparable order."""
    return {
        table: sorted(rows(db, f"select {columns} from {table}"), key=repr)
        for table, columns in VOLATILE.items()
    }


_PERSON = (
    "with people as (select contact_id, min(concat_ws('/', system, account, external_id)) as person"
    " from mkt_core.contact_identities group by contact_id), profiles as (select profile_id,"
    " concat_ws('/', system, account, external_id) as profile from mkt_core.contact_identities) "
)
_NATURAL = {
    "contacts": "select person, email, phone, first_name, last_name, country, region, city,"
    " time_zone, birth_date, lifecycle, created_at, attributes, is_deleted"
    " from mkt_core.contacts left join people using (contact_id)",
    "identities": "select system, account, external_id, person, email, phone, first_seen_at,"
    " is_deleted, has_record from mkt_core.contact_identities left join people using (contact_id)",
    "orders": "select account, external_id, person, profile, placed_at, gross_amount,"
    " current_amount, cancelled_at, is_test, is_deleted from mkt_core.orders"
    " left join people using (contact_id) left join profiles using (profile_id)",
    "order_lines": "select l.external_id, o.external_id, p.external_id, l.amount, l.quantity"
    " from mkt_core.order_lines l join mkt_core.orders o using (order_id)"
    " left join mkt_core.products p using (product_id)",
    "refunds": "select r.external_id, o.external_id, r.amount from mkt_core.refunds r"
    " join mkt_core.orders o using (order_id)",
    "products": "select external_id, title, category, is_deleted from mkt_core.products",
    "carts": "select external_id, person, updated_at, completed_at, amount from mkt_core.carts"
    " left join people using (contact_id)",
    "deals": "select account, external_id, person, profile, stage_id, status, amount, decided_at,"
    " is_deleted from mkt_core.deals left join people using (contact_id)"
    " left join profiles using (profile_id)",
    "deal_stages": "select external_id, person, stage_id, from_stage_id, entered_at"
    " from mkt_core.deal_stage_events left join people using (contact_id)",
    "list_members": "select external_id, person, list_id, is_deleted"
    " from mkt_core.list_members left join people using (contact_id)",
    "events": "select event_id, occurred_at, event_type, key, amount, currency, reporting_amount,"
    " person, profile, source, is_machine, properties, o.external_id from mkt_core.events e"
    " left join people using (contact_id) left join profiles using (profile_id)"
    " left join (select order_id, external_id from mkt_core.orders) o using (order_id)",
    "consents": "select profile, person, brand, channel, status, changed_at, source"
    " from mkt_core.consents left join people using (contact_id)"
    " left join profiles using (profile_id)",
    "consent_now": "select person, brand, channel, topic, status, changed_at"
    " from mkt_core.consent_now left join people using (contact_id)",
    "merges": "select profile from mkt_core.contact_identities join profiles using (profile_id)"
    " where profile_id <> contact_id and not exists (select from mkt_core.contact_merges"
    " where from_contact_id = profile_id and undone_batch is null)",
    "waiting": "select entity, account, parent_id, external_id from mkt_core.waiting_facts",
}


def natural(db: Warehouse) -> dict[str, list[tuple[Any, ...]]]:
    """What unify knows, without our own numbers and batches: equal for equal histories.

    `merges` lists the joined identities that have no open merge: always none.
    """
    return {name: sorted(rows(db, _PERSON + query), key=repr) for name, query in _NATURAL.items()}


def forget(db: Warehouse) -> None:
    """Empty the warehouse, by `delete`: for a few rows ten times faster than `truncate`."""
    tables = rows(
        db,
        "select format('%I.%I', schemaname, tablename) from pg_tables"
        " where schemaname in ('mkt_raw', 'mkt_core', 'mkt_engage')"
        " and tablename not in ('time_zones', 'region_time_zones', 'shard_marks')"
        " and tablename !~ '_[0-9]{6}$' order by tablename = 'event_versions', tablename",
    )
    names = [row[0] for row in tables]
    names += ["mkt_ops.batches", "mkt_ops.sync_runs", "mkt_ops.webhook_inbox", "mkt_ops.dirty_days"]
    db.execute("; ".join(f"delete from {name}" for name in names).encode())


ENTITIES = (
    "contacts",
    "merges",
    "consents",
    "companies",
    "owners",
    "stages",
    "deals",
    "deal_stages",
    "lists",
    "list_members",
    "email_events",
)


class Vendor:
    """A vendor system whose staging views show tables of their own; `put` writes a row as a sync.

    Every account of a system shares its tables; make them once with `make_system`.
    """

    def __init__(self, db: Warehouse, system: str, account: str) -> None:
        self.db = db
        self.system = system
        self.account = account
        self._run: int | None = None

    def contact(self, key: str, **fields: Any) -> None:
        """One contact with a verified address, unless `email` says otherwise."""
        row = {
            "email": f"{key}@example.com",
            "is_email_verified": True,
            "first_name": f"First {key}",
            "attributes": {},
            "created_at": hours(0),
            "updated_at": hours(0),
            "is_deleted": False,
        }
        self.put("contacts", key, **row | fields)

    def deal(self, key: str, *contacts: str, **fields: Any) -> None:
        """One deal of 1000 USD in pipeline `sales`, stage `new`, created at the start."""
        row = {
            "name": f"Deal {key}",
            "pipeline_id": "sales",
            "stage_id": "new",
            "amount": 1000,
            "currency": "USD",
            "contact_ids": list(contacts),
            "created_at": hours(0),
            "updated_at": hours(0),
            "is_deleted": False,
        }
        self.put("deals", key, **row | fields)

    def entry(self, deal: str, stage: str, hour: float, **fields: Any) -> None:
        """One entry of a deal into a stage."""
        row = {"deal_id": deal, "stage_id": stage, "entered_at": hours(hour), "is_deleted": False}
        self.put("deal_stages", f"{deal}-{hour:g}", **row | fields)

    def stages(self, *names: str, won: str = "won", lost: str = "lost") -> None:
        """The stages of the pipeline `sales`."""
        for position, name in enumerate(names):
            self.put(
                "stages",
                name,
                pipeline_id="sales",
                pipeline="Sales",
                name=name.title(),
                position=position,
                is_closed=name in (won, lost),
                is_won=name == won,
                is_deleted=False,
            )

    def consent(self, key: str, status: str, hour: float) -> None:
        """What the vendor says of a contact's consent to marketing e-mail."""
        self.put(
            "consents",
            key,
            channel="email",
            topic="marketing",
            status=status,
            legal_basis="consent",
            changed_at=hours(hour),
            updated_at=hours(hour),
        )

    def email_event(self, key: str, kind: str, hour: float, **fields: Any) -> None:
        """One thing that became of one mail of the vendor."""
        row = {
            "event_type": kind,
            "occurred_at": hours(hour),
            "campaign": "spring",
            "is_machine": False,
            "properties": {},
            "is_deleted": False,
        }
        self.put("email_events", key, **row | fields)

    def put(self, entity: str, key: str, **fields: Any) -> None:
        """A new version of one row."""
        row = {
            "system": self.system,
            "account": self.account,
            "external_id": key,
            "sync_run_id": self._open(),
        } | {
            name: Jsonb(value) if isinstance(value, list | dict) else value
            for name, value in fields.items()
        }
        query = sql.SQL(
            "insert into {} ({}) values ({}) on conflict (account, external_id) do update set {}"
        ).format(
            sql.Identifier("mkt_raw", f"{self.system}__{entity}"),
            sql.SQL(", ").join(map(sql.Identifier, row)),
            sql.SQL(", ").join(sql.Placeholder() * len(row)),
            sql.SQL(", ").join(
                sql.SQL("{} = excluded.{}").format(sql.Identifier(name), sql.Identifier(name))
                for name in row
            ),
        )
        self.db.execute(query, list(row.values()))

    def gone(self, entity: str, key: str) -> None:
        """The view does not show this row any more, and no tombstone either."""
        table = sql.Identifier("mkt_raw", f"{self.system}__{entity}")
        query = sql.SQL("delete from {} where account = %s and external_id = %s").format(table)
        self.db.execute(query, (self.account, key))

    def sync(self, *, is_baseline: bool = False) -> None:
        """Finish the open run."""
        self.db.execute(
            "update mkt_ops.sync_runs set status = 'success', is_baseline = %s, inserted = 1"
            " where sync_run_id = %s",
            (is_baseline, self._open()),
        )
        self._run = None

    def unify(self, *, is_baseline: bool = False) -> UnifyReport:
        """Finish the open run and take it over."""
        self.sync(is_baseline=is_baseline)
        return unify(self.db, report=lambda line: None)

    def _open(self) -> int:
        if self._run is None:
            row = self.db.execute(
                "insert into mkt_ops.sync_runs"
                " (account, system, stream, kind, is_baseline, status, started_at)"
                " values (%s, %s, 'all', 'incremental', false, 'running', %s)"
                " returning sync_run_id",
                (self.account, self.system, START),
            ).fetchone()
            assert row is not None
            self._run = int(row[0])
        return self._run


def make_system(db: Warehouse, system: str) -> None:
    """Tables and staging views of a made-up system, one for each entity of a CRM."""
    keys = {"deal_stages": "deal_id", "list_members": "contact_id"}
    for entity in ENTITIES:
        table, view = f"mkt_raw.{system}__{entity}", f"mkt_staging.{system}__{entity}"
        db.execute(
            f"create table {table} as select * from mkt_staging.{entity} where false;"
            f" alter table {table} add primary key (account, external_id);"
            f" create index on {table} (sync_run_id);"
            f" create view {view} as select * from {table}".encode()
        )
        if entity in keys:
            db.execute(f"create index on {table} (account, {keys[entity]})".encode())
    text = Path(include_root(), "sql", "staging", "unions.sql").read_text(encoding="utf-8")
    db.execute(text.encode())
