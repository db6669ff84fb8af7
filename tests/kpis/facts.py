"""Facts for the KPI tests, written as unify writes them: the row, and the days it touched."""

from __future__ import annotations

from datetime import date, datetime
from decimal import Decimal
from typing import Any
from uuid import NAMESPACE_OID, uuid5
from zoneinfo import ZoneInfo

from psycopg.types.json import Jsonb

from marketing_ops.settings import settings
from marketing_ops.warehouse import Warehouse, ensure_partitions, last_batch, open_batch

FIRST_MONTH, LAST_MONTH = date(2025, 11, 1), date(2026, 12, 1)


def at(text: str) -> datetime:
    """An instant of the reporting zone: `2026-03-08 12:00`, or with an offset of its own."""
    instant = datetime.fromisoformat(text)
    return instant if instant.tzinfo else instant.replace(tzinfo=ZoneInfo(zone()))


def zone() -> str:
    """The reporting time zone of the shipped settings."""
    return settings().reporting_timezone


class Facts:
    """Writes facts into one warehouse; every call is a batch of its own."""

    def __init__(self, warehouse: Warehouse) -> None:
        self.db = warehouse
        ensure_partitions(warehouse, "mkt_core.events", FIRST_MONTH, LAST_MONTH)
        self.db.execute(
            "insert into mkt_engage.campaigns (campaign, brand, state_changed_at, state_changed_by)"
            " values ('welcome', 'b', '2025-01-01', 'x'), ('rescue', 'b', '2025-01-01', 'x')"
        )

    def batch(self) -> int:
        """The number of the next batch."""
        with self.db.transaction():
            return open_batch(self.db, "test", is_baseline=False)

    def touch(self, group: str, *instants: datetime | None) -> None:
        """Mark the days of these instants dirty, as the merge does for old and new dates."""
        self.db.execute(
            "insert into mkt_ops.dirty_days (kpi_group, date, batch)"
            " select distinct %s, (moment at time zone %s)::date, %s::bigint"
            " from unnest(%s::timestamptz[]) as moment where moment is not null"
            " on conflict (kpi_group, date) do update set batch = excluded.batch",
            (group, zone(), last_batch(self.db), [each for each in instants if each]),
        )

    def order(
        self, number: int, placed: str | datetime, contact: int | None = 1, **more: Any
    ) -> None:
        """Write order `number`, or correct it; `amount` is both gross and current."""
        placed_at = at(placed) if isinstance(placed, str) else placed
        amount = more.pop("amount", 10)
        row = {
            "current_amount": amount,
            "gross_amount": amount,
            "currency": "USD",
            "cancelled_at": None,
            "is_test": False,
            "is_deleted": False,
            "utm_campaign": None,
            "utm_medium": None,
            **more,
        }
        known = self.db.execute(
            "select placed_at from mkt_core.orders where external_id = %s", (str(number),)
        ).fetchone()
        refunded = self.db.execute(
            "select refunded_at from mkt_core.refunds where order_id = %s", (number,)
        ).fetchall()
        columns = ", ".join(row)
        self.db.execute(
            f"insert into mkt_core.orders (order_id, system, account, brand, external_id,"
            f" profile_id, contact_id, placed_at, batch, {columns}) overriding system value values"
            f" (%s, 'shopify', 'shop', 'b', %s, %s, %s, %s, %s, {', '.join(['%s'] * len(row))})"
            f" on conflict (account, external_id) do update set (contact_id, placed_at, batch,"
            f" {columns}) = (excluded.contact_id, excluded.placed_at, excluded.batch,"
            f" {', '.join(f'excluded.{name}' for name in row)})".encode(),
            (number, str(number), contact, contact, placed_at, self.batch(), *row.values()),
        )
        self.touch(
            "orders", placed_at, known[0] if known else None, *(each[0] for each in refunded)
        )

    def refund(self, number: int, order: int, refunded: str | datetime, amount: Any) -> None:
        """Write a refund; the order's current amount is the caller's to correct.

        A refund without its order waits outside the table, so nothing is written.
        """
        if not self.db.execute(
            "select 1 from mkt_core.orders where order_id = %s", (order,)
        ).fetchone():
            return
        refunded_at = at(refunded) if isinstance(refunded, str) else refunded
        known = self.db.execute(
            "select refunded_at from mkt_core.refunds where external_id = %s", (str(number),)
        ).fetchone()
        self.db.execute(
            "insert into mkt_core.refunds (account, external_id, order_id, refunded_at, amount,"
            " currency, batch) values ('shop', %s, %s, %s, %s, 'USD', %s)"
            " on conflict (account, external_id) do update set refunded_at = excluded.refunded_at,"
            " amount = excluded.amount, order_id = excluded.order_id",
            (str(number), order, refunded_at, amount, self.batch()),
        )
        self.touch("orders", refunded_at, known[0] if known else None)

    def cart(self, number: int, created: str | datetime, completed: datetime | None = None) -> None:
        """Write a cart, or complete it."""
        created_at = at(created) if isinstance(created, str) else created
        known = self.db.execute(
            "select created_at from mkt_core.carts where external_id = %s", (str(number),)
        ).fetchone()
        self.db.execute(
            "insert into mkt_core.carts (system, account, brand, external_id, created_at,"
            " updated_at, completed_at, batch) values ('shopify', 'shop', 'b', %s, %s, %s, %s, %s)"
            " on conflict (account, external_id) do update set created_at = excluded.created_at,"
            " completed_at = excluded.completed_at",
            (str(number), created_at, created_at, completed, self.batch()),
        )
        self.touch("carts", created_at, known[0] if known else None)

    def event(
        self,
        kind: str,
        number: int,
        happened: str | datetime,
        contact: int = 1,
        *,
        campaign: str | None = "welcome",
        is_machine: bool = False,
    ) -> None:
        """Write an event about send `number`; of one kind, number and flag there is one."""
        occurred_at = at(happened) if isinstance(happened, str) else happened
        event_id = _event_id(kind, number, is_machine)
        self.unevent(kind, number, is_machine=is_machine)
        self.db.execute(
            "insert into mkt_core.events (event_id, occurred_at, profile_id, contact_id,"
            " event_type, campaign_id, send_id, source, batch, is_machine) values (%s, %s, %s, %s,"
            " %s, (select campaign_id from mkt_engage.campaigns where campaign = %s), %s, 'x', %s,"
            " %s)",
            (
                event_id,
                occurred_at,
                contact,
                contact,
                kind,
                campaign,
                number,
                self.batch(),
                is_machine,
            ),
        )
        self.touch(_group_of(kind), occurred_at)

    def unevent(self, kind: str, number: int, *, is_machine: bool = False) -> None:
        """Delete an event, as an erasure or a correction of its instant does."""
        gone = self.db.execute(
            "delete from mkt_core.events where event_id = %s returning occurred_at",
            (_event_id(kind, number, is_machine),),
        ).fetchall()
        self.touch(_group_of(kind), *(row[0] for row in gone))

    def conversion(self, number: int, converted: datetime | None, status: str = "finished") -> None:
        """Write an enrolment's conversion as the tick does: nothing says which day is dirty."""
        self.db.execute(
            "insert into mkt_engage.enrolments (campaign_id, version, contact_id, profile_id,"
            " shard, entry_ref, entered_at, entered_on, status, converted_at, updated_at) values"
            " ((select campaign_id from mkt_engage.campaigns where campaign = 'welcome'), 1, 1, 1,"
            " 1, %s, '2026-01-01', '2026-01-01', %s, %s, '2026-01-01')"
            " on conflict (campaign_id, profile_id, entry_ref) do update set"
            " converted_at = excluded.converted_at, status = excluded.status",
            (str(number), status, converted),
        )

    def rate(self, currency: str, day: str, rate: Any) -> None:
        """Write or correct an exchange rate: nothing says which days are dirty."""
        self.db.execute(
            "insert into mkt_core.exchange_rates values (%s, %s, %s)"
            " on conflict (currency, date) do update set rate = excluded.rate",
            (currency, day, rate),
        )

    def contact(self, number: int, created: str | datetime) -> None:
        """Write a contact, or correct when it was created."""
        created_at = at(created) if isinstance(created, str) else created
        self.db.execute(
            "insert into mkt_core.contacts (contact_id, created_at, batch) values (%s, %s, %s)"
            " on conflict (contact_id) do update set created_at = excluded.created_at",
            (number, created_at, self.batch()),
        )
        self.touch("contacts", created_at)

    def home(self, contact: int, since: str | datetime, region: str | None) -> None:
        """Write a version of a contact: from `since` it lives in `region`. Dirties nothing."""
        self.db.execute(
            "insert into mkt_core.contact_history (contact_id, valid_from, batch, row_hash,"
            " is_assumed, country, region, lifecycle) values (%s, %s, %s, '', false, 'US', %s,"
            " 'lead')",
            (contact, at(since) if isinstance(since, str) else since, self.batch(), region),
        )

    def merge(self, loser: int, winner: int) -> None:
        """Give a contact's facts to another one. Dirties nothing."""
        batch = self.batch()
        for table in ("orders", "events"):
            self.db.execute(
                f"update mkt_core.{table} set contact_id = %s where contact_id = %s".encode(),
                (winner, loser),
            )
        self.db.execute("delete from mkt_core.contacts where contact_id = %s", (loser,))
        self.db.execute(
            "insert into mkt_core.contact_merges (from_contact_id, into_contact_id, matched_on,"
            " batch, merged_at) values (%s, %s, 'email', %s, '2026-01-01')",
            (loser, winner, batch),
        )


def numbers(
    warehouse: Warehouse,
    kpi: str,
    day: str,
    grain: str = "day",
    **dims: str | None,
) -> tuple[Decimal | None, Decimal | None, Decimal | None] | None:
    """(numerator, denominator, value to 4 places) of one row; None without such a row."""
    row = warehouse.execute(
        "select numerator, denominator, round(value, 4) from mkt_marts.kpi_daily"
        " where kpi = %s and grain = %s and date = %s and dims = %s",
        (kpi, grain, day, Jsonb(dims)),
    ).fetchone()
    return None if row is None else (row[0], row[1], row[2])


def _group_of(kind: str) -> str:
    return "consents" if kind in ("subscribed", "unsubscribed") else "email"


def _event_id(kind: str, number: int, is_machine: bool) -> str:
    return str(uuid5(NAMESPACE_OID, f"{kind}:{number}:{is_machine}"))
