"""The sync, comparison and replay tasks against a fake shop, through their operators."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from datetime import timedelta
from typing import Any

import pytest
from airflow.sdk.exceptions import AirflowSkipException, TaskDeferred

from marketing_ops.operators import sync as operators
from marketing_ops.operators.repair import ReconcileOperator, ReplayRejectedOperator
from marketing_ops.operators.sync import SyncStreamOperator
from marketing_ops.warehouse import Warehouse
from tests.conftest import FrozenClock
from tests.sync.fakeshop import START, TOKEN, FakeShop, customer

MakeContext = Callable[..., dict[str, Any]]


@pytest.fixture
def shop(
    warehouse_connection: str, frozen_clock: FrozenClock, monkeypatch: pytest.MonkeyPatch
) -> Iterator[FakeShop]:
    """A shop with three customers, known to Airflow as shop_journey."""
    fake = FakeShop()
    fake.records["customers"] = [customer(number, START) for number in (1, 2, 3)]
    connection = {"conn_type": "marketing_ops_shopify", "host": fake.url, "password": TOKEN}
    monkeypatch.setenv("AIRFLOW_CONN_SHOP_JOURNEY", json.dumps(connection))
    yield fake
    fake.close()


def customers() -> SyncStreamOperator:
    """A fresh sync task of the customers, as each try of it is."""
    return SyncStreamOperator(
        task_id="sync", account="shop_journey", stream="customers", cadence="hourly"
    )


def test_a_long_wait_for_a_file_takes_no_worker(
    shop: FakeShop, db: Warehouse, make_context: MakeContext, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The task defers with what it has to know, an hour's file is asked for once, and the task
    that Airflow wakes reads it to the end.
    """
    monkeypatch.setattr(operators, "PATIENCE_SECONDS", 0.0)
    shop.bulk_polls = 3
    with pytest.raises(TaskDeferred) as deferred:
        customers().execute(make_context())  # type: ignore[arg-type]
    assert deferred.value.method_name == "go_on"
    state = deferred.value.kwargs["state"]  # type: ignore[index]
    json.dumps(state)
    shop.bulk_polls = 0
    counts = customers().go_on(make_context(), None, state)  # type: ignore[arg-type]
    assert counts["counts"]["customers"]["inserted"] == 3
    assert sum(root == "bulkOperationRunQuery" for root in shop.roots()) <= 1
    assert db.execute("select status from mkt_ops.sync_runs order by 1").fetchall() == [
        ("postponed",),
        ("success",),
    ]


def test_a_stream_is_compared_once_it_was_loaded(
    shop: FakeShop, db: Warehouse, make_context: MakeContext
) -> None:
    """Before the first load there is nothing to compare: skipped, not failed."""
    task = ReconcileOperator(task_id="compare", account="shop_journey", stream="customers")
    with pytest.raises(AirflowSkipException, match="not loaded yet"):
        task.execute(make_context())  # type: ignore[arg-type]


def test_replay_says_when_nothing_waits_and_is_dry_by_default(
    shop: FakeShop, db: Warehouse, make_context: MakeContext, frozen_clock: FrozenClock
) -> None:
    """Nothing waiting is a skip; a dry run stores nothing; the real one stores what it can."""
    replay = {"task_id": "replay", "account": "shop_journey", "stream": "all"}
    with pytest.raises(AirflowSkipException, match="no rejected record"):
        ReplayRejectedOperator(**replay, is_dry_run=True).execute(make_context())  # type: ignore[arg-type]
    customers().execute(make_context())  # type: ignore[arg-type]
    shop.records["customers"].append(
        customer(4, START + timedelta(days=1), updatedAt="no time at all")
    )
    frozen_clock.move(frozen_clock.instant + timedelta(hours=1))
    operator = SyncStreamOperator(
        task_id="sync", account="shop_journey", stream="customers", cadence="hourly"
    )
    operator.execute(make_context(full_refresh=True))  # type: ignore[arg-type]
    shop.records["customers"][3] = customer(4, START + timedelta(days=1))
    dry = ReplayRejectedOperator(**replay, is_dry_run=True).execute(make_context())  # type: ignore[arg-type]
    assert dry == {"customers": {"stored": 0, "left": 1}}
    done = ReplayRejectedOperator(**replay, is_dry_run=False).execute(make_context())  # type: ignore[arg-type]
    assert done == {"customers": {"stored": 1, "left": 0}}
    assert db.execute("select count(*) from mkt_raw.shopify__customers").fetchone() == (4,)
