"""Airflow's REST API, as far as the demo needs it."""

from __future__ import annotations

import json
import time
from collections.abc import Iterable
from typing import Any

import requests


class AirflowApi:
    """A logged-in client of one Airflow. `call` raises requests.HTTPError for a refusal."""

    def __init__(self, url: str, user: str, password: str) -> None:
        self.url = url
        self._credentials = {"username": user, "password": password}
        self._session = requests.Session()

    def wait_until_up(self, seconds: float) -> None:
        """Wait for a healthy API and log in. Raises TimeoutError."""
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            try:
                health = self._session.get(f"{self.url}/api/v2/monitor/health", timeout=5)
                if health.ok and health.json()["scheduler"]["status"] == "healthy":
                    self._log_in()
                    return
            except (requests.RequestException, KeyError, ValueError):
                pass  # not up yet; the deadline bounds it
            time.sleep(0.5)
        raise TimeoutError(f"Airflow at {self.url} did not come up: see `make logs`")

    def _log_in(self) -> None:
        answer = self._session.post(f"{self.url}/auth/token", json=self._credentials, timeout=30)
        answer.raise_for_status()
        token = answer.json()["access_token"]
        self._session.headers["Authorization"] = f"Bearer {token}"

    def call(self, method: str, path: str, body: Any = None, **params: Any) -> Any:
        """One call below /api/v2; returns the parsed answer, or None for an empty one."""
        answer = self._session.request(
            method, f"{self.url}/api/v2{path}", json=body, params=params, timeout=60
        )
        if answer.status_code == 401:
            self._log_in()
            return self.call(method, path, body, **params)
        answer.raise_for_status()
        return answer.json() if answer.content else None

    def put_connection(self, conn_id: str, fields: dict[str, Any]) -> None:
        """Create or replace a connection."""
        body = {"connection_id": conn_id, **fields}
        if "extra" in body:
            body["extra"] = json.dumps(body["extra"])
        self._create_or_patch("/connections", conn_id, body)

    def put_pool(self, name: str, fields: dict[str, Any]) -> None:
        """Create or replace a pool."""
        self._create_or_patch("/pools", name, {"name": name, **fields})

    def _create_or_patch(self, path: str, key: str, body: dict[str, Any]) -> None:
        try:
            self.call("POST", path, body)
        except requests.HTTPError as error:
            if error.response is None or error.response.status_code != 409:
                raise
            self.call("PATCH", f"{path}/{key}", body)

    def wait_for_dags(self, expected: Iterable[str], seconds: float) -> None:
        """Wait until Airflow knows all `expected` DAGs. Raises TimeoutError or ImportError."""
        missing = set(expected)
        deadline = time.monotonic() + seconds
        while missing and time.monotonic() < deadline:
            known = self.call("GET", "/dags", limit=100, exclude_stale=True)["dags"]
            missing -= {dag["dag_id"] for dag in known}
            if missing:
                time.sleep(0.5)
        errors = self.call("GET", "/importErrors", limit=5)["import_errors"]
        if errors:
            raise ImportError(f"{errors[0]['filename']}: {errors[0]['stack_trace']}")
        if missing:
            raise TimeoutError(f"Airflow does not list {sorted(missing)}: see `make logs`")

    def set_paused(self, dag_id: str, *, is_paused: bool) -> None:
        """Pause or unpause a DAG."""
        self.call("PATCH", f"/dags/{dag_id}", {"is_paused": is_paused})

    def trigger(self, dag_id: str, conf: dict[str, Any] | None = None) -> str:
        """Start a run without a logical date; returns its id."""
        body = {"logical_date": None, "conf": conf or {}}
        return str(self.call("POST", f"/dags/{dag_id}/dagRuns", body)["dag_run_id"])

    def wait_for_run(self, dag_id: str, run_id: str, seconds: float) -> str:
        """Wait for a run's end; returns its state (`success`, `failed`), or `timeout`."""
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            state = str(self.call("GET", f"/dags/{dag_id}/dagRuns/{run_id}")["state"])
            if state in ("success", "failed"):
                return state
            time.sleep(0.3)
        return "timeout"

    def runs_since(self, instant: str) -> list[dict[str, Any]]:
        """Every run of every DAG that was created since `instant` (ISO 8601)."""
        answer = self.call("GET", "/dags/~/dagRuns", run_after_gte=instant, limit=500)
        return list(answer["dag_runs"])

    def failed_tasks(self, dag_id: str, run_id: str) -> list[str]:
        """The ids of a run's failed tasks."""
        path = f"/dags/{dag_id}/dagRuns/{run_id}/taskInstances"
        found = self.call("GET", path, limit=200)["task_instances"]
        return [task["task_id"] for task in found if task["state"] in ("failed", "upstream_failed")]
