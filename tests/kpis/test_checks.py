from __future__ import annotations

from datetime import UTC, datetime, timedelta

import psycopg
import pytest

from marketing_ops.errors import FatalError
from marketing_ops.kpis import checks, runner
from marketing_ops.kpis.checks import check_names, run_checks
from marketing_ops.warehouse import Warehouse, ensure_partitions
from marketing_ops.watch import run_check
from tests.conftest import FrozenClock
from tests.kpis.facts import Facts, at

NOW = datetime(2026, 3, 20, 16, tzinfo=UTC)


@pytest.fixture
def sound(monkeypatch: pytest.MonkeyPatch, db: Warehouse, facts: Facts) -> Warehouse:
    """A warehouse in which nothing is wrong: no stream is expected, partitions are there."""
    monkeypatch.setattr("marketing_ops.watch._expected_streams", list)
    for table in ("mkt_engage.sends", "mkt_engage.enrolment_log", "mkt_core.events"):
        ensure_partitions(db, table, NOW.date().replace(month=1), NOW.date().replace(month=5))
    return db


def line(db: Warehouse, order: int) -> None:
    """One line of an order."""
    db.execute(
        "insert into mkt_core.order_lines (account, external_id, order_id, quantity, amount, batch)"
        " values ('shop', %s, %s, 1, 10, 1)",
        (str(order), order),
    )


def test_silent_when_all_is_well(sound: Warehouse, facts: Facts) -> None:
    """Every check passes on sound data, is recorded, and opens nothing."""
    facts.contact(1, "2026-03-01 10:00")
    facts.order(1, "2026-03-18 10:00", 1)
    line(sound, 1)
    results = run_checks(sound, NOW)
    assert [result.name for result in results] == check_names()
    assert [str(result) for result in results if not result.is_ok] == []
    recorded = sound.execute("select count(*), bool_and(is_ok) from mkt_ops.check_results")
    assert recorded.fetchone() == (len(results), True)
    assert sound.execute("select count(*) from mkt_ops.incidents").fetchone() == (0,)


def test_one_incident_per_cause_until_it_is_gone(sound: Warehouse, facts: Facts) -> None:
    """A finding that lasts is one incident, seen again; it closes when the check passes."""
    facts.contact(1, "2026-03-01 10:00")
    facts.order(1, "2026-03-18 10:00", 1)
    run_checks(sound, NOW)
    run_checks(sound, NOW + timedelta(hours=1))
    open_ones = sound.execute(
        "select cause, times_seen, details -> 'subjects' from mkt_ops.incidents"
        " where closed_at is null"
    ).fetchall()
    assert len(open_ones) == 1
    assert open_ones[0][0].startswith("watch_data: orders have an amount but no lines")
    assert open_ones[0][1:] == (2, ["watch_data.orders_without_lines"])
    line(sound, 1)
    run_checks(sound, NOW + timedelta(hours=2))
    closed = sound.execute("select closed_at is not null from mkt_ops.incidents").fetchall()
    assert closed == [(True,)]


def test_orders_without_lines(sound: Warehouse, facts: Facts) -> None:
    """Not the order of the last hour, not an emptied one, not a deleted one, not an old one."""
    facts.order(1, "2026-03-18 10:00", 1)
    facts.order(2, NOW - timedelta(minutes=30), 1)
    facts.order(3, "2026-03-18 10:00", 1, gross_amount=10, current_amount=0)
    facts.order(4, "2026-03-18 10:00", 1, is_deleted=True)
    facts.order(5, "2026-01-18 10:00", 1)
    found = run_check(sound, "orders_without_lines", NOW).findings
    assert found == ["shop: 1 orders of 30 days, the first is 1"]


