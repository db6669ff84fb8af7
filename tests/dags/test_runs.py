"""Whole DAGs, run by Airflow on a warehouse of their own."""

from __future__ import annotations

import json
import logging
import os
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import psycopg
import pytest

from marketing_ops.delivery.modes import apply_sending_modes
from tests.operators.conftest import connection_json
from tests.sandbox_fixtures import SandboxServer


@pytest.fixture
def run_dag(
    dag_bag: Any, airflow_database: None, warehouse_uri: str, monkeypatch: pytest.MonkeyPatch
) -> Any:
    """Runs a DAG to its end; returns the run's state and each task's."""
    monkeypatch.setenv("AIRFLOW_CONN_MARKETING_OPS_WAREHOUSE", connection_json(warehouse_uri))
    key = {"conn_type": "marketing_ops_receiver", "password": "k" * 40}
    monkeypatch.setenv("AIRFLOW_CONN_MARKETING_OPS_RECEIVER", json.dumps(key))

    def run(dag_id: str, **conf: Any) -> tuple[str, dict[str, str]]:
        done = dag_bag.dags[dag_id].test(logical_date=datetime.now(UTC), run_conf=conf)
        states = {task.task_id: str(task.state) for task in done.get_task_instances()}
        return str(getattr(done.state, "value", done.state)), states

    return run


def test_stages_are_green_on_an_empty_warehouse(run_dag: Any, db: psycopg.Connection[Any]) -> None:
    """From unify to maintenance: with nothing to do, every stage does nothing and says success."""
    for dag_id in ("unify_contacts", "segment_audiences", "run_campaigns", "maintain_warehouse"):
        state, tasks = run_dag(dag_id)
        assert state == "success", (dag_id, tasks)
        # What was never loaded is not compared with its source.
        compared = {task for task in tasks if dag_id == "maintain_warehouse" and "." in task}
        assert {tasks[task] for task in tasks.keys() - compared} == {"success"}, dag_id
        assert {tasks[task] for task in compared} <= {"skipped"}
    assert db.execute("select count(*) from mkt_ops.ticks").fetchone() == (1,)


@pytest.fixture
def shown(capfd: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture) -> Callable[[], str]:
    """Everything the runs so far wrote: the tasks' own log, and Python's logging."""
    caplog.set_level(logging.DEBUG, logger="marketing_ops")

    def read() -> str:
        captured = capfd.readouterr()
        return captured.out + captured.err + caplog.text

    return read


@pytest.fixture
def shop(sandbox_at: SandboxServer, monkeypatch: pytest.MonkeyPatch) -> SandboxServer:
    """The sandbox's shop and mail server as the shipped accounts, at noon UTC of today."""
    connections: dict[str, dict[str, Any]] = {
        "SHOP_JOURNEY": {"host": sandbox_at.shop_url, "password": sandbox_at.token},
        "SMTP_JOURNEY": {
            "host": "127.0.0.1",
            "port": sandbox_at.smtp_port,
            "extra": {"security": "none"},
        },
    }
    for name, values in connections.items():
        monkeypatch.setenv(f"AIRFLOW_CONN_{name}", json.dumps(values))
    return sandbox_at


def test_pipeline_runs_from_shop_to_mailbox(
    run_dag: Any, shop: SandboxServer, db: psycopg.Connection[Any]
) -> None:
    """Every stage is green against the sandbox: rows with balanced books, contacts, audiences, a
    tick, a delivery, KPIs. A second sync goes by the cursor; daily streams are skipped then.
    """
    names = {stream: f"shop_journey.{stream}" for stream in ("customers", "orders", "products")}
    state, tasks = run_dag("sync_shop")
    assert state == "success", tasks
    assert set(tasks.values()) == {"success"}
    for dag_id in ("unify_contacts", "segment_audiences"):
        assert run_dag(dag_id)[0] == "success", dag_id
    apply_sending_modes(db, "test")
    assert run_dag("control_campaign", campaign="welcome", action="start", dry_run=False)[0] == (
        "success"
    )
    for dag_id in ("run_campaigns", "deliver_sends", "rollup_kpis", "segment_history"):
        assert run_dag(dag_id)[0] == "success", dag_id
    counts = {
        table: db.execute(f"select count(*) from {table}".encode()).fetchone()
        for table in ("mkt_core.contacts", "mkt_core.orders", "mkt_marts.kpi_daily")
    }
    assert all(count and count[0] > 0 for count in counts.values()), counts
    state, tasks = run_dag("sync_shop")
    assert state == "success"
    assert (tasks[names["orders"]], tasks[names["products"]]) == ("success", "skipped")
    assert tasks["shop_journey.publish"] == "success"


