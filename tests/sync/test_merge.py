"""Merging: what is newer wins, what is equal is not written, and each record is counted once."""

from __future__ import annotations

import threading
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import psycopg
import pytest

from marketing_ops.errors import FatalError
from marketing_ops.sync import engine, store
from marketing_ops.warehouse import Warehouse
from marketing_ops.window import Window
from tests.conftest import FrozenClock
from tests.sync.conftest import Sync
from tests.sync.fakeshop import FakeShop, customer, line, order, product

NOON = datetime(2026, 3, 2, 12, tzinfo=UTC)
DAY = timedelta(days=1)
HOUR = timedelta(hours=1)
Rows = Callable[..., list[dict[str, Any]]]


@pytest.fixture(params=["few", "staged"])
def way(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Small batches go as one parameter, large ones through COPY: both obey the same rules."""
    if request.param == "staged":
        monkeypatch.setattr(store, "FEW_ROWS", 0)
    return str(request.param)


def test_older_versions_are_stale(
    sync: Sync, shop: FakeShop, rows: Rows, frozen_clock: FrozenClock, way: str
) -> None:
    """A backfill that shows an older version of an order changes neither it nor its lines."""
    shop.records["orders"] = [order(1, NOON - HOUR, [line(1), line(2)])]
    sync("orders")
    shop.records["orders"] = [order(1, NOON - DAY, [line(1, title="old")], name="old")]
    report = sync("orders", kind="backfill", window=Window(NOON - 2 * DAY, NOON))
    assert report.counts["orders"]["stale"] == 1
    assert report.counts["order_lines"]["stale"] == 1
    assert report.counts["order_lines"]["tombstoned"] == 0
    assert rows("orders")[0]["name"] == "#1"
    assert [row["title"] for row in rows("order_lines")] == ["A title", "A title"]


def test_equal_time_and_other_content_wins(
    sync: Sync, shop: FakeShop, rows: Rows, way: str
) -> None:
    """Two changes within one second: the one that is read later is kept."""
    shop.records["customers"] = [customer(1, NOON - HOUR)]
    sync("customers")
    shop.records["customers"] = [customer(1, NOON - HOUR, firstName="Later")]
    window = Window(NOON - DAY, NOON)
    assert sync("customers", kind="backfill", window=window).counts["customers"]["updated"] == 1
    assert rows("customers")[0]["first_name"] == "Later"


def test_record_twice_in_a_batch_is_one_row(
    sync: Sync, shop: FakeShop, rows: Rows, way: str
) -> None:
    """The newest of the versions stays with its lines; the others are duplicates."""
    shop.records["orders"] = [
        order(1, NOON - 3 * HOUR, [line(1), line(2)], name="first"),
        order(1, NOON - 1 * HOUR, [line(2), line(3)], name="newest"),
        order(1, NOON - 2 * HOUR, [line(1), line(4)], name="middle"),
        order(2, NOON - 1 * HOUR, [line(5)]),
    ]
    report = sync("orders", kind="backfill", window=Window(NOON - DAY, NOON))
    assert report.counts["orders"]["duplicates"] == 2
    assert report.counts["order_lines"]["duplicates"] == 4
    assert report.balanced
    assert [row["name"] for row in rows("orders")] == ["newest", "#2"]
    assert [row["id"] for row in rows("order_lines")] == ["2", "3", "5"]


def test_unchanged_rows_are_not_written(
    sync: Sync, shop: FakeShop, db: Warehouse, frozen_clock: FrozenClock, way: str
) -> None:
    """Reading 2,000 customers again writes no row: at most some kilobytes of log for the books."""
    shop.records["customers"] = [customer(n, NOON - HOUR) for n in range(2000)]
    sync("customers")
    window = Window(NOON - DAY, NOON)
    sync("customers", kind="backfill", window=window)
    before = db.execute("select pg_current_wal_insert_lsn()").fetchone()
    assert before is not None
    report = sync("customers", kind="backfill", window=window)
    assert report.counts["customers"]["unchanged"] == 2000
    (written,) = db.execute(  # type: ignore[misc]
        "select pg_wal_lsn_diff(pg_current_wal_insert_lsn(), %s)", before
    ).fetchone()
    assert written < 150_000  # with full-page images; 2,000 rows written would be over 1 MB
    runs = db.execute("select count(distinct sync_run_id) from mkt_raw.shopify__customers")
    assert runs.fetchone() == (1,)


def test_deleted_row_comes_back(
    sync: Sync, shop: FakeShop, rows: Rows, db: Warehouse, frozen_clock: FrozenClock, way: str
) -> None:
    """The same content after a tombstone is a change: the row lives again."""
    shop.records["products"] = [product(1, NOON - HOUR)]
    sync("products")
    db.execute("update mkt_raw.shopify__products set is_deleted = true")
    window = Window(NOON - DAY, NOON)
    assert sync("products", kind="backfill", window=window).counts["products"]["updated"] == 1
    assert rows("products")[0]["is_deleted"] is False


def test_cursor_is_the_newest_time_minus_the_overlap(
    sync: Sync, shop: FakeShop, db: Warehouse, frozen_clock: FrozenClock
) -> None:
    """It never comes from a clock, and a row of the same second that shows up later is found."""
    shop.records["orders"] = [order(1, NOON - HOUR, [])]
    sync("orders")
    cursor = db.execute("select cursor_at from mkt_ops.sync_cursors").fetchone()
    assert cursor == (NOON - HOUR - timedelta(minutes=5),)
    shop.records["orders"].append(order(2, NOON - HOUR, []))
    frozen_clock.move(NOON + HOUR)
    assert sync("orders").counts["orders"]["inserted"] == 1
    assert db.execute("select cursor_at from mkt_ops.sync_cursors").fetchone() == cursor


def test_backfill_beside_a_writer_waits_for_it(
    sync: Sync, shop: FakeShop, db: Warehouse, warehouse_uri: str, rows: Rows
) -> None:
    """One writer per account and stream: a second one merges after the first has committed."""
    shop.records["customers"] = [customer(1, NOON - HOUR)]
    done: list[int] = []

    def later() -> None:
        report = sync("customers", kind="backfill", window=Window(NOON - DAY, NOON))
        done.append(report.counts["customers"]["inserted"])

    with psycopg.connect(warehouse_uri) as other:
        other.execute(
            "select pg_advisory_xact_lock(hashtextextended('sync:shop_journey:customers', 0))"
        )
        thread = threading.Thread(target=later)
        thread.start()
        thread.join(timeout=0.5)
        assert thread.is_alive()
        assert not done
        other.rollback()
    thread.join(timeout=10)
    assert done == [1]


def test_initial_load_meets_a_row_that_is_there(
    sync: Sync, shop: FakeShop, rows: Rows, db: Warehouse, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A backfill that came first leaves rows: the load merges with them instead of failing."""
    monkeypatch.setattr(store, "FEW_ROWS", 0)
    monkeypatch.setattr(engine, "BATCH_ROWS", 10)
    shop.records["customers"] = [customer(n, NOON - n * HOUR) for n in range(40)]
    sync("customers", kind="backfill", window=Window(NOON - 5 * HOUR, NOON + HOUR))
    report = sync("customers")
    assert report.counts["customers"]["unchanged"] == 6
    assert report.counts["customers"]["inserted"] == 34
    assert len(rows("customers")) == 40


def test_row_that_appears_during_a_fresh_load(
    sync: Sync, shop: FakeShop, rows: Rows, db: Warehouse, monkeypatch: pytest.MonkeyPatch
) -> None:
    """COPY straight into an empty table meets a key that another run wrote: it merges instead."""
    monkeypatch.setattr(store, "FEW_ROWS", 0)
    original = store._Merger._copy_direct

    def meet(self: Any) -> bool:
        columns = "account, id, row_hash, source_updated_at, loaded_at, sync_run_id"
        db.execute(
            f"insert into mkt_raw.shopify__customers ({columns})"
            " values ('shop_journey', '3', '\\x00', %s, %s, 1)",
            (NOON - 2 * DAY, NOON),
        )
        return original(self)

    monkeypatch.setattr(store._Merger, "_copy_direct", meet)
    shop.records["customers"] = [customer(n, NOON - DAY) for n in range(5)]
    report = sync("customers")
    assert report.counts["customers"]["inserted"] == 4
    assert report.counts["customers"]["updated"] == 1


def test_books_stand_in_the_warehouse(
    sync: Sync, shop: FakeShop, db: Warehouse, frozen_clock: FrozenClock
) -> None:
    """Each stream of the family has its row: kind, baseline, window, source count, outcome."""
    shop.records["orders"] = [order(1, NOON - HOUR, [line(1), line(2)])]
    sync("orders")
    sync("orders", kind="backfill", window=Window(NOON - DAY, NOON))
    found = db.execute(
        "select stream, kind, is_baseline, status, source_count, inserted, window_start"
        " from mkt_ops.sync_runs where stream <> 'refunds' order by sync_run_id"
    ).fetchall()
    assert found == [
        ("orders", "initial", True, "success", 1, 1, None),
        ("order_lines", "initial", True, "success", 2, 2, None),
        ("orders", "backfill", True, "success", None, 0, NOON - DAY),
        ("order_lines", "backfill", True, "success", None, 0, NOON - DAY),
    ]


def test_run_of_a_gone_session_is_marked_and_a_living_one_is_not(
    sync: Sync, shop: FakeShop, db: Warehouse, warehouse_uri: str
) -> None:
    """`running` is believed only while somebody holds the run's lock."""
    insert = (
        "insert into mkt_ops.sync_runs (account, system, stream, kind, is_baseline, status,"
        " started_at) values ('shop_journey', 'shopify', 'customers', 'backfill', true, 'running',"
        " '2026-01-01') returning sync_run_id"
    )
    (dead,), (alive,) = db.execute(insert).fetchone(), db.execute(insert).fetchone()  # type: ignore[misc]
    with psycopg.connect(warehouse_uri) as other:
        key = f"sync_run:{alive}"
        other.execute("select pg_advisory_lock(hashtextextended(%s, 0))", (key,))
        sync("customers")
    query = "select sync_run_id, status from mkt_ops.sync_runs"
    status: dict[int, str] = dict(db.execute(query).fetchall())
    assert (status[dead], status[alive]) == ("failed", "running")


def test_long_reads_are_split_into_sequences(
    sync: Sync, shop: FakeShop, rows: Rows, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Shopify stops paging at 25,000 objects: a new sequence starts before that, in each order;
    where its filter cannot tell the records apart, the run says so instead of losing some.
    """
    from marketing_ops.sources.shopify import pages

    monkeypatch.setattr(pages, "_LONGEST_SEQUENCE", 250)
    shop.records["customers"] = [customer(n, NOON - timedelta(minutes=10 * n)) for n in range(900)]
    shop.records["orders"] = [order(n, NOON - timedelta(seconds=n), []) for n in range(400)]
    window = Window(NOON - 9 * DAY, NOON + HOUR)
    assert sync("customers", kind="backfill", window=window).balanced
    assert sync("orders", kind="backfill", window=Window(NOON - DAY, NOON + HOUR)).balanced
    assert len(rows("customers")) == 900
    assert len(rows("orders")) == 400
    shop.records["customers"] = [customer(n, NOON) for n in range(900)]
    with pytest.raises(FatalError, match="more than 250 customers changed in one moment"):
        sync("customers", kind="backfill", window=window)


def test_error_while_storing_stops_the_fetcher(
    sync: Sync, shop: FakeShop, db: Warehouse, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A failing loader ends the run at once; no thread of the run is left."""
    monkeypatch.setattr(engine, "BATCH_ROWS", 50)
    shop.records["customers"] = [customer(n, NOON - HOUR) for n in range(3000)]

    def fail(*_: Any) -> None:
        raise FatalError("no")

    monkeypatch.setattr(store.Store, "_write_books", fail)
    with pytest.raises(FatalError, match=r"^no$"):
        sync("customers", kind="backfill", window=Window(NOON - DAY, NOON))
    assert not [t for t in threading.enumerate() if t.name.startswith("sync-")]
