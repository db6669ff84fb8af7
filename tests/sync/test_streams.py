"""What each Shopify stream brings, from the first load to the last change."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

from marketing_ops.warehouse import Warehouse
from tests.conftest import FrozenClock
from tests.sync.conftest import Sync
from tests.sync.fakeshop import FakeShop, checkout, customer, deletion, iso, line, order, product

NOON = datetime(2026, 3, 2, 12, tzinfo=UTC)
Rows = Callable[..., list[dict[str, Any]]]


def test_customers_load_in_bulk_and_then_by_page(
    sync: Sync, shop: FakeShop, rows: Rows, frozen_clock: FrozenClock
) -> None:
    """The first run reads a file, later ones the pages since the cursor; columns are typed."""
    shop.records["customers"] = [customer(n, NOON - timedelta(days=n)) for n in range(1, 30)]
    first = sync("customers")
    assert (first.kind, first.balanced) == ("initial", True)
    assert first.counts["customers"]["inserted"] == 29
    frozen_clock.move(NOON + timedelta(hours=1))
    shop.records["customers"][4] = customer(5, NOON + timedelta(minutes=30), firstName="New")
    shop.records["customers"].append(customer(99, NOON + timedelta(minutes=40)))
    second = sync("customers")
    assert second.kind == "incremental"
    assert second.counts["customers"]["updated"] == 1
    assert second.counts["customers"]["inserted"] == 1
    by_id = {row["id"]: row for row in rows("customers")}
    assert by_id["5"]["first_name"] == "New"
    assert by_id["99"]["amount_spent"] == Decimal("12.50")
    assert by_id["99"]["number_of_orders"] == 3
    assert by_id["99"]["tags"] == ["age:45-54"]
    assert by_id["99"]["extra"] is None


def test_orders_bring_lines_and_refunds(
    sync: Sync, shop: FakeShop, rows: Rows, frozen_clock: FrozenClock
) -> None:
    """Children are streams of their own, in bulk and by page, with more lines than a page holds."""
    refund = {
        "id": "gid://shopify/Refund/7",
        "createdAt": iso(NOON),
        "totalRefundedSet": {"shopMoney": {"amount": "1.00"}},
    }
    shop.records["orders"] = [
        order(1, NOON - timedelta(days=2), [line(10), line(11)], refunds=[refund]),
        order(2, NOON - timedelta(days=1), []),
    ]
    first = sync("orders")
    assert {name: counts["inserted"] for name, counts in first.counts.items()} == {
        "orders": 2,
        "order_lines": 2,
        "refunds": 1,
    }
    frozen_clock.move(NOON + timedelta(hours=1))
    many = [line(n) for n in range(1000, 1250)]
    shop.records["orders"].append(order(3, NOON + timedelta(minutes=1), many))
    second = sync("orders")
    assert second.kind == "incremental"
    assert second.counts["order_lines"]["inserted"] == 250
    assert {row["order_id"] for row in rows("order_lines")} == {"1", "3"}
    assert rows("refunds")[0]["amount"] == Decimal("1.00")


def test_bulk_and_pages_make_the_same_rows(
    sync: Sync, shop: FakeShop, frozen_clock: FrozenClock
) -> None:
    """A record read in bulk is unchanged when a page shows it again, for every stream."""
    at = NOON - timedelta(minutes=1)
    shop.records = {
        "customers": [customer(1, at, firstName="Ed\\die\t\n")],
        "orders": [order(1, at, [line(2, title='back\\slash "q"')])],
        "products": [product(1, at), product(2, at, variants=[])],
        "abandonedCheckouts": [checkout(1, at), checkout(2, at, lineItems=[])],
    }
    for stream in ("customers", "orders", "products", "checkouts"):
        sync(stream)
    frozen_clock.move(NOON + timedelta(hours=1))
    for stream in ("customers", "orders", "products", "checkouts"):
        report = sync(stream)
        assert report.kind == "incremental"
        for counts in report.counts.values():
            assert counts["unchanged"] == counts["fetched"]
        assert report.counts[stream]["fetched"] > 0


def test_vanished_lines_become_tombstones(
    sync: Sync, shop: FakeShop, rows: Rows, frozen_clock: FrozenClock
) -> None:
    """Replacing an order replaces its lines: one it no longer has is deleted, and counted."""
    shop.records["orders"] = [order(1, NOON - timedelta(hours=2), [line(1), line(2)])]
    sync("orders")
    frozen_clock.move(NOON + timedelta(hours=1))
    shop.records["orders"] = [order(1, NOON + timedelta(minutes=5), [line(2)])]
    report = sync("orders")
    assert report.counts["order_lines"]["tombstoned"] == 1
    assert report.balanced
    assert {row["id"]: row["is_deleted"] for row in rows("order_lines")} == {"1": True, "2": False}
    frozen_clock.move(NOON + timedelta(hours=2))
    shop.records["orders"] = [order(1, NOON + timedelta(minutes=70), [line(1), line(2)])]
    assert sync("orders").counts["order_lines"]["updated"] == 1
    assert not any(row["is_deleted"] for row in rows("order_lines"))


def test_product_deletions_are_tombstones(
    sync: Sync, shop: FakeShop, rows: Rows, frozen_clock: FrozenClock
) -> None:
    """A destroy event marks the product; the same event again and an unknown one change nothing."""
    shop.records["products"] = [product(n, NOON - timedelta(days=1)) for n in (1, 2)]
    sync("products")
    shop.records["events"] = [deletion(1, NOON - timedelta(hours=1)), deletion(77, NOON)]
    frozen_clock.move(NOON + timedelta(hours=1))
    first = sync("product_deletions")
    assert first.counts["product_deletions"]["tombstoned"] == 1
    assert first.counts["product_deletions"]["unchanged"] == 1
    assert {row["id"]: row["is_deleted"] for row in rows("products")} == {"1": True, "2": False}
    again = sync("product_deletions", kind="full_refresh")
    assert again.counts["product_deletions"]["tombstoned"] == 0
    stale = sync("products", kind="full_refresh")
    assert stale.counts["products"]["stale"] == 1


def test_checkouts_keep_flat_lines(sync: Sync, shop: FakeShop, rows: Rows) -> None:
    """A checkout's lines are one JSON list with plain ids."""
    shop.records["abandonedCheckouts"] = [checkout(1, NOON - timedelta(days=1))]
    sync("checkouts")
    assert rows("checkouts")[0]["lines"] == [
        {
            "id": "9",
            "product_id": "4",
            "variant_id": None,
            "sku": "S",
            "title": "T",
            "quantity": 2,
            "amount": "5.00",
        }
    ]


