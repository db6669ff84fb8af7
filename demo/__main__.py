"""`python -m demo up|stop|reset|logs|status|psql|env`; the Makefile calls it."""

from __future__ import annotations

import argparse
import csv
import fcntl
import os
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

from psycopg.conninfo import make_conninfo

from demo import layout, postgres, supervisor


def main() -> int:
    """Run one command; returns the process's exit code."""
    parser = argparse.ArgumentParser(prog="python -m demo", description=__doc__)
    commands = ["up", "stop", "reset", "logs", "status", "psql", "env"]
    parser.add_argument("command", choices=commands)
    parser.add_argument("--data", metavar="DIR", help="seed the sandbox from documented CSV files")
    options = parser.parse_args()
    if options.command == "up":
        return _up(options.data)
    actions = {
        "stop": _stop,
        "reset": _reset,
        "logs": _logs,
        "status": _status,
        "psql": _psql,
        "env": _env,
    }
    return actions[options.command]()


def _up(data: str | None) -> int:
    from demo.up import up

    layout.HOME.mkdir(exist_ok=True)
    with (layout.HOME / "lock").open("w") as handle:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            print("another `make demo` is at work on this folder", file=sys.stderr)
            return 1
        if data:
            os.environ["DEMO_DATA"] = str(Path(data).resolve())
            _keep_currency(Path(data) / "shop.csv")
        try:
            return up()
        except KeyboardInterrupt:
            print("\ninterrupted: `make demo` goes on where it was, `make stop` stops the rest")
            return 130


def _keep_currency(shop: Path) -> None:
    """Remember the currency that the user's shop.csv names, if it is there and names one."""
    if shop.exists():
        with shop.open(encoding="utf-8", newline="") as lines:
            values = {row["name"]: row["value"] for row in csv.DictReader(lines)}
        if values.get("currency"):
            layout.CURRENCY.write_text(values["currency"])


def _stop() -> int:
    stopped = [group for group in ("airflow", "services") if supervisor.stop(group)]
    if postgres.stop():
        stopped.append("postgres")
    print(f"stopped: {', '.join(stopped)}" if stopped else "nothing was running")
    return 0


def _reset() -> int:
    _stop()
    postgres.drop_databases()
    shutil.rmtree(layout.HOME, ignore_errors=True)
    print("the demo's data is deleted")
    return 0


def _logs() -> int:
    logs = sorted(str(path) for path in layout.LOGS.glob("*.log"))
    if not logs:
        print("no logs yet: run `make demo`")
        return 1
    try:
        return subprocess.run(["tail", "-n", "20", "-F", *logs], check=False).returncode  # noqa: S603, S607
    except KeyboardInterrupt:
        return 0


def _status() -> int:
    for group in ("services", "airflow"):
        print(f"{group:<9} {'running' if supervisor.is_running(group) else 'stopped'}")
    if layout.STATE.exists():
        known = layout.load_or_create(keep_ports=True)
        print(f"airflow   {known.url('airflow')}\nmailbox   {known.url('sandbox', '/mail/')}")
    return 0


def _psql() -> int:
    servers = postgres.start()
    command = [postgres.client(), make_conninfo(servers.uri, dbname=servers.warehouse["schema"])]
    return subprocess.run(command, check=False).returncode  # noqa: S603


def _env() -> int:
    """Shell lines that let `marketing-ops` find the demo: eval "$(python -m demo env)"."""
    known = layout.load_or_create(keep_ports=True)
    environment = layout.environment(known, postgres.start().warehouse)
    for name in sorted(environment):
        if name.startswith(("AIRFLOW_CONN_", "MARKETING_OPS_")):
            print(f"export {name}={shlex.quote(environment[name])}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
