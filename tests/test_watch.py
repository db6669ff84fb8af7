"""The checks of include/sql/checks: what each finds, and what it leaves alone."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from marketing_ops import maintenance, watch
from marketing_ops.paths import include_root
from marketing_ops.warehouse import Warehouse
from marketing_ops.watch import run_check

NOW = datetime(2026, 3, 2, 12, tzinfo=UTC)
NAMES = sorted(path.stem for path in (include_root() / "sql" / "checks").glob("*.sql"))


def sync_run(db: Warehouse, stream: str, hours_ago: float, **changes: Any) -> None:
    """A run of a stream of shop_journey that started `hours_ago`."""
    started = NOW - timedelta(hours=hours_ago)
    values = {
        "account": "shop_journey",
        "system": "shopify",
        "stream": stream,
        "kind": "incremental",
        "is_baseline": False,
        "status": "success",
        "started_at": started,
        "finished_at": started,
        "unified_batch": 1,
    } | changes
    columns = ", ".join(values)
    marks = ", ".join(["%s"] * len(values))
    db.execute(
        f"insert into mkt_ops.sync_runs ({columns}) values ({marks})".encode(),
        list(values.values()),
    )


def campaign(db: Warehouse, state: str = "live") -> int:
    """A campaign in this state; its id."""
    row = db.execute(
        "insert into mkt_engage.campaigns (campaign, brand, state, state_changed_at,"
        " state_changed_by) values ('welcome', 'journey', %s, %s, 'test') returning campaign_id",
        (state, NOW),
    ).fetchone()
    assert row is not None
    return int(row[0])


def send(db: Warehouse, status: str, hours_ago: float) -> None:
    """A send of the campaign through smtp_journey that was due `hours_ago`."""
    maintenance.make_partitions(db, NOW)
    at = NOW - timedelta(hours=hours_ago)
    db.execute(
        "insert into mkt_engage.sends (send_id, entered_on, enrolment_id, step_id, visit,"
        " campaign_id, version, contact_id, shard, brand, channel, via, status, due_at,"
        " in_flight_at, tick_id) values (202603000000000001, '2026-03-02', 1, 1, 1, %s, 1, 1, 1,"
        " 'journey', 'email', 'smtp_journey', %s, %s, %s, 1)",
        (campaign(db), status, at, at),
    )


def mode(db: Warehouse, value: str) -> None:
    """The sending mode of smtp_journey."""
    db.execute(
        "insert into mkt_ops.sending_modes (account, mode, actor, changed_at)"
        " values ('smtp_journey', %s, 'test', %s)",
        (value, NOW),
    )


@pytest.mark.parametrize("name", NAMES)
def test_check_says_what_it_means(name: str) -> None:
    """Every check's header has the sentence that on-call reads."""
    text = (include_root() / "sql" / "checks" / f"{name}.sql").read_text(encoding="utf-8")
    assert text.startswith("-- says: ")


def test_result_is_recorded_once_an_instant(db: Warehouse) -> None:
    """A rerun at the same instant replaces the result."""
    for _ in range(2):
        run_check(db, "idle_tick", NOW)
    rows = db.execute("select check_name, is_ok, failing_rows from mkt_ops.check_results")
    assert rows.fetchall() == [("idle_tick", True, 0)]


def test_stale_streams(db: Warehouse) -> None:
    """An hourly stream may be 3 hours old, a daily one 30; backfills and failures do not count.
    The streams of the other accounts were never read, and are named too.
    """
    sync_run(db, "orders", 2.9)
    sync_run(db, "customers", 3.1)
    sync_run(db, "customers", 1, kind="backfill")
    sync_run(db, "checkouts", 1, status="failed")
    sync_run(db, "products", 29)
    sync_run(db, "product_deletions", 31)
    found = run_check(db, "stale_streams", NOW).findings
    own = [finding for finding in found if finding.startswith("shop_journey.")]
    assert [finding.split(":")[0] for finding in own] == [
        "shop_journey.checkouts",
        "shop_journey.customers",
        "shop_journey.product_deletions",
    ]
    assert own[0] == "shop_journey.checkouts: never read"
    assert "hubspot_journey.contacts: never read" in found