def test_backfill_reads_exactly_its_window_and_moves_no_cursor(
    sync: Sync, shop: FakeShop, rows: Rows, db: Warehouse
) -> None:
    """[start, end) by update time, also where the vendor's filter only knows whole days."""
    from marketing_ops.window import Window

    hours = [NOON - timedelta(hours=n) for n in range(10)]
    shop.records["customers"] = [customer(n, at) for n, at in enumerate(hours)]
    report = sync("customers", kind="backfill", window=Window(hours[5], hours[2]))
    assert report.counts["customers"]["fetched"] == 3
    assert sorted(row["id"] for row in rows("customers")) == ["3", "4", "5"]
    assert db.execute("select count(*) from mkt_ops.sync_cursors").fetchone() == (0,)


def test_full_refresh_finds_what_is_gone(sync: Sync, shop: FakeShop, rows: Rows) -> None:
    """A full read that does not show a customer any more marks it deleted; lines likewise."""
    shop.records["customers"] = [customer(n, NOON - timedelta(days=1)) for n in range(5)]
    shop.records["orders"] = [order(1, NOON - timedelta(days=1), [line(1), line(2)])]
    sync("customers")
    sync("orders")
    shop.records["customers"].pop()
    shop.records["orders"] = [order(1, NOON - timedelta(days=1), [line(2)])]
    assert sync("customers", kind="full_refresh").counts["customers"]["tombstoned"] == 1
    assert sync("orders", kind="full_refresh").counts["order_lines"]["tombstoned"] == 1
    assert [row["is_deleted"] for row in rows("customers")] == [False] * 4 + [True]
    assert [row["is_deleted"] for row in rows("order_lines")] == [True, False]


def test_children_may_stand_anywhere_in_the_file(sync: Sync, shop: FakeShop, rows: Rows) -> None:
    """Lines before and far behind their order get their order's time."""
    shop.is_grouped = False
    at = NOON - timedelta(days=1)
    shop.records["orders"] = [order(n, at, [line(10 * n), line(10 * n + 1)]) for n in range(1, 40)]
    report = sync("orders")
    assert report.counts["order_lines"]["inserted"] == 78
    assert {row["source_updated_at"] for row in rows("order_lines")} == {at}


def test_incremental_customers_stop_at_the_cursor(
    sync: Sync, shop: FakeShop, frozen_clock: FrozenClock
) -> None:
    """The vendor's filter matches whole days; newest first, an hour's run reads one page."""
    shop.records["customers"] = [customer(n, NOON - timedelta(minutes=n)) for n in range(1, 600)]
    sync("customers")
    before = len(shop.requests)
    frozen_clock.move(NOON + timedelta(hours=1))
    report = sync("customers")
    assert report.counts["customers"]["fetched"] <= 6
    assert len(shop.requests) - before == 1
