"""Each KPI against rows worked out by hand."""

from __future__ import annotations

from datetime import date
from decimal import Decimal

import pytest

from marketing_ops.kpis import definition
from marketing_ops.kpis.runner import rollup
from marketing_ops.warehouse import Warehouse
from tests.kpis.facts import Facts, at, numbers

DAY = date(2026, 3, 10)
Row = tuple[Decimal | None, Decimal | None, Decimal | None] | None


def row(numerator: object, denominator: object = None, value: object = None) -> Row:
    """A golden row; of a KPI without denominator the value is the numerator."""
    parts = [None if part is None else Decimal(str(part)) for part in (numerator, denominator)]
    last = value if denominator is not None or value is not None else numerator
    return parts[0], parts[1], None if last is None else Decimal(str(last))


def shop_week(facts: Facts) -> None:
    """Anna (1) orders on the 3rd and twice on the 10th, Boris (2) first on the 10th; a guest,
    a test order, a deleted and a cancelled one on the 10th; a refund of Anna's older order.
    """
    facts.home(1, "2026-01-01 00:00", "OH")
    facts.home(2, "2026-01-01 00:00", "KY")
    facts.order(1, "2026-03-03 10:00", 1, gross_amount=100, current_amount=70)
    facts.refund(1, 1, "2026-03-10 09:00", 30)
    facts.order(2, "2026-03-10 10:00", 1, amount=40, utm_campaign="rescue", utm_medium="email")
    facts.order(3, "2026-03-10 11:00", 1, amount=20)
    facts.order(4, "2026-03-10 12:00", 2, gross_amount=50, current_amount=30)
    facts.order(5, "2026-03-10 13:00", None, amount=10)
    facts.order(6, "2026-03-10 14:00", 2, amount=999, is_test=True)
    facts.order(7, "2026-03-10 14:00", 2, amount=999, is_deleted=True)
    facts.order(8, "2026-03-10 14:00", 2, amount=999, cancelled_at=at("2026-03-10 15:00"))


@pytest.mark.parametrize(
    ("kpi", "expected"),
    [
        ("orders", row(4)),
        ("revenue", row(100)),
        ("gross_revenue", row(120)),
        ("refunded_amount", row(30)),
        ("average_order_value", row(100, 4, 25)),
        ("customers", row(2)),
        ("new_customers", row(1)),
        ("repeat_rate", row(1, 2, "0.5")),
    ],
)
def test_orders_of_a_day(db: Warehouse, facts: Facts, kpi: str, expected: Row) -> None:
    """Test, deleted and cancelled orders do not count; a guest is an order but no customer."""
    shop_week(facts)
    rollup(db, [DAY])
    assert numbers(db, kpi, "2026-03-10") == expected


@pytest.mark.parametrize(
    ("kpi", "dims", "expected"),
    [
        ("orders", {"campaign": "rescue"}, row(1)),
        ("orders", {"campaign": None}, row(3)),
        ("revenue", {"channel": "email"}, row(40)),
        ("revenue", {"country": "US", "region": "OH"}, row(60)),
        ("refunded_amount", {"country": "US", "region": "OH"}, row(30)),
        ("customers", {"country": "US", "region": "KY"}, row(1)),
        ("customers", {"country": None, "region": None}, row(0)),
        ("repeat_rate", {"country": "US", "region": "OH"}, row(1, 1, 1)),
        ("orders", {"campaign": "welcome"}, None),
    ],
)
def test_orders_by_dimension(
    db: Warehouse, facts: Facts, kpi: str, dims: dict[str, str | None], expected: Row
) -> None:
    """A dimension value has a row from its first fact on; unknown values are null, not left out."""
    shop_week(facts)
    rollup(db, [DAY])
    assert numbers(db, kpi, "2026-03-10", "day", **dims) == expected


def test_week_and_month_count_people_once(db: Warehouse, facts: Facts) -> None:
    """Distinct people are counted anew per grain: Anna is new in March, and one of two people."""
    shop_week(facts)
    rollup(db, [date(2026, 3, 3), DAY])
    assert numbers(db, "customers", "2026-03-09", grain="week") == row(2)
    assert numbers(db, "repeat_rate", "2026-03-09", grain="week") == row(1, 2, "0.5")
    assert numbers(db, "customers", "2026-03-01", grain="month") == row(2)
    assert numbers(db, "new_customers", "2026-03-01", grain="month") == row(2)
    assert numbers(db, "repeat_rate", "2026-03-01", grain="month") == row(0, 2, 0)
    assert numbers(db, "orders", "2026-03-01", grain="month") == row(5)
    assert numbers(db, "revenue", "2026-03-01", grain="month") == row(170)


@pytest.mark.parametrize(
    ("kpi", "expected"),
    [
        ("carts", row(3)),
        ("cart_abandonment_rate", row(2, 4, "0.5")),
        ("cart_recovery_rate", row(1, 3, "0.3333")),
    ],
)
def test_carts_of_a_day(db: Warehouse, facts: Facts, kpi: str, expected: Row) -> None:
    """Two carts left, one of three bought later; two orders: four attempts, half of them left."""
    facts.cart(1, "2026-03-10 10:00")
    facts.cart(2, "2026-03-10 11:00")
    facts.cart(3, "2026-03-10 12:00", at("2026-03-11 12:00"))
    facts.order(1, "2026-03-10 12:00")
    facts.order(2, "2026-03-10 13:00")
    rollup(db, [DAY])
    assert numbers(db, kpi, "2026-03-10") == expected


