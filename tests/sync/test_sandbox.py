"""Every stream against the sandbox, from the first load over its changes to its truth."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any

import pytest

from marketing_ops import clock
from marketing_ops.connections import Connection
from marketing_ops.sync.runner import SyncReport, sync_stream
from marketing_ops.warehouse import Warehouse
from marketing_ops.window import Window
from tests.sandbox_fixtures import SandboxServer

STREAMS = ("customers", "orders", "products", "checkouts", "product_deletions")
Run = Callable[..., SyncReport]


@pytest.fixture
def run(db: Warehouse, sandbox_at: SandboxServer) -> Run:
    """Syncs one stream of the sandbox's shop at the held clock."""
    connection = Connection("shop_journey", host=sandbox_at.shop_url, password=sandbox_at.token)

    def sync(stream: str, **options: Any) -> SyncReport:
        now = clock.now()
        window = options.pop("window", None) or Window(now, now)
        return sync_stream(
            db, "shop_journey", stream, window, resolve=lambda _: connection, **options
        )

    return sync


def facts(db: Warehouse, stream: str) -> list[tuple[Any, ...]]:
    """The raw table in the terms of the sandbox's truth (a line shows no product that is gone)."""
    queries = {
        "customers": "select id, updated_at, email, number_of_orders, (amount_spent * 100)::bigint"
        " from mkt_raw.shopify__customers",
        "orders": "select id, updated_at, customer_id, (total_amount * 100)::bigint,"
        " cancelled_at is not null from mkt_raw.shopify__orders",
        "order_lines": "select id, order_id, quantity, (amount * 100)::bigint"
        " from mkt_raw.shopify__order_lines",
        "refunds": "select id, order_id, created_at, (amount * 100)::bigint"
        " from mkt_raw.shopify__refunds",
        "products": "select id, updated_at, title, stock from mkt_raw.shopify__products",
        "checkouts": "select id, updated_at, customer_id, completed_at is not null,"
        " jsonb_array_length(lines) from mkt_raw.shopify__checkouts",
    }
    return sorted(db.execute(f"{queries[stream]} where not is_deleted"), key=lambda row: row[0])


def truth(server: SandboxServer, stream: str) -> list[tuple[Any, ...]]:
    keys = {
        "customers": ("id", "updated_at", "email", "orders", "spent"),
        "orders": ("id", "updated_at", "customer_id", "total", "is_cancelled"),
        "order_lines": ("id", "order_id", "quantity", "amount"),
        "refunds": ("id", "order_id", "created_at", "amount"),
        "products": ("id", "updated_at", "title", "stock"),
        "checkouts": ("id", "updated_at", "customer_id", "is_completed", "lines"),
    }[stream]
    rows = [tuple(_value(key, row[key]) for key in keys) for row in server.truth(stream)]
    return sorted(rows, key=lambda row: row[0])


def _value(key: str, value: Any) -> Any:
    return datetime.fromisoformat(value) if key.endswith("_at") else value


def check_all(db: Warehouse, server: SandboxServer) -> None:
    for stream in ("customers", "orders", "order_lines", "refunds", "products", "checkouts"):
        assert facts(db, stream) == truth(server, stream), stream


@pytest.mark.slow
def test_every_stream_equals_the_truth_through_its_life(
    db: Warehouse, run: Run, sandbox_at: SandboxServer
) -> None:
    """Initial load a week ago, then daily and hourly runs with changes: at each end the raw tables
    are the shop, row for row, and every book balances.
    """
    today = clock.now()
    sandbox_at.set_clock(today - timedelta(days=7))
    for stream in STREAMS:
        assert run(stream).balanced
    check_all(db, sandbox_at)
    for days in (6, 3, 2, 1):
        sandbox_at.set_clock(today - timedelta(days=days))
        for stream in STREAMS:
            report = run(stream)
            assert (report.kind, report.balanced) == ("incremental", True)
    check_all(db, sandbox_at)
    sandbox_at.set_clock(today)
    key = sandbox_at.insert("product", title="A new tea")
    for stream in STREAMS:
        run(stream)
    sandbox_at.set_clock(today + timedelta(hours=1))
    sandbox_at.delete("product", key)
    for stream in STREAMS:
        run(stream)
    check_all(db, sandbox_at)
    gone = db.execute(
        "select is_deleted from mkt_raw.shopify__products where id = %s", (key,)
    ).fetchone()
    assert gone == (True,)


@pytest.mark.slow
def test_running_again_writes_nothing(db: Warehouse, run: Run) -> None:
    """A second full read of everything finds every row unchanged."""
    for stream in ("customers", "orders", "products", "checkouts"):
        run(stream)
        again = run(stream, kind="full_refresh")
        assert again.written == 0, again
        for counts in again.counts.values():
            assert counts["unchanged"] == counts["fetched"]


@pytest.mark.slow
def test_throttled_sandbox_is_waited_for(run: Run, sandbox_at: SandboxServer) -> None:
    """Throttling and a server error in the middle of pages delay the run and lose nothing."""
    sandbox_at.fault("throttle", times=2)
    sandbox_at.fault("status", status=502, times=1)
    now = clock.now()
    report = run("orders", kind="backfill", window=Window(now - timedelta(days=1), now))
    assert report.balanced
    assert report.counts["orders"]["fetched"] > 0
