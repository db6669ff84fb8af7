"""What is measured, each role in a process of its own: `python bench_sync_roles.py ROLE ARGS`.

A role prints one JSON object; `seconds` and `cpu` are of the work alone, without the interpreter's
start and the imports. Of our own side that is the whole of `SyncStreamOperator.execute`, with
the warehouse connection, the account's slots, books, rejects, cursor and page state.
"""

from __future__ import annotations

import json
import re
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT / "plugins"), str(ROOT)]

UPSERT_ROWS = 20_000


def task(account: str, stream: str, *flags: str) -> None:
    """One run of the shipped operator; `full_refresh` reads everything again."""
    _register()
    from marketing_ops.operators.connections import from_airflow
    from marketing_ops.operators.sync import SyncStreamOperator
    from marketing_ops.sync import runner  # noqa: F401 - the worker's first task imports it

    from_airflow(account)  # imports what a task runner has before the task
    operator = SyncStreamOperator(
        task_id="sync", account=account, stream=stream, cadence="hourly", do_xcom_push=False
    )
    context = _context(dict.fromkeys(flags, True))
    with timed() as spent:
        counts = operator.execute(context)
    _print(**spent, counts=counts["counts"], megabytes=peak())


def empty() -> None:
    """A task's process that runs an operator which does nothing."""
    from airflow.sdk import BaseOperator

    class Nothing(BaseOperator):
        def execute(self, context: Any) -> None:
            return None

    Nothing(task_id="nothing", do_xcom_push=False).execute(_context({}))
    _print(seconds=0.0, megabytes=peak())


def migrate() -> None:
    """The warehouse with the made-up vendor's tables in it."""
    _register()
    from marketing_ops import warehouse

    with warehouse.connect() as opened:
        warehouse.migrate(opened)
    _print(seconds=0.0)


def fetch(url: str, rows: str) -> None:
    """Every page over a kept connection, read and thrown away: what HTTP alone costs."""
    import urllib3

    pool, size = urllib3.PoolManager(), 0
    with timed() as spent:
        for after in range(0, int(rows), 100):
            size += len(pool.request("GET", f"{url}/contacts?limit=100&after={after}").data)
    _print(**spent, bytes=size)


def fetch_file(url: str) -> None:
    """A file over HTTP, read and thrown away."""
    import urllib3

    size = 0
    with timed() as spent:
        response = urllib3.PoolManager().request("GET", url, preload_content=False)
        while chunk := response.read(1 << 18):
            size += len(chunk)
    _print(**spent, bytes=size)


def copy(uri: str, table: str, path: str) -> None:
    """The rows as finished COPY text into a logged table with the same columns and key."""
    import psycopg

    with psycopg.connect(uri, autocommit=True) as link:
        link.execute("drop table if exists copy_limit")
        link.execute(f"create table copy_limit (like mkt_raw.{table} including defaults)")
        link.execute("alter table copy_limit add primary key (account, id)")
        with timed() as spent, link.cursor() as cursor, Path(path).open("rb") as file:
            with cursor.copy("copy copy_limit from stdin") as copy:
                while chunk := file.read(1 << 20):
                    copy.write(chunk)
            count = cursor.rowcount
        link.execute("drop table copy_limit")
    _print(**spent, rows=count)


def upsert(uri: str, table: str, path: str) -> None:
    """The rows by COPY into a temporary table and an upsert without a condition, batch by batch.

    The target is a copy of our table with its indexes, which holds the rows already.
    """
    import psycopg

    with psycopg.connect(uri, autocommit=True) as link:
        names = [
            row[0]
            for row in link.execute(
                "select column_name from information_schema.columns where table_schema = 'mkt_raw'"
                " and table_name = %s order by ordinal_position",
                (table,),
            )
        ]
        changes = ", ".join(f"{n} = excluded.{n}" for n in names if n not in ("account", "id"))
        with Path(path).open("rb") as file:
            while batch := [line for _, line in zip(range(UPSERT_ROWS), file, strict=False)]:
                with link.transaction():
                    link.execute("create temporary table if not exists s (like upsert_target)")
                    link.execute("truncate s")
                    with link.cursor().copy("copy s from stdin") as copy:
                        copy.write(b"".join(batch))
                    link.execute(
                        "insert into upsert_target select * from s"
                        f" on conflict (account, id) do update set {changes}"
                    )
    _print(seconds=0.0)


@contextmanager
def timed() -> Iterator[dict[str, float]]:
    """Wall and CPU seconds of what is done inside, there afterwards."""
    spent: dict[str, float] = {}
    started, before = time.perf_counter(), time.process_time()
    yield spent
    spent |= {"seconds": time.perf_counter() - started, "cpu": time.process_time() - before}


def peak() -> float:
    """This process's largest resident size in MB (ru_maxrss would count its parent's too)."""
    found = re.search(r"VmHWM:\s+(\d+) kB", Path("/proc/self/status").read_text("ascii"))
    assert found is not None
    return int(found.group(1)) / 1024


def _register() -> None:
    from bench_sync_source import BENCH

    from marketing_ops.sources import registry

    registry.SYSTEMS[BENCH.system] = BENCH


def _context(params: dict[str, Any]) -> Any:
    """What Airflow hands to a task, as far as our operators look at it."""
    end = datetime.now(UTC).replace(minute=0, second=0, microsecond=0)
    run = SimpleNamespace(
        run_type="scheduled", run_id="bench", run_after=end, triggering_user_name="bench"
    )
    start = end - timedelta(hours=1)
    return {
        "dag_run": run,
        "params": params,
        "data_interval_start": start,
        "data_interval_end": end,
    }


def _print(**found: Any) -> None:
    print(json.dumps(found), flush=True)


ROLES: dict[str, Callable[..., None]] = {
    "task": task,
    "empty": empty,
    "migrate": migrate,
    "fetch": fetch,
    "fetch_file": fetch_file,
    "copy": copy,
    "upsert": upsert,
}

if __name__ == "__main__":
    ROLES[sys.argv[1]](*sys.argv[2:])