def test_unbalanced_books(db: Warehouse) -> None:
    """Fetched has to equal what was booked, in every successful run of the last two days."""
    sync_run(db, "orders", 1, fetched=10, inserted=4, unchanged=5, rejected=1)
    sync_run(db, "customers", 1, fetched=10, inserted=9)
    sync_run(db, "products", 49, fetched=10)
    found = run_check(db, "unbalanced_books", NOW).findings
    assert len(found) == 1
    assert found[0].startswith("shop_journey.customers: run ")


def test_waiting_runs(db: Warehouse) -> None:
    """A run that no batch took over for three hours is a finding, one for each account."""
    sync_run(db, "orders", 2.9, unified_batch=None)
    assert run_check(db, "waiting_runs", NOW).is_ok
    sync_run(db, "orders", 3.1, unified_batch=None)
    sync_run(db, "customers", 5, unified_batch=None)
    assert run_check(db, "waiting_runs", NOW).findings == [
        "shop_journey: 2 runs wait since 2026-03-02 07:00 UTC"
    ]


def test_unknown_sends(db: Warehouse) -> None:
    """Sends in doubt are shown for a day, by campaign, without saying to whom."""
    send(db, "unknown", 2)
    (finding,) = run_check(db, "unknown_sends", NOW).findings
    assert finding == "welcome: 1 of 2026-03-02, the first is send 202603000000000001"
    assert run_check(db, "unknown_sends", NOW + timedelta(days=1)).is_ok


@pytest.mark.parametrize(
    ("hours", "sending", "is_stopped", "is_ok"),
    [
        (2, "live", False, False),
        (0.5, "live", False, True),
        (2, "off", False, True),
        (2, "live", True, True),
    ],
)
def test_stuck_sends(
    db: Warehouse, hours: float, sending: str, is_stopped: bool, is_ok: bool
) -> None:
    """Due for an hour, sending on and not stopped by a person: then it is stuck."""
    send(db, "claimed", hours)
    mode(db, sending)
    if is_stopped:
        db.execute("insert into mkt_ops.stop_switch values ('journey', true, 'test', '', now())")
    assert run_check(db, "stuck_sends", NOW).is_ok is is_ok


def test_idle_tick(db: Warehouse) -> None:
    """No tick for 20 minutes is a finding while a campaign is live for as long, and only then."""
    assert run_check(db, "idle_tick", NOW).is_ok
    campaign(db)
    assert run_check(db, "idle_tick", NOW).is_ok
    later = NOW + timedelta(minutes=21)
    assert run_check(db, "idle_tick", later).findings == ["run_campaigns: never ran"]
    db.execute(
        "insert into mkt_ops.ticks (tick_at, batch, definitions_hash) values (%s, 1, 'x')",
        (later - timedelta(minutes=19),),
    )
    assert run_check(db, "idle_tick", later).is_ok
    assert not run_check(db, "idle_tick", later + timedelta(minutes=2)).is_ok


def test_stopped_entries(db: Warehouse) -> None:
    """A guard that stopped a campaign's entries is a finding until somebody resumes or stops it."""
    campaign(db)
    assert run_check(db, "stopped_entries", NOW).is_ok
    db.execute("update mkt_engage.campaigns set entries_stopped_at = %s", (NOW,))
    (finding,) = run_check(db, "stopped_entries", NOW).findings
    assert finding == "welcome: since 2026-03-02 12:00 UTC; `resume` goes on"
    db.execute("update mkt_engage.campaigns set state = 'stopped'")
    assert run_check(db, "stopped_entries", NOW).is_ok


def test_partitions_are_missed_and_made(db: Warehouse) -> None:
    """Maintenance makes this and the next three months of each table; a rerun makes none."""
    assert len(run_check(db, "missing_partitions", NOW).findings) >= 3
    made = maintenance.make_partitions(db, NOW)
    assert all(count <= 4 for count in made.values())
    assert set(made) == {"mkt_core.events", "mkt_engage.sends", "mkt_engage.enrolment_log"}
    assert run_check(db, "missing_partitions", NOW).is_ok
    assert run_check(db, "missing_partitions", NOW + timedelta(days=80)).is_ok
    assert not any(maintenance.make_partitions(db, NOW).values())


def test_result_reads_well() -> None:
    """One sentence with at most five findings, and how many more there are."""
    result = watch.CheckResult("x", "streams are late", [f"s{n}: old" for n in range(7)])
    assert str(result) == (
        "streams are late: s0: old; s1: old; s2: old; s3: old; s4: old; and 2 more"
    )
