"""Orders, lines, refunds, products and carts become facts and events, once, and stay corrected."""

from __future__ import annotations

from datetime import date

import pytest

from marketing_ops.errors import FatalError
from marketing_ops.identity.runner import unify
from marketing_ops.warehouse import Warehouse
from tests.identity.story import START, STREAMS, Shop, contact_of, hours, rows, snapshot

EVENTS = (
    "select event_type, key, amount, reporting_amount, occurred_at from mkt_core.events"
    " order by occurred_at, event_type"
)


def days(db: Warehouse, group: str = "orders") -> set[date]:
    """The dirty days of a group; forgets them."""
    found = rows(db, "delete from mkt_ops.dirty_days where kpi_group = %s returning date", group)
    rows(db, "delete from mkt_ops.dirty_days returning 1")
    return {row[0] for row in found}


def test_an_empty_warehouse_makes_no_batch(shop: Shop, db: Warehouse) -> None:
    """Nothing to take over: no batch, no error, and the report says so."""
    lines: list[str] = []
    done = unify(db, report=lines.append)
    assert (done.batches, done.runs, done.events) == ([], 0, 0)
    assert lines == ["unify: nothing new in 0 runs"]


def test_runs_without_a_changed_row_make_no_batch(shop: Shop, db: Warehouse) -> None:
    """A run that stored nothing is marked with the last batch and makes none of its own."""
    shop.customer(1)
    shop.unify()
    db.execute(
        "insert into mkt_ops.sync_runs"
        " (account, system, stream, kind, is_baseline, status, started_at, unchanged)"
        " values (%s, 'shopify', 'orders', 'incremental', false, 'success', %s, 5)",
        (shop.account, START),
    )
    done = shop.unify()
    assert (done.batches, done.runs) == ([], 1)
    assert rows(db, "select max(unified_batch), count(*) from mkt_ops.sync_runs") == [(1, 2)]


def test_golden_rows_of_one_order(shop: Shop, db: Warehouse) -> None:
    """An order with a line, a refund and a cart before it gives exactly these facts and events."""
    shop.product(7, title="Boots", category="shoes")
    shop.customer(1)
    shop.cart(1, 1)
    shop.order(2, 1, total_amount=80, current_total_amount=75, refunded_amount=5)
    shop.line(20, 2, product=7, quantity=2, amount=80)
    shop.refund(4, 2)
    done = shop.unify()
    assert rows(db, EVENTS) == [
        ("subscribed", "email", None, None, hours(0)),
        ("cart_updated", "1", 50, 50, hours(1)),
        ("order_placed", "2", 80, 80, hours(2)),
        ("order_refunded", "2", 5, 5, hours(4)),
    ]
    assert rows(
        db,
        "select o.gross_amount, o.current_amount, l.quantity, p.title, c.lifecycle"
        " from mkt_core.orders o join mkt_core.order_lines l using (order_id)"
        " join mkt_core.products p using (product_id) join mkt_core.contacts c using (contact_id)",
    ) == [(80, 75, 2, "Boots", "customer")]
    assert rows(db, "select properties from mkt_core.events where event_type = 'cart_updated'") == [
        ({"brand": "journey", "cart_value": 50, "line_count": 1},)
    ]
    assert (done.events, done.contacts, done.batches) == (4, 1, [1])


def test_unify_twice_is_unify_once(shop: Shop, db: Warehouse) -> None:
    """Taking the same runs over again changes no row and dirties no day."""
    for number in range(1, 4):
        shop.customer(number, phone="+381641234567")
        shop.order(number, number)
        shop.line(number, number)
        shop.refund(number + 10, number)
        shop.cart(number, number)
    shop.product(1)
    shop.unify()
    before = snapshot(db)
    days(db)
    db.execute("update mkt_ops.sync_runs set unified_batch = null")
    done = unify(db, report=lambda line: None)
    after = snapshot(db)
    assert (done.events, done.contacts, done.merges) == (0, 0, 0)
    del before["mkt_ops.batches"], after["mkt_ops.batches"], before["mkt_ops.dirty_days"]
    assert after.pop("mkt_ops.dirty_days") == []
    assert after == before


def test_baseline_runs_come_first_in_a_batch_of_their_own(shop: Shop, db: Warehouse) -> None:
    """Facts of an initial load lie in a baseline batch, live ones in a later live batch."""
    shop.customer(1)
    shop.order(1, 1)
    shop.sync()
    shop.customer(2)
    shop.order(2, 2)
    done = shop.unify(is_baseline=True)
    assert done.batches == [1, 2]
    assert rows(
        db,
        "select e.key, b.batch, b.is_baseline from mkt_core.events e"
        " join mkt_ops.batches b using (batch) where event_type = 'order_placed' order by 1",
    ) == [("1", 2, False), ("2", 1, True)]


