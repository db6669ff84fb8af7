from __future__ import annotations

import threading
from datetime import UTC, date, datetime, timedelta

import psycopg
import pytest

from marketing_ops.errors import FatalError, RetryableError
from marketing_ops.kpis import definition, runner
from marketing_ops.kpis.periods import chunks
from marketing_ops.kpis.runner import dirty_days, rollup
from marketing_ops.warehouse import Warehouse
from tests.conftest import FrozenClock
from tests.kpis.facts import Facts, at, numbers
from tests.kpis.test_golden import row, shop_week

MARTS = ("kpi_daily", "kpi_periods", "first_orders", "kpi_revisions")


def written(db: Warehouse) -> list[tuple[object, ...]]:
    """Which transaction wrote each row of the marts, and where it lies."""
    found: list[tuple[object, ...]] = []
    for table in MARTS:
        query = f"select '{table}', ctid::text, xmin::text from mkt_marts.{table}"
        found.extend(db.execute(query.encode()).fetchall())
    return sorted(found, key=str)


def revisions(db: Warehouse, kpi: str) -> list[tuple[object, ...]]:
    """(grain, date, old, new, cause) of a KPI's total."""
    return db.execute(
        "select grain, date::text, old_value, new_value, cause from mkt_marts.kpi_revisions"
        " where kpi = %s and dimension_set = 'total' order by grain, date",
        (kpi,),
    ).fetchall()


def test_rerun_writes_nothing(db: Warehouse, facts: Facts) -> None:
    """The same facts give the same numbers: a second call touches no row of any mart."""
    shop_week(facts)
    days = [date(2026, 3, 3), date(2026, 3, 10)]
    first = rollup(db, days)
    before = written(db)
    again = rollup(db, days)
    assert first.rows > 0 and (again.rows, again.revisions) == (0, 0)
    assert written(db) == before


def test_a_day_without_facts_is_a_measured_zero(db: Warehouse, facts: Facts) -> None:
    """Counts are 0, shares of nothing are null: never 0, never an error."""
    rollup(db, [date(2026, 3, 10)])
    assert numbers(db, "orders", "2026-03-10") == row(0)
    assert numbers(db, "revenue", "2026-03-10") == row(0)
    for kpi in ("average_order_value", "repeat_rate", "open_rate", "unsubscribe_rate"):
        assert numbers(db, kpi, "2026-03-10") == row(0, 0), kpi
    assert numbers(db, "cart_abandonment_rate", "2026-03-10") == row(0, 0)
    assert numbers(db, "orders", "2026-03-10", campaign=None) is None


@pytest.mark.parametrize(
    ("day", "first", "last", "hours"),
    [
        ("2026-03-08", "2026-03-08T05:00Z", "2026-03-09T04:00Z", 23),
        ("2026-11-01", "2026-11-01T04:00Z", "2026-11-02T05:00Z", 25),
    ],
)
def test_days_of_23_and_25_hours(
    db: Warehouse,
    facts: Facts,
    frozen_clock: FrozenClock,
    day: str,
    first: str,
    last: str,
    hours: int,
) -> None:
    """A day begins at its own midnight and ends at the next: an order an hour counts once."""
    frozen_clock.move(datetime(2026, 12, 1, tzinfo=UTC))
    start, end = datetime.fromisoformat(first), datetime.fromisoformat(last)
    moment, number = start - timedelta(hours=1), 0
    while moment <= end:
        number += 1
        facts.order(number, moment)
        moment += timedelta(hours=1)
    rollup(db, [date.fromisoformat(day)])
    assert numbers(db, "orders", day) == row(hours)


def test_boundary_instants_belong_to_the_day_they_begin(db: Warehouse, facts: Facts) -> None:
    """Midnight opens a day; the microsecond before it closes the day, week and month before."""
    facts.order(1, at("2026-03-01 00:00"))
    facts.order(2, at("2026-03-01 00:00") - timedelta(microseconds=1))
    rollup(db, [date(2026, 2, 28), date(2026, 3, 1)])
    assert numbers(db, "orders", "2026-02-28") == row(1)
    assert numbers(db, "orders", "2026-03-01") == row(1)
    assert numbers(db, "orders", "2026-02-01", grain="month") == row(1)
    assert numbers(db, "orders", "2026-03-01", grain="month") == row(1)
    assert numbers(db, "orders", "2026-02-23", grain="week") == row(2)


