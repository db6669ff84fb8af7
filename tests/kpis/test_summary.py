from __future__ import annotations

from datetime import date, timedelta
from decimal import Decimal

import pytest

from marketing_ops.kpis.runner import rollup
from marketing_ops.kpis.summary import StreamBooks, Summary, demo_summary, render
from marketing_ops.warehouse import Warehouse, ensure_partitions
from tests.kpis.facts import Facts


def run(
    db: Warehouse, stream: str, *, fetched: int, inserted: int, status: str = "success"
) -> None:
    """A finished run of a stream."""
    db.execute(
        "insert into mkt_ops.sync_runs (account, system, stream, kind, is_baseline, status,"
        " started_at, fetched, inserted) values ('shop', 'shopify', %s, 'initial', true, %s,"
        " '2026-03-01', %s, %s)",
        (stream, status, fetched, inserted),
    )


def test_empty_warehouse_says_what_is_missing(db: Warehouse, facts: Facts) -> None:
    """Before the first run there are sentences, not empty tables, and nothing is unbalanced."""
    db.execute("delete from mkt_engage.campaigns")
    found = demo_summary(db)
    text = render(found)
    assert found.is_balanced
    for sentence in (
        "Nothing was synced yet.",
        "Nobody yet",
        "No campaign was started yet.",
        "No KPI was rolled up yet: run rollup_kpis.",
    ):
        assert sentence in text


def test_books_balance_over_all_runs(db: Warehouse, facts: Facts) -> None:
    """Rows are summed per stream; one run that lost a record makes the whole unbalanced."""
    run(db, "orders", fetched=10, inserted=10)
    run(db, "orders", fetched=5, inserted=5)
    run(db, "customers", fetched=7, inserted=0, status="failed")
    found = demo_summary(db)
    assert found.is_balanced
    assert [(each.stream, each.fetched, each.failed) for each in found.books] == [
        ("customers", 7, 1),
        ("orders", 15, 0),
    ]
    assert "The books balance" in render(found)
    assert "1 run failed" in render(found)
    run(db, "orders", fetched=5, inserted=6)
    run(db, "orders", fetched=5, inserted=4)
    found = demo_summary(db)
    assert not found.is_balanced
    assert "THE BOOKS DO NOT BALANCE" in render(found)


def test_last_month_beside_the_one_before(db: Warehouse, facts: Facts) -> None:
    """Parts are summed over the 30 full days before today; today's order is in neither half."""
    facts.order(1, "2026-02-17 23:59", 1, amount=10)
    facts.order(2, "2026-02-18 00:00", 1, amount=30)
    facts.order(3, "2026-03-19 23:59", 2, amount=50)
    facts.order(4, "2026-03-20 00:00", 3, amount=500)
    rollup(db, [date(2026, 1, 19) + timedelta(days=number) for number in range(61)])
    found = demo_summary(db)
    values: dict[str, tuple[object, object]] = {
        each.kpi: (each.now, each.before) for each in found.kpis
    }
    assert found.last_day == date(2026, 3, 19) and found.rolled_up_days == 30
    assert values["orders"] == (2, 1)
    assert values["average_order_value"] == (40, 10)
    assert values["repeat_rate"] == (Decimal("0.5"), 0)
    assert values["open_rate"] == (None, None)
    text = render(found)
    assert "Orders" in text and "+100.0 %" in text and "+50.00 pt" in text
    revenue = next(line for line in text.splitlines() if line.strip().startswith("Revenue"))
    assert revenue.endswith("better")


def test_people_audiences_and_sends(db: Warehouse, facts: Facts) -> None:
    """Members by segment, sends by campaign and state; a campaign without sends is listed."""
    ensure_partitions(db, "mkt_engage.sends", date(2026, 3, 1), date(2026, 3, 1))
    facts.contact(1, "2026-03-01 10:00")
    facts.contact(2, "2026-03-01 10:00")
    db.execute("update mkt_core.contacts set lifecycle = 'customer' where contact_id = 1")
    db.execute(
        "insert into mkt_engage.segments values ('vip', '', '{}', '2026-03-01', '2026-03-01', 1, 1)"
    )
    db.execute(
        "insert into mkt_engage.sends (send_id, entered_on, enrolment_id, step_id, visit,"
        " campaign_id, version, contact_id, shard, brand, channel, via, status, due_at, tick_id)"
        " select n, '2026-03-01', n, 1, 1, campaign_id, 1, 1, 1, 'b', 'email', 'x',"
        " case when n < 3 then 'accepted' else 'skipped' end, '2026-03-01', 1"
        " from mkt_engage.campaigns, generate_series(1, 3) as n where campaign = 'welcome'"
    )
    found = demo_summary(db)
    assert (found.contacts, found.customers, found.leads) == (2, 1, 1)
    assert found.audiences == [("vip", 1)]
    assert {each.campaign: each.by_status for each in found.sends} == {
        "rescue": {},
        "welcome": {"accepted": 2, "skipped": 1},
    }
    assert "2: 1 customer, 1 lead" in render(found)


@pytest.mark.parametrize("size", [1, 1_474_321, 155_848_000])
def test_text_is_aligned_and_narrow(size: int) -> None:
    """At most 100 columns whatever the numbers, and the numbers of a column end together."""
    books = [
        StreamBooks(
            "shop_journey", name, 9, 0, size, size, size, size, size, 0, 0, 12, name != "orders"
        )
        for name in ("customers", "order_lines", "orders", "product_deletions")
    ]
    long = "a_segment_with_quite_a_long_name_for_a_table"
    text = render(
        Summary(books, size, size, 0, [(long, size)], [], [], date(2026, 3, 19), 0, "USD")
    )
    lines = text.splitlines()
    assert max(len(line) for line in lines) <= 100
    table = lines[1:6]
    assert len({len(line) for line in table}) == 1
    assert table[3].endswith("NO") and table[1].endswith("ok")
