"""`make demo`: start it all, live the story, let Airflow run the present, print the outcome."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable
from datetime import UTC, datetime
from threading import Thread
from typing import Any

import requests

from demo import layout, postgres, supervisor
from demo.airflow_api import AirflowApi
from demo.layout import LOGS, PROJECT, Layout

# Each is started by hand once and waited for, in the order in which data flows.
_RUNS: list[tuple[str, dict[str, Any]]] = [
    ("sync_shop", {}),
    ("sync_crm", {}),
    ("sync_engagement", {}),
    ("unify_contacts", {}),
    ("segment_audiences", {}),
    ("run_campaigns", {}),
    ("deliver_sends", {}),
    ("rollup_kpis", {}),
    ("segment_history", {}),
    ("watch_data", {}),
    ("maintain_warehouse", {}),
    ("replay_rejected", {"account": "hubspot_journey"}),
    ("control_campaign", {"campaign": "welcome", "action": "pause", "dry_run": True}),
]


_QUIET_SECONDS = 10.0
"""Where a line cannot be overwritten, progress is printed this rarely."""


class Terminal:
    """Progress for a person: one line a chapter with the seconds since the start."""

    def __init__(self) -> None:
        self._began = time.monotonic()
        self._is_terminal = sys.stdout.isatty()
        self._has_open_line = False
        self._spoke = self._began

    def line(self, text: str) -> None:
        """Print a chapter's line."""
        if self._has_open_line:
            print()
            self._has_open_line = False
        print(f"[{time.monotonic() - self._began:4.0f} s] {text}", flush=True)

    def overwrite(self, text: str) -> None:
        """Print progress that the next line may replace; rarely, where it cannot be replaced."""
        if self._is_terminal:
            print(f"\r[{time.monotonic() - self._began:4.0f} s] {text}", end="", flush=True)
            self._has_open_line = True
        elif time.monotonic() - self._spoke > _QUIET_SECONDS:
            self._spoke = time.monotonic()
            self.line(text)


def up() -> int:
    """Run the demo; returns 0 only if every run succeeded and the books balance."""
    terminal = Terminal()
    supervisor.stop("airflow")
    supervisor.stop("services")
    known = layout.load_or_create(keep_ports=False)
    terminal.line("starting Postgres")
    servers = postgres.start()
    environment = layout.environment(known, servers.warehouse)
    os.environ.update(environment)
    airflow = layout.airflow_environment(known, environment, servers.metadata_url)

    preparing = Thread(target=_start_airflow, args=(airflow,), name="airflow")
    preparing.start()
    _migrate(terminal)
    _start_services(known, environment, terminal)

    from demo import story  # reads the environment set above

    story.tell(known, terminal.line, terminal.overwrite)
    preparing.join()
    if not supervisor.is_running("airflow"):
        terminal.line("Airflow did not start: see .demo/logs/airflow-migrate.log")
        return 1
    is_green = _hand_over(known, servers.warehouse, terminal)
    is_balanced = _summarise()
    _say_where(known)
    return 0 if is_green and is_balanced else 1


def _start_services(known: Layout, environment: dict[str, str], terminal: Terminal) -> None:
    ports = known.ports
    python = sys.executable
    sandbox = ["serve", "--port", str(ports["sandbox"]), "--smtp-port", str(ports["smtp"])]
    sandbox += ["--data-dir", str(layout.HOME / "sandbox")]
    if os.environ.get("DEMO_DATA"):
        sandbox += ["--data", os.environ["DEMO_DATA"]]
    members = {
        "sandbox": [python, "-m", "sandbox", *sandbox],
        "receiver": [python, "-m", "marketing_ops.receiver", "--port", str(ports["receiver"])],
    }
    supervisor.launch("services", members, environment)
    terminal.line("starting the sandbox (the first time it derives a year of shop data)")
    _wait_for(known.url("sandbox", "/_sandbox/state"), "sandbox", 240)
    _wait_for(known.url("receiver", "/healthz"), "receiver", 60)
    # An hour is lived in a fraction of a second: the accounts are on the largest plans.
    plans = {
        "shopify": {"bucket": 20000.0, "restore_rate": 2000.0},
        "hubspot": {"burst": 1_000_000, "search_per_second": 10_000, "daily": 100_000_000},
    }
    for system, plan in plans.items():
        url = known.url("sandbox", f"/_sandbox/{system}/settings")
        requests.post(url, json=plan, timeout=30).raise_for_status()