def test_money_without_a_rate_is_undefined_and_comes_with_the_rate(
    db: Warehouse, facts: Facts
) -> None:
    """One order without a rate makes revenue null, not too small; the rate restates its days."""
    facts.order(1, "2026-03-10 10:00", amount=100)
    facts.order(2, "2026-03-10 11:00", amount=50, currency="EUR")
    rollup(db, [date(2026, 3, 10)])
    assert numbers(db, "orders", "2026-03-10") == row(2)
    assert numbers(db, "revenue", "2026-03-10") == row(None)
    assert numbers(db, "average_order_value", "2026-03-10") == row(None, 2)
    facts.rate("EUR", "2026-03-01", "1.1")
    assert dirty_days(db) == [date(2026, 3, 10)]
    rollup(db, dirty_days(db))
    assert numbers(db, "revenue", "2026-03-10") == row(155)


def test_the_rate_is_the_latest_not_after_the_order(db: Warehouse, facts: Facts) -> None:
    """A later rate is not used, and correcting one touches only the days it holds for."""
    facts.rate("EUR", "2026-03-01", 2)
    facts.rate("EUR", "2026-03-11", 3)
    facts.order(1, "2026-03-10 10:00", amount=10, currency="EUR")
    facts.order(2, "2026-03-11 10:00", amount=10, currency="EUR")
    rollup(db, [date(2026, 3, 10), date(2026, 3, 11)])
    assert numbers(db, "revenue", "2026-03-10") == row(20)
    assert numbers(db, "revenue", "2026-03-11") == row(30)
    facts.rate("EUR", "2026-03-11", 4)
    assert dirty_days(db) == [date(2026, 3, 11)]


def test_a_refund_months_later_restates_the_orders_day(db: Warehouse, facts: Facts) -> None:
    """Revenue falls on the order's day, gross revenue stays, the refund stands on its own day."""
    facts.order(1, "2025-12-05 10:00", amount=100)
    rollup(db, [date(2025, 12, 5)])
    facts.order(1, "2025-12-05 10:00", gross_amount=100, current_amount=-20)
    facts.refund(1, 1, "2026-03-10 10:00", 120)
    assert dirty_days(db) == [date(2025, 12, 5), date(2026, 3, 10)]
    rollup(db, dirty_days(db))
    assert numbers(db, "revenue", "2025-12-05") == row(-20)
    assert numbers(db, "gross_revenue", "2025-12-05") == row(100)
    assert numbers(db, "refunded_amount", "2026-03-10") == row(120)
    assert revisions(db, "revenue") == [
        ("day", "2025-12-05", 100, -20, "late data"),
        ("month", "2025-12-01", 100, -20, "late data"),
        ("week", "2025-12-01", 100, -20, "late data"),
    ]


def test_first_numbers_and_open_periods_revise_nothing(
    db: Warehouse, facts: Facts, frozen_clock: FrozenClock
) -> None:
    """Only a number of a period that was over can be revised: not March while it lasts."""
    facts.order(1, "2026-03-10 10:00")
    rollup(db, [date(2026, 3, 10)])
    assert revisions(db, "orders") == []
    facts.order(2, "2026-03-10 11:00")
    rollup(db, [date(2026, 3, 10)])
    assert [(each[0], each[4]) for each in revisions(db, "orders")] == [
        ("day", "late data"),
        ("week", "late data"),
    ]