@pytest.mark.parametrize(
    ("kpi", "total", "welcome"),
    [
        ("sends", row(4), row(3)),
        ("opens", row(2), row(2)),
        ("machine_opens", row(1), row(1)),
        ("clicks", row(1), row(1)),
        ("conversions", row(1), row(1)),
        ("open_rate", row(2, 4, "0.5"), row(2, 3, "0.6667")),
        ("click_rate", row(1, 4, "0.25"), row(1, 3, "0.3333")),
        ("conversion_rate", row(1, 4, "0.25"), row(1, 3, "0.3333")),
        ("unsubscribes", row(1), row(1)),
        ("unsubscribe_rate", row(1, 4, "0.25"), row(1, 3, "0.3333")),
    ],
)
def test_mail_of_a_day(db: Warehouse, facts: Facts, kpi: str, total: Row, welcome: Row) -> None:
    """A message opened twice is one open, a machine's open is none, the holdout converts nobody."""
    for number, campaign in ((1, "welcome"), (2, "welcome"), (3, "welcome"), (4, "rescue")):
        facts.event("email_sent", number, "2026-03-10 09:00", campaign=campaign)
    facts.event("email_opened", 1, "2026-03-10 10:00")
    facts.event("email_opened", 2, "2026-03-10 10:00")
    db.execute(
        "insert into mkt_core.events (event_id, occurred_at, profile_id, contact_id, event_type,"
        " campaign_id, send_id, source, batch) select gen_random_uuid(), occurred_at + '1 hour',"
        " 1, 1, event_type, campaign_id, send_id, 'x', batch from mkt_core.events"
        " where event_type = 'email_opened' and send_id = 2"
    )
    facts.event("email_opened", 3, "2026-03-10 10:00", is_machine=True)
    facts.event("email_clicked", 2, "2026-03-10 10:05")
    facts.event("email_clicked", 3, "2026-03-10 10:00", is_machine=True)
    facts.event("unsubscribed", 2, "2026-03-10 10:06", contact=7)
    facts.event("unsubscribed", 3, "2026-03-10 10:07", contact=7)
    facts.conversion(1, at("2026-03-10 11:00"))
    facts.conversion(2, at("2026-03-10 11:00"), status="holdout")
    rollup(db, [DAY])
    assert numbers(db, kpi, "2026-03-10") == total
    assert numbers(db, kpi, "2026-03-10", campaign="welcome") == welcome
    assert numbers(db, kpi, "2026-03-10", channel="email") == total


def test_contacts_and_consents_of_a_day(db: Warehouse, facts: Facts) -> None:
    """A person who subscribes in two sources is one; region is where a contact was first seen."""
    facts.contact(1, "2026-03-10 10:00")
    facts.contact(2, "2026-03-10 11:00")
    facts.home(1, "2026-03-12 00:00", "OH")
    facts.home(1, "2026-03-13 00:00", "TX")
    facts.event("subscribed", 1, "2026-03-10 10:00", contact=1, campaign=None)
    facts.event("subscribed", 2, "2026-03-10 10:01", contact=1, campaign=None)
    rollup(db, [DAY])
    assert numbers(db, "new_contacts", "2026-03-10") == row(2)
    assert numbers(db, "new_contacts", "2026-03-10", country="US", region="OH") == row(1)
    assert numbers(db, "new_contacts", "2026-03-10", country=None, region=None) == row(1)
    assert numbers(db, "subscribes", "2026-03-10") == row(1)


def test_every_kpi_has_its_golden_row(db: Warehouse, facts: Facts) -> None:
    """Each KPI of the catalogue stores exactly the dimension sets and grains its file lists."""
    shop_week(facts)
    facts.event("email_sent", 1, "2026-03-10 09:00")
    facts.event("subscribed", 1, "2026-03-10 09:00")
    facts.contact(1, "2026-03-10 10:00")
    rollup(db, [DAY])
    stored = {
        str(kpi): (set(sets), set(grains), units)
        for kpi, sets, grains, units in db.execute(
            "select kpi, array_agg(distinct dimension_set), array_agg(distinct grain),"
            " bool_and((currency is not null)) from mkt_marts.kpi_daily group by kpi"
        )
    }
    kpis, problems = definition.load_all()
    assert not problems
    for name, kpi in kpis.items():
        expected = (set(kpi.dimension_sets), set(kpi.grain), kpi.unit == "money")
        assert stored.get(name) == expected, name


def test_rates_count_only_what_a_message_did(db: Warehouse, facts: Facts) -> None:
    """A cart paid before any mail, and a refusal in the shop, are none of the message's."""
    facts.event("email_sent", 1, "2026-03-10 09:00", contact=9)
    facts.event("unsubscribed", 1, "2026-03-10 10:00", contact=8, campaign=None)
    db.execute("update mkt_core.events set send_id = null where event_type = 'unsubscribed'")
    facts.conversion(1, at("2026-03-10 11:00"))
    rollup(db, [DAY])
    assert numbers(db, "conversions", "2026-03-10") == row(1)
    assert numbers(db, "conversion_rate", "2026-03-10") == row(0, 1, 0)
    assert numbers(db, "unsubscribes", "2026-03-10") == row(1)
    assert numbers(db, "unsubscribe_rate", "2026-03-10") == row(0, 1, 0)
