"""kill -9 of a sync at any moment and a rerun: the same warehouse as without."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from psycopg import sql

from marketing_ops import clock
from marketing_ops.warehouse import Warehouse
from tests.conftest import FrozenClock
from tests.sandbox_fixtures import SandboxServer
from tests.sync.fakeshop import TOKEN, FakeShop, line, order

ROOT = Path(__file__).resolve().parents[2]
NOON = datetime(2026, 3, 2, 12, tzinfo=UTC)
TABLES = ("orders", "order_lines", "refunds")


class Killer:
    """Starts syncs in processes of their own and kills them at moments drawn by hash."""

    def __init__(self, uri: str, url: str, token: str, clock_file: Path) -> None:
        self.uri, self.url, self.token = uri, url, token
        self.environment = {
            **os.environ,
            "PYTHONPATH": f"{ROOT / 'plugins'}{os.pathsep}{ROOT}",
            clock.CLOCK_FILE_VARIABLE: str(clock_file),
        }

    def start(self, account: str, stream: str) -> subprocess.Popen[str]:
        command = [sys.executable, "-m", "tests.sync.one_sync", self.uri, self.url, self.token]
        process = subprocess.Popen(
            [*command, account, stream],
            cwd=ROOT,
            env=self.environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        assert process.stdout is not None
        assert process.stdout.readline() == "reading\n"
        return process

    def whole(self, account: str, stream: str) -> float:
        """A run to its end; its seconds."""
        started = time.monotonic()
        process = self.start(account, stream)
        _, errors = process.communicate(timeout=120)
        assert process.returncode == 0, errors
        return time.monotonic() - started

    def killed(self, account: str, stream: str, after_seconds: float) -> None:
        """A run that is killed after so long, unless it was faster."""
        process = self.start(account, stream)
        time.sleep(after_seconds)
        process.kill()
        process.communicate()


def share(name: str) -> float:
    """A number in [0, 1) that depends on the name alone."""
    return int(hashlib.md5(name.encode()).hexdigest()[:8], 16) / 2**32


def table(db: Warehouse, name: str, account: str) -> list[tuple[object, ...]]:
    """The rows of one account, without what differs from run to run."""
    query = sql.SQL(
        "select to_jsonb(t) - '{{account,loaded_at,sync_run_id}}'::text[] from {} t"
        " where account = %s order by id"
    ).format(sql.Identifier("mkt_raw", f"shopify__{name}"))
    return db.execute(query, (account,)).fetchall()


@pytest.fixture
def two_accounts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[str, str]:
    """The usual account and a second one, both at the same shop."""
    from tests.sync.conftest import include_copy

    include = include_copy(tmp_path)
    monkeypatch.setenv("MARKETING_OPS_INCLUDE", str(include))
    first = (include / "sources" / "shop_journey.yaml").read_text()
    second = first.replace("source: shop_journey", "source: shop_second")
    (include / "sources" / "shop_second.yaml").write_text(second)
    return "shop_journey", "shop_second"


@pytest.mark.slow
@pytest.mark.parametrize("is_grouped", [True, False])
def test_killed_at_any_moment_ends_equal(
    db: Warehouse,
    warehouse_uri: str,
    shop: FakeShop,
    frozen_clock: FrozenClock,
    two_accounts: tuple[str, str],
    is_grouped: bool,
) -> None:
    """An initial load and an incremental run, each killed again and again, equal undisturbed ones,
    and the killed runs are marked as such.
    """
    calm, killed = two_accounts
    shop.is_grouped = is_grouped
    at = NOON - timedelta(days=3)
    shop.records["orders"] = [
        order(n, at + timedelta(seconds=n), [line(10 * n + k) for k in range(6)])
        for n in range(1, 1500)
    ]
    killer = Killer(warehouse_uri, shop.url, TOKEN, frozen_clock.path)
    for stage in ("initial", "incremental"):
        seconds = killer.whole(calm, "orders")
        for number in range(4):
            killer.killed(killed, "orders", seconds * share(f"{stage}{number}{is_grouped}"))
        killer.whole(killed, "orders")
        for name in TABLES:
            assert table(db, name, killed) == table(db, name, calm), (stage, name)
        frozen_clock.move(NOON + timedelta(hours=1))
        for n in range(1, 1500, 3):
            shop.records["orders"][n] = order(
                n + 1, NOON + timedelta(seconds=n), [line(10 * (n + 1) + k) for k in range(1, 8)]
            )
    marked = db.execute(
        "select count(*) from mkt_ops.sync_runs where status = 'failed' and error like 'killed %'"
    ).fetchone()
    assert marked is not None
    assert marked[0] >= 3  # a kill that came too early or too late proves nothing
    left = db.execute("select count(*) from mkt_ops.sync_runs where status = 'running'").fetchone()
    assert left == (0,)
    books = db.execute(
        "select count(*) from mkt_ops.sync_runs where fetched <> inserted + updated + unchanged"
        " + duplicates + stale + rejected + tombstoned"
    ).fetchone()
    assert books == (0,)


@pytest.mark.slow
def test_killed_sync_of_the_sandbox_equals_its_truth(
    db: Warehouse, warehouse_uri: str, sandbox_at: SandboxServer
) -> None:
    """All orders of the sandbox, killed on the way, row for row what the shop holds."""
    killer = Killer(warehouse_uri, sandbox_at.shop_url, sandbox_at.token, sandbox_at.clock_file)
    for number in range(4):
        killer.killed("shop_journey", "orders", 0.2 + 1.3 * share(f"sandbox{number}"))
    killer.whole("shop_journey", "orders")
    found = db.execute(
        "select id, order_id, quantity, (amount * 100)::bigint"
        " from mkt_raw.shopify__order_lines where not is_deleted order by id"
    ).fetchall()
    keys = ("id", "order_id", "quantity", "amount")
    truth = sorted(tuple(row[key] for key in keys) for row in sandbox_at.truth("order_lines"))
    assert found == truth
    orders = db.execute("select count(*) from mkt_raw.shopify__orders").fetchone()
    assert orders == (len(sandbox_at.truth("orders")),)