def test_running_runs_wait_and_failed_ones_count(shop: Shop, db: Warehouse) -> None:
    """A running run is left alone; what a failed run stored is taken over."""
    shop.order(1, 1)
    assert unify(db, report=lambda line: None).batches == []
    shop.sync(status="failed")
    assert unify(db, report=lambda line: None).events == 1


def test_a_correction_replaces_the_event_and_dirties_both_days(shop: Shop, db: Warehouse) -> None:
    """A moved and repriced order leaves one event, in the new batch; old and new day are dirty."""
    shop.order(1, 1)
    shop.unify()
    assert days(db) == {date(2026, 3, 1)}
    shop.order(1, 1, processed_at=hours(40 * 24), total_amount=120)
    shop.unify()
    assert rows(
        db, "select occurred_at, amount, batch from mkt_core.events where event_type like 'order%%'"
    ) == [(hours(40 * 24), 120, 2)]
    assert days(db) == {date(2026, 3, 1), date(2026, 4, 10)}


def test_an_unchanged_order_dirties_nothing(shop: Shop, db: Warehouse) -> None:
    """A row that comes again as it was writes no fact, no event and no dirty day."""
    shop.order(1, 1)
    shop.line(1, 1)
    shop.unify()
    days(db)
    shop.order(1, 1)
    shop.line(1, 1)
    assert shop.unify().events == 0
    assert days(db) == set()
    assert rows(db, "select distinct batch from mkt_core.orders") == [(1,)]


@pytest.mark.parametrize("gone", [{"is_test": True}, {"is_deleted": True}])
def test_deleted_and_test_orders_have_no_event(
    shop: Shop, db: Warehouse, gone: dict[str, bool]
) -> None:
    """Their events go, the refund's too, and the buyer is a lead again; a revival undoes it."""
    shop.order(1, 1)
    shop.refund(2, 1)
    shop.unify()
    shop.order(1, 1, **gone)
    shop.unify()
    assert rows(db, EVENTS) == []
    assert rows(db, "select lifecycle from mkt_core.contacts") == [("lead",)]
    shop.order(1, 1)
    shop.unify()
    assert [row[0] for row in rows(db, EVENTS)] == ["order_placed", "order_refunded"]
    assert rows(db, "select lifecycle from mkt_core.contacts") == [("customer",)]


def test_cancelling_adds_an_event_and_uncancelling_takes_it_back(shop: Shop, db: Warehouse) -> None:
    """The order stays placed; its cancellation is an event of its own, at its own instant."""
    shop.order(1, 1, cancelled_at=hours(30))
    shop.unify()
    assert [(row[0], row[4]) for row in rows(db, EVENTS)] == [
        ("order_placed", hours(1)),
        ("order_cancelled", hours(30)),
    ]
    shop.order(1, 1)
    shop.unify()
    assert [row[0] for row in rows(db, EVENTS)] == ["order_placed"]


def test_an_order_before_its_customer_heals(shop: Shop, db: Warehouse) -> None:
    """The id alone makes the identity; the customer's record later fills the same contact."""
    shop.order(5, 1)
    shop.unify()
    early = contact_of(db, 1)
    assert rows(db, "select email, created_at from mkt_core.contacts") == [(None, hours(5))]
    shop.customer(1)
    shop.unify()
    assert contact_of(db, 1) == early
    assert rows(db, "select email, lifecycle, created_at from mkt_core.contacts") == [
        ("c1@example.com", "customer", hours(0))
    ]


def test_lines_and_refunds_before_their_order_heal(shop: Shop, db: Warehouse) -> None:
    """They wait, and come in with the order in whatever later batch it arrives."""
    shop.line(1, 9)
    shop.refund(2, 9)
    done = shop.unify()
    assert (done.changes["waiting"], done.events) == (2, 0)
    shop.order(9, 1)
    shop.line(3, 9)
    shop.unify()
    assert rows(db, "select external_id from mkt_core.order_lines order by 1") == [("1",), ("3",)]
    assert [row[0] for row in rows(db, EVENTS)] == ["order_refunded", "order_placed"]
    assert rows(db, "select count(*) from mkt_core.waiting_facts") == [(0,)]


def test_a_line_before_its_product_points_at_it_later(shop: Shop, db: Warehouse) -> None:
    """A product known by id alone is filled when its record arrives; the line needs no change."""
    shop.order(1, 1)
    shop.line(1, 1, product=7)
    shop.unify()
    shop.product(7, category="boots")
    shop.unify()
    assert rows(
        db,
        "select p.category, l.batch from mkt_core.order_lines l"
        " join mkt_core.products p using (product_id)",
    ) == [("boots", 1)]


