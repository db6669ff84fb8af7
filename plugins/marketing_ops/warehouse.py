"""The warehouse: how to connect, migrate and lock it, and how a batch of facts is numbered."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import Any

import psycopg
from psycopg import sql
from psycopg.types.json import Jsonb

from marketing_ops import clock, sqlfile
from marketing_ops.connections import Connection, Resolver, from_environment
from marketing_ops.errors import FatalError, RetryableError
from marketing_ops.paths import include_root

WAREHOUSE_CONNECTION = "marketing_ops_warehouse"

Warehouse = psycopg.Connection[tuple[Any, ...]]
"""An autocommit connection. Engines open their transactions with `warehouse.transaction()`."""

# Postgres answers that a later try may outlive: connection loss, serialisation, out of resources.
_RETRYABLE_STATES = ("08", "40", "53", "57", "55P03")

_REFUSALS = ("authentication failed", "does not exist", "no pg_hba.conf entry", "no password")


def connect(
    resolve: Resolver = from_environment, *, application: str = "marketing_ops"
) -> Warehouse:
    """An autocommit connection to the warehouse, in UTC, found through `resolve`.

    Raises:
        RetryableError: the server cannot be reached.
        FatalError: the connection is missing, or the server refuses the login or the database.
    """
    return open_warehouse(resolve(WAREHOUSE_CONNECTION), application=application)


def open_warehouse(connection: Connection, *, application: str = "marketing_ops") -> Warehouse:
    """As `connect`, for a connection already found. `extra.socket` names a unix socket folder."""
    try:
        opened = psycopg.connect(
            host=connection.extra.get("socket") or connection.host or None,
            port=connection.port,
            dbname=connection.schema or "postgres",
            user=connection.login or None,
            password=connection.password or None,
            application_name=application,
            options="-c timezone=UTC -c jit=off",
            connect_timeout=10,
            autocommit=True,
        )
    except psycopg.OperationalError as error:
        # libpq gives no SQLSTATE for a refused connection, only the server's words.
        if any(words in str(error) for words in _REFUSALS):
            raise FatalError(
                f"Postgres refuses connection `{connection.conn_id}`: check its login, password"
                " and database"
            ) from None
        raise RetryableError(
            f"Postgres at `{connection.conn_id}` cannot be reached: check its host and port, and"
            " that the server runs"
        ) from error
    opened.prepared_max = 500  # one process runs all engines' statements; 100 would evict them
    return opened


@contextmanager
def translated_errors() -> Iterator[None]:
    """Turn Postgres errors into ours: a full disk or a lost connection is retryable, a missing
    table means an unmigrated warehouse; any other is fatal. The message never shows row values.
    """
    try:
        yield
    except psycopg.Error as error:
        # `from None`: the original's text quotes rows (DETAIL) and parameters.
        raise _translated(error) from None


def _translated(error: psycopg.Error) -> RetryableError | FatalError:
    if error.sqlstate is None and not isinstance(error, psycopg.OperationalError):
        return FatalError(f"a statement could not be sent to Postgres: {type(error).__name__}")
    state = error.sqlstate or "08006"
    if state == "53100":
        return RetryableError(
            "Postgres is out of disk space (53100): nothing of this step was stored. Free space,"
            " then clear the task"
        )
    if state.startswith(_RETRYABLE_STATES):
        return RetryableError(f"Postgres is busy or went away ({state}): try again in a minute")
    if state in ("42P01", "3F000", "42703"):
        return FatalError(
            f"the warehouse lacks a table or column ({state}): run `marketing-ops migrate`"
        )
    if state.startswith("22"):
        # Data errors quote the value itself in their first line.
        return FatalError(f"a value does not fit its column's type (Postgres error {state})")
    return FatalError(f"Postgres error {state}: {error.diag.message_primary or ''}")


@dataclass(frozen=True)
class Migration:
    """One numbered file of include/sql/migrations."""

    version: int
    name: str
    checksum: str


def known_migrations() -> list[Migration]:
    """The migrations this code brings, in order.

    Raises:
        FatalError: two files have the same number.
    """
    found: dict[int, Migration] = {}
    for path in sorted((include_root() / "sql" / "migrations").glob("*.sql")):
        match = re.fullmatch(r"(\d{4})_(\w+)", path.stem)
        if match is None:
            raise FatalError(f"{path.name} is not named like 0001_what_it_does.sql")
        version = int(match.group(1))
        if version in found:
            raise FatalError(f"two migrations have the number {version:04d}")
        checksum = hashlib.sha256(path.read_bytes()).hexdigest()
        found[version] = Migration(version, path.stem, checksum)
    return [found[version] for version in sorted(found)]


def applied_versions(warehouse: Warehouse) -> dict[int, str]:
    """Version -> checksum of what was applied; empty for an unmigrated warehouse."""
    exists = warehouse.execute("select to_regclass('mkt_ops.schema_migrations')").fetchone()
    if exists is None or exists[0] is None:
        return {}
    rows = warehouse.execute("select version, checksum from mkt_ops.schema_migrations")
    return {int(version): str(checksum) for version, checksum in rows}


def check_version(warehouse: Warehouse) -> None:
    """Refuse to work on a warehouse of another version.

    Raises:
        FatalError: it is unmigrated, behind or ahead of this code; the message says what to do.
    """
    known = {migration.version for migration in known_migrations()}
    applied = set(applied_versions(warehouse))
    if not applied:
        raise FatalError("the warehouse is not migrated: run `marketing-ops migrate`")
    if known - applied:
        missing = min(known - applied)
        raise FatalError(
            f"the warehouse is behind this code (lacks migration {missing:04d}): run"
            " `marketing-ops migrate`"
        )
    if applied - known:
        raise FatalError(
            f"the warehouse is newer than this code (has migration {max(applied):04d}): upgrade"
            " the package, or restore the backup made before the upgrade"
        )


def migrate(warehouse: Warehouse) -> list[str]:
    """Bring the warehouse to this code's version; returns the names of what was applied.

    Each migration is one transaction; a rerun applies nothing. Then the raw tables of every
    declared stream and the views over them are made.

    Raises:
        FatalError: an applied migration was edited, or the warehouse is newer than this code.
    """
    done = []
    with warehouse.transaction():
        lock(warehouse, "migrate")
        warehouse.execute("create schema if not exists mkt_ops")
        warehouse.execute(
            "create table if not exists mkt_ops.schema_migrations (version integer primary key,"
            " name text not null, checksum text not null, applied_at timestamptz not null)"
        )
        applied = applied_versions(warehouse)
        known = known_migrations()
        newer = set(applied) - {migration.version for migration in known}
        if newer:
            raise FatalError(
                f"the warehouse is newer than this code (has migration {max(newer):04d}): upgrade"
                " the package"
            )
        for migration in known:
            if migration.version in applied:
                if applied[migration.version] != migration.checksum:
                    raise FatalError(
                        f"{migration.name}.sql was edited after it was applied: restore it and put"
                        " the change into a new migration"
                    )
                continue
            sqlfile.execute(warehouse, f"migrations/{migration.name}")
            warehouse.execute(
                "insert into mkt_ops.schema_migrations values (%s, %s, %s, %s)",
                (migration.version, migration.name, migration.checksum, clock.now()),
            )
            done.append(migration.name)
        from marketing_ops.sync.tables import create_raw_tables  # it needs this module

        create_raw_tables(warehouse)
    return done


def lock(warehouse: Warehouse, *parts: object) -> None:
    """Wait for the advisory lock named by `parts` and hold it until the transaction ends.

    A statement of its own, so that the next statement's snapshot sees what the holder committed.
    """
    name = ":".join(str(part) for part in parts)
    warehouse.execute("select pg_advisory_xact_lock(hashtextextended(%s, 0))", (name,))


def open_batch(warehouse: Warehouse, kind: str, *, is_baseline: bool) -> int:
    """Number the next batch of facts; call inside the transaction that writes them.

    Takes the one advisory lock of batches, so that batch numbers commit in their order: a reader
    at "batch <= k" never misses an earlier number that commits later.

    Args:
        kind: what wrote it, for instance `unify`.
        is_baseline: True for an initial load or a refresh; such facts enrol nobody.
    """
    lock(warehouse, "batches")
    row = warehouse.execute(
        "insert into mkt_ops.batches (batch, kind, is_baseline, closed_at)"
        " select coalesce(max(batch), 0) + 1, %s, %s, %s from mkt_ops.batches returning batch",
        (kind, is_baseline, clock.now()),
    ).fetchone()
    assert row is not None
    return int(row[0])


def last_batch(warehouse: Warehouse) -> int:
    """The number of the last committed batch; 0 before the first."""
    row = warehouse.execute("select coalesce(max(batch), 0) from mkt_ops.batches").fetchone()
    return int(row[0]) if row else 0


def ensure_partitions(warehouse: Warehouse, table: str, first: date, last: date) -> int:
    """Create the missing monthly partitions of `table` for the months of first..last.

    Args:
        table: a table of ours, schema-qualified, partitioned by a date or timestamptz range.

    Returns:
        How many were created.
    """
    if re.fullmatch(r"mkt_(core|engage)\.[a-z_]+", table) is None:
        raise FatalError(f"`{table}` is not a partitioned table of ours")
    schema, name = table.split(".")
    created = 0
    month = first.replace(day=1)
    while month <= last:
        following = (month.replace(day=28) + timedelta(days=4)).replace(day=1)
        partition = f"{name}_{month:%Y%m}"
        known = warehouse.execute("select to_regclass(%s)", (f"{schema}.{partition}",)).fetchone()
        if known is None or known[0] is None:
            with warehouse.transaction():
                lock(warehouse, "partitions", table)
                warehouse.execute(
                    sql.SQL(
                        "create table if not exists {} partition of {} for values from ({}) to ({})"
                    ).format(
                        sql.Identifier(schema, partition),
                        sql.Identifier(schema, name),
                        sql.Literal(f"{month} 00:00:00+00"),
                        sql.Literal(f"{following} 00:00:00+00"),
                    )
                )
            created += 1
        month = following
    return created


def audit(
    warehouse: Warehouse, actor: str, action: str, subject: str, details: dict[str, Any]
) -> None:
    """Record in `mkt_ops.audit_log` who did what to what; `details` holds no personal data."""
    warehouse.execute(
        "insert into mkt_ops.audit_log (at, actor, action, subject, details)"
        " values (%s, %s, %s, %s, %s)",
        (clock.now(), actor, action, subject, Jsonb(details)),
    )


def as_of_batch(warehouse: Warehouse, instant: datetime) -> int:
    """The last batch that was closed at `instant`: what `known_at` may see. 0 before the first."""
    row = warehouse.execute(
        "select coalesce(max(batch), 0) from mkt_ops.batches where closed_at <= %s", (instant,)
    ).fetchone()
    return int(row[0]) if row else 0


FOR_FEW = {
    "plan_cache_mode": "force_generic_plan",
    "enable_seqscan": "off",
    "enable_hashjoin": "off",
    "enable_mergejoin": "off",
    "max_parallel_workers_per_gather": "0",
}


def plan_for_few(warehouse: Warehouse) -> None:
    """Plan this transaction's statements for a few rows: by index, once a session.

    Planning these statements anew takes longer than running them on a few rows, and the planner
    cannot know that a run's rows are twenty of a million.
    """
    calls = (f"set_config('{name}', '{value}', true)" for name, value in FOR_FEW.items())
    warehouse.execute(f"select {', '.join(calls)}".encode())
