"""The warehouse: reachable, migrated, on time, neither too weak nor too strong, tidy."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

from marketing_ops import clock, migration_plan, sqlfile, warehouse
from marketing_ops.doctor.report import bad, notice, ok
from marketing_ops.sources.base import Finding
from marketing_ops.warehouse import Warehouse

_OLDEST_POSTGRES = 150_000
_SKEW_SECONDS = 5.0
_STUCK_AFTER = timedelta(hours=24)
_LEAST_FREE_BYTES = 1 << 30


def server(connection: Warehouse) -> Iterator[Finding]:
    """Version, clock and room of the server."""
    row = connection.execute(
        "select current_setting('server_version'), current_setting('server_version_num')::int,"
        " current_database(), pg_database_size(current_database())"
    ).fetchone()
    assert row is not None
    text, number, database, size = row
    if number < _OLDEST_POSTGRES:
        yield bad("server", f"Postgres {text}: upgrade it to 15 or later")
    else:
        yield ok("server", f"Postgres {text}, database {database}")
    yield _clock(connection)
    yield _space(connection, int(size))


def _clock(connection: Warehouse) -> Finding:
    held = clock.held_at()
    if held is not None:
        return notice(
            "clock",
            f"held at {held:%Y-%m-%d %H:%M} UTC by {clock.CLOCK_FILE_VARIABLE}: for the demo and"
            " for tests only",
        )
    before = clock.now()
    row = connection.execute("select clock_timestamp()").fetchone()
    assert row is not None
    after = clock.now()
    ahead = (row[0] - (before + (after - before) / 2)).total_seconds()
    if abs(ahead) > _SKEW_SECONDS:
        direction = "ahead of" if ahead > 0 else "behind"
        return bad(
            "clock", f"Postgres is {abs(ahead):,.0f} s {direction} us: set both clocks by NTP"
        )
    return ok("clock", f"within {_SKEW_SECONDS:.0f} s of ours")


def _space(connection: Warehouse, size: int) -> Finding:
    """Free space can be seen only where Postgres runs on this machine and names its folder."""
    used = f"{size / 1e9:,.1f} GB used"
    host = connection.info.host
    row = connection.execute(
        "select setting from pg_settings where name = 'data_directory'"
    ).fetchone()
    folder = Path(row[0]) if row and row[0] else None
    is_here = host.startswith("/") or host in ("localhost", "127.0.0.1", "::1", "")
    if folder is None or not is_here or not folder.exists():
        return ok("space", f"{used}; how much is free cannot be seen from here")
    free = shutil.disk_usage(folder).free
    if free < _LEAST_FREE_BYTES:
        return bad("space", f"{used}, {free / 1e9:,.1f} GB free: free space before it runs out")
    return ok("space", f"{used}, {free / 1e9:,.1f} GB free")


def is_migrated(connection: Warehouse) -> bool:
    """Whether there are tables of ours at all."""
    row = connection.execute("select to_regclass('mkt_ops.schema_migrations')").fetchone()
    return row is not None and row[0] is not None


def version(connection: Warehouse) -> Iterator[Finding]:
    """Whether this code and the warehouse fit."""
    warehouse.check_version(connection)
    yield ok("version", f"migrated to {warehouse.known_migrations()[-1].name}")


def grants(connection: Warehouse) -> Iterator[Finding]:
    """What the role may not do that it has to, and what it may that it need not."""
    yield _working(connection)
    lacking = migration_plan.missing_grants(connection)
    if lacking:
        yield notice("migrating", "this role cannot migrate: " + "; ".join(lacking))
    row = connection.execute(
        "select rolname, rolsuper, rolcreaterole, rolcreatedb, rolreplication, rolbypassrls"
        " from pg_roles where rolname = current_user"
    ).fetchone()
    assert row is not None
    names = ("superuser", "createrole", "createdb", "replication", "bypassrls")
    powers = [name for name, has in zip(names, row[1:], strict=True) if has]
    if powers:
        yield notice("role", f"{row[0]} is more than it needs: {', '.join(powers)}")
    else:
        yield ok("role", f"{row[0]} has no power beyond its database")


def _working(connection: Warehouse) -> Finding:
    rows = sqlfile.execute(connection, "ops/working_grants").fetchall()
    lacks = [f"usage on {schema}" for schema, has_usage, *_ in rows if not has_usage]
    lacks += [
        f"select, insert, update, delete on {closed} tables or views of {schema}"
        for schema, _, closed, _ in rows
        if closed
    ]
    lacks += [
        f"ownership of the partitioned tables of {schema}"
        for schema, *_, foreign in rows
        if foreign
    ]
    if lacks:
        return bad("grants", f"this role lacks {'; '.join(lacks)}: grant it as their owner")
    return ok("grants", f"may use the {len(rows)} mkt_ schemas")


def leftovers(connection: Warehouse) -> list[Finding]:
    """What earlier runs left behind, each with what ends it."""
    now = clock.now()
    rows = sqlfile.execute(
        connection, "ops/leftovers", {"now": now, "old": now - _STUCK_AFTER}
    ).fetchall()
    found = [_leftover(str(what), str(subject), str(detail)) for what, subject, detail in rows]
    return found or [ok("leftovers", "none")]


def _leftover(what: str, subject: str, detail: str) -> Finding:
    if what == "running":
        return bad(
            what, f"{subject}: since {detail} UTC: see whether its task lives; the next run ends it"
        )
    if what == "blocked":
        return notice(what, f"{subject}: until {detail}")
    if what == "unknown":
        return bad(
            what, f"{subject}: {detail} sends of unknown outcome: `marketing-ops unknown-sends`"
        )
    if what == "rejected":
        return notice(what, f"{subject}: {detail} records wait for `replay_rejected`")
    return notice(what, f"{subject}: open since {detail} UTC")