def test_a_touched_order_keeps_only_the_lines_its_source_shows(shop: Shop, db: Warehouse) -> None:
    """Lines deleted with their parent's replacement, or tombstoned, go; the day is dirty."""
    shop.order(1, 1)
    for number in (1, 2, 3):
        shop.line(number, 1)
    shop.unify()
    days(db)
    shop.order(1, 1, updated_at=hours(3))
    shop.remove("order_lines", 1)
    shop.line(2, 1, is_deleted=True)
    shop.line(3, 1, amount=12)
    shop.unify()
    assert rows(db, "select external_id, amount from mkt_core.order_lines") == [("3", 12)]
    assert days(db) == {date(2026, 3, 1)}


def test_each_open_version_of_a_cart_is_an_event(shop: Shop, db: Warehouse) -> None:
    """Two observed versions make two events; completing the cart makes none."""
    shop.cart(1, 1)
    shop.unify()
    shop.cart(1, 1, updated_at=hours(3), amount=70)
    shop.unify()
    shop.cart(1, 1, updated_at=hours(4), completed_at=hours(4), amount=70)
    shop.unify()
    assert rows(db, EVENTS) == [
        ("cart_updated", "1", 50, 50, hours(1)),
        ("cart_updated", "1", 70, 70, hours(3)),
    ]
    assert rows(db, "select completed_at from mkt_core.carts") == [(hours(4),)]
    assert days(db, "carts") == {date(2026, 3, 1)}


def test_dirty_days_are_days_of_the_reporting_zone(shop: Shop, db: Warehouse) -> None:
    """03:00 UTC is still the evening before in New York."""
    shop.order(1, 1, processed_at=hours(15))
    shop.unify()
    assert days(db) == {date(2026, 3, 1)}


def test_reporting_amounts_take_the_latest_rate_not_after_the_day(
    shop: Shop, db: Warehouse
) -> None:
    """Another currency is converted by the last rate on or before; without one it is null."""
    db.execute(
        "insert into mkt_core.exchange_rates values ('EUR', '2026-02-20', 1.1),"
        " ('EUR', '2026-03-01', 1.2), ('EUR', '2026-03-02', 9)"
    )
    shop.order(1, 1, currency="EUR")
    shop.order(2, 1, currency="RSD")
    shop.order(3, 1)
    shop.unify()
    found = rows(db, "select key, reporting_amount from mkt_core.events order by key")
    assert found == [("1", 120), ("2", None), ("3", 100)]


def test_an_instant_of_nonsense_loses_its_event_only(shop: Shop, db: Warehouse) -> None:
    """An order in the year 9500 is stored, has no event, and stops nobody else."""
    shop.order(1, 1, processed_at=hours(0).replace(year=9500))
    shop.order(2, 1)
    shop.unify()
    assert rows(db, "select count(*) from mkt_core.orders") == [(2,)]
    assert [row[1] for row in rows(db, EVENTS)] == ["2"]


def test_an_account_without_a_file_waits_and_the_others_go_on(shop: Shop, db: Warehouse) -> None:
    """Its runs stay for later, the call fails naming it, and everything else is taken over."""
    stranger = Shop(db, "shop_unknown")
    stranger.order(1, 1)
    stranger.sync()
    shop.order(2, 2)
    shop.sync()
    with pytest.raises(FatalError, match=r"include/sources/shop_unknown\.yaml"):
        unify(db, report=lambda line: None)
    assert [row[1] for row in rows(db, EVENTS)] == ["2"]
    assert rows(db, "select account from mkt_ops.sync_runs where unified_batch is null") == [
        ("shop_unknown",)
    ]


def test_a_large_batch_writes_what_small_ones_write(
    shop: Shop, db: Warehouse, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The plan for many rows and the plan for few give the same warehouse, also in turn."""

    def story() -> dict[str, list[tuple[object, ...]]]:
        for number in range(1, 5):
            shop.customer(number)
            shop.order(number, number)
            shop.line(number, number, product=number)
            shop.cart(number, number)
        shop.unify()
        shop.order(1, 1, total_amount=5)
        shop.unify()
        return snapshot(db)

    few = story()
    raw = (f"mkt_raw.shopify__{stream}" for stream in STREAMS)
    tables = (*few, *raw, "mkt_core.identity_keys", "mkt_ops.sync_runs")
    db.execute(f"truncate {', '.join(tables)} restart identity".encode())
    monkeypatch.setattr("marketing_ops.identity.runner.SMALL_ROWS", 0)
    assert story() == few