def test_orphaned_orders(sound: Warehouse, facts: Facts) -> None:
    """An order of a contact that does not exist is a finding; a guest's order is not."""
    facts.contact(1, "2026-03-01 10:00")
    facts.order(1, "2026-03-18 10:00", 1)
    facts.order(2, "2026-03-18 10:00", None)
    assert run_check(sound, "orphaned_orders", NOW).is_ok
    facts.order(3, "2026-03-18 10:00", 99)
    found = run_check(sound, "orphaned_orders", NOW).findings
    assert found == ["shop: 1 orders of 30 days, the first is 3"]


def test_duplicate_sends(sound: Warehouse, facts: Facts) -> None:
    """The same step of the same enrolment under two days of entry is a finding; a visit is not."""

    def send(number: int, day: str, visit: int) -> None:
        sound.execute(
            "insert into mkt_engage.sends (send_id, entered_on, enrolment_id, step_id, visit,"
            " campaign_id, version, contact_id, shard, brand, channel, via, status, due_at,"
            " tick_id) values (%s, %s, 1, 1, %s, (select campaign_id from mkt_engage.campaigns"
            " where campaign = 'welcome'), 1, 1, 1, 'b', 'email', 'x', 'accepted', %s, 1)",
            (number, day, visit, NOW),
        )

    send(1, "2026-03-01", 1)
    send(2, "2026-03-01", 2)
    assert run_check(sound, "duplicate_sends", NOW).is_ok
    send(3, "2026-03-02", 1)
    assert run_check(sound, "duplicate_sends", NOW).findings == [
        "welcome: 1 steps, the last is send 3"
    ]


def test_duplicate_memberships(sound: Warehouse) -> None:
    """Two open stays of one contact in one segment are a finding, should the key ever be lost."""
    sound.execute("drop index mkt_engage.segment_memberships_segment_contact_id_idx")
    for day, left in ((1, 2), (3, None)):
        sound.execute(
            "insert into mkt_engage.segment_memberships values ('vip', 7, %s, %s, '', false)",
            (NOW.replace(day=day), left and NOW.replace(day=left)),
        )
    assert run_check(sound, "duplicate_memberships", NOW).is_ok
    sound.execute(
        "insert into mkt_engage.segment_memberships values ('vip', 7, %s, null, '', false)", (NOW,)
    )
    assert run_check(sound, "duplicate_memberships", NOW).findings == [
        "vip: 1 contacts, the first is 7"
    ]


def test_undefined_money(sound: Warehouse, facts: Facts) -> None:
    """A day whose revenue is null is a finding until the rate is there."""
    facts.order(1, "2026-03-18 10:00", 1, currency="EUR")
    runner.rollup(sound, [at("2026-03-18 00:00").date()])
    found = run_check(sound, "undefined_money", NOW).findings
    assert found == ["revenue: 1 days of 30, the first is 2026-03-18"]
    facts.rate("EUR", "2026-03-01", 1)
    runner.rollup(sound, runner.dirty_days(sound))
    assert run_check(sound, "undefined_money", NOW).is_ok


def test_stale_kpis(sound: Warehouse, facts: Facts, frozen_clock: FrozenClock) -> None:
    """A day that stays dirty for two days is a finding: rollup_kpis does not run, or fails."""
    facts.order(1, "2026-03-10 10:00", 1)
    assert run_check(sound, "stale_kpis", NOW).is_ok
    found = run_check(sound, "stale_kpis", NOW + timedelta(days=3)).findings
    assert found == ["orders: 1 days, the first is 2026-03-10"]


def test_a_broken_check_says_so(
    sound: Warehouse, facts: Facts, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A check that Postgres refuses fails the run with its reason, and records no result."""

    def refused(*_given: object) -> None:
        raise psycopg.errors.UndefinedTable("no such table")

    monkeypatch.setattr(checks, "run_check", refused)
    with pytest.raises(FatalError, match="marketing-ops migrate"):
        run_checks(sound, NOW)
    assert sound.execute("select count(*) from mkt_ops.check_results").fetchone() == (0,)
