"""A fake shop, and a source file that points at it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from marketing_ops import paths, settings
from marketing_ops.connections import Connection
from marketing_ops.sync.runner import SyncReport, sync_stream
from marketing_ops.warehouse import Warehouse
from marketing_ops.window import Window
from tests.conftest import FrozenClock
from tests.sync.fakeshop import FakeShop

ACCOUNT = "shop_journey"


@pytest.fixture
def shop() -> Iterator[FakeShop]:
    """A shop without records."""
    fake = FakeShop()
    yield fake
    fake.close()


Sync = Callable[..., SyncReport]


@pytest.fixture
def sync(db: Warehouse, shop: FakeShop, frozen_clock: FrozenClock) -> Sync:
    """Runs `sync_stream` for the fake shop at the frozen clock's instant."""

    def run(stream: str, *, kind: Any = None, window: Window | None = None, **changes: Any) -> Any:
        def resolve(conn_id: str) -> Connection:
            return shop.connection(conn_id, **changes)

        window = window or Window(frozen_clock.instant, frozen_clock.instant)
        return sync_stream(db, ACCOUNT, stream, window, kind=kind, resolve=resolve)

    return run


@pytest.fixture
def rows(db: Warehouse) -> Callable[..., list[dict[str, Any]]]:
    """The rows of a raw table by id, without what differs from run to run."""

    def read(table: str, *columns: str) -> list[dict[str, Any]]:
        from psycopg import sql
        from psycopg.rows import dict_row

        wanted = sql.SQL(", ").join(map(sql.Identifier, columns)) if columns else sql.SQL("*")
        with db.cursor(row_factory=dict_row) as cursor:
            query = sql.SQL("select {} from {} order by id").format(
                wanted, sql.Identifier("mkt_raw", f"shopify__{table}")
            )
            return [
                {
                    key: value
                    for key, value in row.items()
                    if key not in ("loaded_at", "sync_run_id")
                }
                for row in cursor.execute(query).fetchall()
            ]

    return read


@pytest.fixture(autouse=True)
def _fresh_settings(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    settings.settings.cache_clear()
    yield
    settings.settings.cache_clear()


def include_copy(folder: Path) -> Path:
    """A copy of include/ that a test may change."""
    import shutil

    target = folder / "include"
    shutil.copytree(paths.include_root(), target)
    return target