def test_the_cause_of_a_revision(
    db: Warehouse, facts: Facts, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Facts that came without a mark were found by a backfill; another definition says so."""
    facts.order(1, "2026-03-10 10:00")
    facts.order(2, "2026-03-10 11:00")
    rollup(db, [date(2026, 3, 10)])
    db.execute("update mkt_core.orders set is_test = true where order_id = 2")
    rollup(db, [date(2026, 3, 10)])
    assert revisions(db, "orders")[0] == ("day", "2026-03-10", 2, 1, "backfill")
    hashes = definition.definition_hashes
    monkeypatch.setattr(
        definition,
        "definition_hashes",
        lambda *given: {group: f"{text}x" for group, text in hashes(*given).items()},
    )
    db.execute("update mkt_core.orders set is_test = false")
    rollup(db, [date(2026, 3, 10)])
    assert ("day", "2026-03-10", 1, 2, "definition") in revisions(db, "orders")


def test_a_late_first_order_restates_the_day_that_looked_first(db: Warehouse, facts: Facts) -> None:
    """Who is new on the 10th depends on the 3rd: both days are right after one call."""
    facts.order(1, "2026-03-10 10:00", 1)
    rollup(db, [date(2026, 3, 3), date(2026, 3, 10)])
    assert numbers(db, "new_customers", "2026-03-10") == row(1)
    facts.order(2, "2026-03-03 10:00", 1)
    assert dirty_days(db) == [date(2026, 3, 3)]
    report = rollup(db, [date(2026, 3, 3)])
    assert report.days == 2
    assert numbers(db, "new_customers", "2026-03-03") == row(1)
    assert numbers(db, "new_customers", "2026-03-10") == row(0)
    assert numbers(db, "repeat_rate", "2026-03-10") == row(1, 1, 1)
    assert dirty_days(db) == []


def test_a_merge_restates_the_days_of_both(db: Warehouse, facts: Facts) -> None:
    """Two contacts become one person: the second one's first order was not a new customer's."""
    facts.contact(1, "2026-03-03 10:00")
    facts.contact(2, "2026-03-10 10:00")
    facts.order(1, "2026-03-03 10:00", 1)
    facts.order(2, "2026-03-10 10:00", 2)
    days = [date(2026, 3, 3), date(2026, 3, 10)]
    rollup(db, days)
    assert numbers(db, "new_customers", "2026-03-10") == row(1)
    facts.merge(2, 1)
    assert dirty_days(db) == days
    rollup(db, dirty_days(db))
    assert numbers(db, "new_customers", "2026-03-10") == row(0)
    assert numbers(db, "new_contacts", "2026-03-10") == row(0)


def test_a_move_restates_orders_since_the_move_only(db: Warehouse, facts: Facts) -> None:
    """Region is where the contact lived when it ordered; a late move reaches back to its date."""
    facts.home(1, "2026-01-01 00:00", "OH")
    facts.order(1, "2026-03-03 10:00", 1)
    facts.order(2, "2026-03-10 10:00", 1)
    rollup(db, [date(2026, 3, 3), date(2026, 3, 10)])
    facts.home(1, "2026-03-05 00:00", "TX")
    assert dirty_days(db) == [date(2026, 3, 10)]
    rollup(db, dirty_days(db))
    assert numbers(db, "orders", "2026-03-03", country="US", region="OH") == row(1)
    assert numbers(db, "orders", "2026-03-10", country="US", region="OH") is None
    assert numbers(db, "orders", "2026-03-10", country="US", region="TX") == row(1)


def test_a_conversion_dirties_its_day(db: Warehouse, facts: Facts) -> None:
    """The tick names no day: the day of the goal is found, and its old day when it moves."""
    rollup(db, [date(2026, 3, 9), date(2026, 3, 10)])
    facts.conversion(1, None)
    assert dirty_days(db) == []
    facts.conversion(1, at("2026-03-09 23:59"))
    assert dirty_days(db) == [date(2026, 3, 9)]
    facts.conversion(1, at("2026-03-10 00:00"))
    assert dirty_days(db) == [date(2026, 3, 9), date(2026, 3, 10)]
    rollup(db, dirty_days(db))
    assert numbers(db, "conversions", "2026-03-10") == row(1)
    assert dirty_days(db) == []


def test_only_days_recomputed_become_clean(db: Warehouse, facts: Facts) -> None:
    """A day that was not asked for stays dirty, and is listed until it is."""
    facts.order(1, "2026-03-03 10:00")
    facts.order(2, "2026-03-10 10:00", 2)
    rollup(db, [date(2026, 3, 3)])
    assert dirty_days(db) == [date(2026, 3, 10)]


def test_a_day_marked_while_it_is_computed_stays_dirty(
    db: Warehouse, facts: Facts, warehouse_uri: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A fact that arrives after the facts were read is not forgotten: its mark survives."""
    facts.order(1, "2026-03-10 10:00")
    compute = runner._compute

    def compute_then_learn(*given: object) -> None:
        compute(*given)  # type: ignore[arg-type]
        with psycopg.connect(warehouse_uri, autocommit=True) as other:
            late = Facts.__new__(Facts)
            late.db = other
            late.order(2, "2026-03-10 11:00")

    monkeypatch.setattr(runner, "_compute", compute_then_learn)
    rollup(db, [date(2026, 3, 10)])
    monkeypatch.undo()
    assert numbers(db, "orders", "2026-03-10") == row(1)
    monkeypatch.setattr("marketing_ops.clock.now", lambda: datetime(2026, 3, 20, tzinfo=UTC))
    assert dirty_days(db) == [date(2026, 3, 10)]


def test_a_killed_rollup_leaves_the_day_dirty_and_the_numbers_whole(
    db: Warehouse, facts: Facts, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Numbers, memory and marks commit together: after a failure nothing of them changed."""
    facts.order(1, "2026-03-10 10:00")
    rollup(db, [date(2026, 3, 10)])
    facts.order(2, "2026-03-10 11:00", 2)
    before = written(db)

    def fail(*_given: object) -> None:
        raise psycopg.errors.DiskFull("full")

    monkeypatch.setattr(runner, "_compute", fail)
    with pytest.raises(RetryableError, match="disk space"):
        rollup(db, [date(2026, 3, 10)])
    monkeypatch.undo()
    assert written(db) == before


@pytest.mark.parametrize(
    "name", ["kpi:day:2026-03-10", "kpi:week:2026-03-09", "kpi:month:2026-03-01"]
)
def test_waits_for_whoever_writes_one_of_its_periods(
    db: Warehouse, facts: Facts, warehouse_uri: str, name: str
) -> None:
    """Each period is written under its own lock: a call that may not wait is told to come back."""
    with psycopg.connect(warehouse_uri) as other:
        other.execute("select pg_advisory_xact_lock(hashtextextended(%s, 0))", (name,))
        db.execute("set lock_timeout = '50ms'")
        with pytest.raises(RetryableError, match="55P03"):
            rollup(db, [date(2026, 3, 10)])
        rollup(db, [date(2026, 2, 10)])
    rollup(db, [date(2026, 3, 10)])


def test_two_rollups_at_once_give_the_numbers_of_one(
    db: Warehouse, facts: Facts, warehouse_uri: str
) -> None:
    """Parallel backfills of overlapping days wait for each other instead of failing."""
    days = [date(2026, 3, 1) + timedelta(days=number) for number in range(15)]
    for number in range(60):
        facts.order(number, at("2026-03-01 10:00") + timedelta(hours=6 * number), number % 7)
    failures: list[BaseException] = []

    def work(own: list[date]) -> None:
        try:
            with psycopg.connect(warehouse_uri, autocommit=True) as own_connection:
                for day in own:
                    rollup(own_connection, [day])
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=work, args=(part,)) for part in (days, days[::-1])]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failures
    assert rollup(db, days).rows == 0


def test_days_after_today_are_left_out(db: Warehouse, facts: Facts) -> None:
    """A clock in the future makes no numbers for days that have not come."""
    facts.order(1, "2026-04-10 10:00")
    lines: list[str] = []
    report = rollup(db, [date(2026, 4, 10)], report=lines.append)
    assert report.days == 0 and "1 days lie in the future" in lines[0]
    assert dirty_days(db) == []


def test_distant_days_do_not_share_a_scan_and_a_year_does() -> None:
    """A late day of last year costs its own month, not the year between."""
    year = [date(2025, 3, 20) + timedelta(days=number) for number in range(365)]
    assert [len(chunk.days) for chunk in chunks(year, "America/New_York")] == [365]
    apart = chunks([date(2025, 1, 15), date(2026, 3, 10)], "America/New_York")
    assert [(chunk.first_day, len(chunk.periods)) for chunk in apart] == [
        (date(2025, 1, 1), 3),
        (date(2026, 3, 1), 3),
    ]
    years = [date(2020, 1, 15) + timedelta(days=number) for number in range(1000)]
    cut = chunks(years, "America/New_York")
    assert sum(len(chunk.days) for chunk in cut) == 1000
    assert all(chunk.days[0].day == 1 for chunk in cut[1:])


def test_no_usable_kpi_is_an_error(
    db: Warehouse, facts: Facts, tmp_path: object, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An empty or broken catalogue fails the task and names the command that explains it."""
    monkeypatch.setattr(definition, "load_all", lambda: ({}, []))
    with pytest.raises(FatalError, match="marketing-ops lint"):
        rollup(db, [date(2026, 3, 10)])