def _wait_for(url: str, name: str, seconds: float) -> None:
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        try:
            if requests.get(url, timeout=30).status_code < 500:
                return
        except requests.ConnectionError:
            if not supervisor.is_running("services"):
                break
        time.sleep(0.2)
    raise SystemExit(f"the {name} did not start: see .demo/logs/{name}.log")


def _start_airflow(environment: dict[str, str]) -> None:
    binary = str(layout.PROJECT / ".venv" / "bin" / "airflow")
    if not os.path.exists(binary):  # noqa: PTH110
        binary = "airflow"
    with (LOGS / "airflow-migrate.log").open("wb") as log:
        done = subprocess.run(  # noqa: S603
            [binary, "db", "migrate"],
            env=environment,
            cwd=PROJECT,
            stdout=log,
            stderr=subprocess.STDOUT,
            check=False,
        )
    if done.returncode == 0:
        names = ("api-server", "scheduler", "dag-processor", "triggerer")
        members = {f"airflow-{name}": [binary, name] for name in names}
        supervisor.launch("airflow", members, environment)


def _migrate(terminal: Terminal) -> None:
    from marketing_ops import warehouse

    with warehouse.connect(application="marketing_ops demo") as connection:
        done = warehouse.migrate(connection)
    terminal.line(f"warehouse migrated ({len(done)} new migrations)")


def _hand_over(known: Layout, warehouse: dict[str, Any], terminal: Terminal) -> bool:
    from marketing_ops import deployment

    api = AirflowApi(known.url("airflow"), "admin", "admin")
    api.wait_until_up(180)
    for conn_id, fields in layout.connections(known, warehouse).items():
        api.put_connection(conn_id, fields)
    for name, fields in deployment.pools().items():
        api.put_pool(name, fields)
    dags = sorted(path.stem for path in (PROJECT / "dags").glob("[a-z]*.py"))
    api.wait_for_dags(dags, 120)
    began = datetime.now(UTC).isoformat()
    for dag_id in dags:
        api.set_paused(dag_id, is_paused=False)
    terminal.line(f"Airflow takes over: {len(dags)} DAGs unpaused")
    is_green = True
    for dag_id, conf in _RUNS:
        run_id = api.trigger(dag_id, conf)
        state = api.wait_for_run(dag_id, run_id, 300)
        terminal.line(f"  {dag_id:<20} {state}")
        if state != "success":
            terminal.line(f"    failed tasks: {', '.join(api.failed_tasks(dag_id, run_id))}")
            is_green = False
    return _others_ended_well(api, began, terminal.line) and is_green


def _others_ended_well(api: AirflowApi, began: str, say: Callable[[str], None]) -> bool:
    """Wait for the runs that Airflow itself started meanwhile; True if none of them failed."""
    deadline = time.monotonic() + 180
    while True:
        runs = api.runs_since(began)
        states = {(run["dag_id"], run["dag_run_id"]): run["state"] for run in runs}
        # the two minutely DAGs always have a young run: only what is older must have ended
        open_runs = [key for key, state in states.items() if state in ("queued", "running")]
        waited_for = [key for key in open_runs if key[0] not in ("run_campaigns", "deliver_sends")]
        if not waited_for or time.monotonic() > deadline:
            break
        time.sleep(1)
    failed = sorted(f"{dag} ({run})" for (dag, run), state in states.items() if state == "failed")
    ended = sum(1 for state in states.values() if state == "success")
    say(f"runs since the hand-over: {ended} succeeded, {len(failed)} failed")
    for name in failed:
        say(f"  failed: {name}")
    return not failed and not waited_for


def _summarise() -> bool:
    from marketing_ops import warehouse
    from marketing_ops.kpis import summary

    with warehouse.connect(application="marketing_ops demo") as connection:
        found = summary.demo_summary(connection)
    print()
    print(summary.render(found))
    return bool(found.is_balanced)


def _say_where(known: Layout) -> None:
    print(f"""
Airflow    {known.url("airflow")}   admin / admin   (also ops, marketer, oncall: password = name)
Mailbox    {known.url("sandbox", "/mail/")}
Warehouse  .venv/bin/python -m demo psql
Commands   eval "$(.venv/bin/python -m demo env)"; .venv/bin/marketing-ops --help
Stop       make stop      (make reset also deletes the data; make logs follows the logs)
""")
