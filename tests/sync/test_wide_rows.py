"""A small batch of wide rows: more than the socket to the warehouse takes at once."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import psycopg
import pytest

from marketing_ops.warehouse import Warehouse
from tests.conftest import FrozenClock
from tests.sync.conftest import Sync
from tests.sync.fakeshop import FakeShop, customer

NOON = datetime(2026, 3, 2, 12, tzinfo=UTC)


@pytest.fixture
def patience(db: Warehouse, postgres_uri: str) -> Iterator[None]:
    """Ends the session of a test that waits for ever."""

    def end() -> None:
        with psycopg.connect(postgres_uri, autocommit=True) as admin:
            admin.execute("select pg_terminate_backend(%s)", (db.info.backend_pid,))

    watch = threading.Timer(30, end)
    watch.start()
    yield
    watch.cancel()


@pytest.mark.usefixtures("patience")
@pytest.mark.parametrize("characters", [400, 1000, 4000])
def test_statements_that_do_not_fit_the_socket_do_not_wait_for_ever(
    sync: Sync, shop: FakeShop, frozen_clock: FrozenClock, characters: int
) -> None:
    """What the server has to read before it answers is sent before the answer is waited for."""
    sync("customers")
    frozen_clock.move(NOON + timedelta(hours=1))
    shop.records["customers"] = [
        customer(n, NOON + timedelta(minutes=n % 50), firstName=f"{n}" * characters)
        for n in range(1, 240)
    ]
    report = sync("customers")
    assert report.counts["customers"]["inserted"] == 239
