"""Whole DAGs, run by Airflow on a warehouse of their own."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

import psycopg
import pytest

from tests.operators.conftest import connection_json


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
        assert set(tasks.values()) == {"success"}, dag_id
    assert db.execute("select count(*) from mkt_ops.ticks").fetchone() == (1,)


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
    run_dag: Any, db: psycopg.Connection[Any], capfd: pytest.CaptureFixture[str]
) -> None:
    """The task is red at its first try, and its log holds the command to run."""
    db.execute("drop table mkt_ops.schema_migrations")
    state, tasks = run_dag("run_campaigns")
    assert (state, tasks) == ("failed", {"tick": "failed"})
    assert "run `marketing-ops migrate`" in capfd.readouterr().out


def test_log_of_a_failed_task_quotes_nobody(
    run_dag: Any, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    """A value that Postgres refuses, and its row, never reach the task's log."""
    from marketing_ops.campaigns import runner

    def broken(warehouse: Any, _at: Any, **_options: Any) -> None:
        warehouse.execute("select %s::text::numeric", ("ana@example.com",))

    monkeypatch.setattr(runner, "tick", broken)
    state, _ = run_dag("run_campaigns")
    assert state == "failed"
    shown = capfd.readouterr()
    assert "Postgres refuses a value" in shown.out + shown.err
    assert "ana@example.com" not in shown.out + shown.err
