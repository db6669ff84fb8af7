"""Operators without a scheduler: a context of the right shape, connections by environment."""

from __future__ import annotations

from tests import airflow_env

airflow_env.prepare()

import json  # noqa: E402
from collections.abc import Callable, Iterator  # noqa: E402
from datetime import UTC, datetime, timedelta  # noqa: E402
from types import SimpleNamespace  # noqa: E402
from typing import Any  # noqa: E402

import psycopg  # noqa: E402
import pytest  # noqa: E402


def connection_json(uri: str) -> str:
    """A Postgres connection string in Airflow's JSON form."""
    parts = psycopg.conninfo.conninfo_to_dict(uri)
    host = str(parts.get("host") or "")
    extra = {"socket": host} if host.startswith("/") else {}
    port = parts.get("port")
    return json.dumps(
        {
            "conn_type": "postgres",
            "host": "" if extra else host,
            "port": int(port) if port else None,
            "schema": parts["dbname"],
            "login": parts.get("user") or "",
            "password": parts.get("password") or "",
            "extra": extra,
        }
    )


@pytest.fixture
def warehouse_connection(warehouse_uri: str, monkeypatch: pytest.MonkeyPatch) -> str:
    """The id of the Airflow connection to this test's own warehouse."""
    monkeypatch.setenv("AIRFLOW_CONN_MARKETING_OPS_WAREHOUSE", connection_json(warehouse_uri))
    return "marketing_ops_warehouse"


@pytest.fixture
def make_context() -> Callable[..., dict[str, Any]]:
    """A context as Airflow gives it to a task, for a run of an hour in March."""

    def make(run_type: str = "scheduled", **params: Any) -> dict[str, Any]:
        end = datetime(2026, 3, 2, 12, tzinfo=UTC)
        run = SimpleNamespace(
            run_type=run_type, run_id="a_run", run_after=end, triggering_user_name="mia"
        )
        return {
            "dag_run": run,
            "params": params,
            "data_interval_start": end - timedelta(hours=1),
            "data_interval_end": end,
        }

    return make


@pytest.fixture
def open_incidents(db: psycopg.Connection[Any]) -> Iterator[Callable[[], list[Any]]]:
    """Reads what is open in mkt_ops.incidents: (cause, times_seen, subjects)."""

    def read() -> list[Any]:
        rows = db.execute(
            "select cause, times_seen, details -> 'subjects' from mkt_ops.incidents"
            " where closed_at is null order by cause"
        )
        return rows.fetchall()

    yield read