def test_wrong_token_is_one_sentence_and_nothing_is_lost(
    run_dag: Any,
    shop: SandboxServer,
    db: psycopg.Connection[Any],
    monkeypatch: pytest.MonkeyPatch,
    shown: Callable[[], str],
) -> None:
    """A refused token fails at the first try and names the connection, never the token; nothing is
    published, and with the right token the next run brings everything.
    """
    right = os.environ["AIRFLOW_CONN_SHOP_JOURNEY"]
    wrong = {"host": shop.shop_url, "password": "shpat_very_wrong"}
    monkeypatch.setenv("AIRFLOW_CONN_SHOP_JOURNEY", json.dumps(wrong))
    state, tasks = run_dag("sync_shop", stream="customers")
    assert (state, tasks["shop_journey.customers"]) == ("failed", "failed")
    assert tasks["shop_journey.publish"] == "upstream_failed"
    log = shown()
    assert "`shop_journey` answers 401: the access token is refused" in log
    assert "Is a rerun safe: yes" in log
    assert "shpat_very_wrong" not in log
    monkeypatch.setenv("AIRFLOW_CONN_SHOP_JOURNEY", right)
    assert run_dag("sync_shop", stream="customers")[0] == "success"
    assert db.execute("select count(*) > 0 from mkt_raw.shopify__customers").fetchone() == (True,)
    assert db.execute(
        "select count(*) from mkt_ops.incidents where closed_at is null"
    ).fetchone() == (0,)


def test_red_check_leaves_one_incident(run_dag: Any, db: psycopg.Connection[Any]) -> None:
    """On a warehouse that was never synced, freshness is red: a failed run, an open incident, and
    a second run only counts it.
    """
    for _ in range(2):
        state, tasks = run_dag("watch_data")
        assert state == "failed"
        assert tasks["stale_streams"] == "failed"
        assert tasks["unbalanced_books"] == "success"
    rows = db.execute(
        "select cause, times_seen from mkt_ops.incidents where details -> 'subjects'"
        """ @> '["watch_data.stale_streams"]'"""
    ).fetchall()
    assert [times for _cause, times in rows] == [2]


def test_form_reaches_the_operator(run_dag: Any, db: psycopg.Connection[Any]) -> None:
    """The dry run of control_campaign is a real boolean when it arrives: a dry run changes nothing,
    and pausing what was never started is refused in one sentence.
    """
    campaign = "welcome"
    state, _ = run_dag("control_campaign", campaign=campaign, action="pause", dry_run=True)
    assert state == "success"
    state, _ = run_dag("control_campaign", campaign=campaign, action="pause", dry_run=False)
    assert state == "failed"
    assert db.execute("select count(*) from mkt_engage.campaigns").fetchone() == (0,)


def test_unmigrated_warehouse_is_one_sentence(
    run_dag: Any, db: psycopg.Connection[Any], shown: Callable[[], str]
) -> None:
    """The task is red at its first try, and its log holds the command to run."""
    db.execute("drop table mkt_ops.schema_migrations")
    state, tasks = run_dag("run_campaigns")
    assert (state, tasks) == ("failed", {"tick": "failed"})
    assert "run `marketing-ops migrate`" in shown()


def test_log_of_a_failed_task_quotes_nobody(
    run_dag: Any, monkeypatch: pytest.MonkeyPatch, shown: Callable[[], str]
) -> None:
    """A value that Postgres refuses, and its row, never reach the task's log."""
    from marketing_ops.campaigns import runner

    def broken(warehouse: Any, _at: Any, **_options: Any) -> None:
        warehouse.execute("select %s::text::numeric", ("ana@example.com",))

    monkeypatch.setattr(runner, "tick", broken)
    state, _ = run_dag("run_campaigns")
    assert state == "failed"
    log = shown()
    assert "a value does not fit" in log
    assert "ana@example.com" not in log
