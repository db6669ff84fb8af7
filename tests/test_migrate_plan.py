from __future__ import annotations

import uuid
from collections.abc import Iterator
from pathlib import Path
from shutil import copytree

import psycopg
import pytest
from psycopg.conninfo import make_conninfo

from marketing_ops import migration_plan, paths, sqlfile, warehouse
from marketing_ops.warehouse import Warehouse


@pytest.fixture
def empty_db(postgres_uri: str) -> Iterator[Warehouse]:
    """A database in which nobody migrated, with a schema that dbt owns."""
    name = f"test_{uuid.uuid4().hex[:12]}"
    with psycopg.connect(postgres_uri, autocommit=True) as admin:
        admin.execute(f"create database {name}".encode())
        with psycopg.connect(make_conninfo(postgres_uri, dbname=name), autocommit=True) as opened:
            opened.execute("create schema staging create table stg_orders (id bigint)")
            yield opened
        admin.execute(f"drop database {name} with (force)".encode())


@pytest.fixture
def own_include(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The shipped include/ in a place where a test may change it."""
    folder = tmp_path / "include"
    copytree(paths.include_root(), folder)
    monkeypatch.setenv("MARKETING_OPS_INCLUDE", str(folder))
    sqlfile.load.cache_clear()
    yield folder
    sqlfile.load.cache_clear()


def _everything(connection: Warehouse) -> list[tuple[object, ...]]:
    """Each row of the catalogues with the transaction that wrote it: any write would show."""
    catalogues = (
        "pg_namespace", "pg_class", "pg_attribute", "pg_type", "pg_proc", "pg_constraint",
        "pg_index", "pg_rewrite", "pg_depend", "pg_description", "pg_trigger",
    )  # fmt: skip
    return [
        row
        for name in catalogues
        for row in connection.execute(
            f"select '{name}', ctid::text, xmin::text from pg_catalog.{name} order by 2".encode()
        )
    ]


def test_a_plan_leaves_the_catalogue_identical(empty_db: Warehouse) -> None:
    """A look is only a look: not one row of the catalogues is written, and no schema remains."""
    before = _everything(empty_db)
    found = migration_plan.plan(empty_db)
    assert found.is_possible
    assert not found.is_empty
    assert _everything(empty_db) == before


def test_the_plan_is_what_migrate_then_does(empty_db: Warehouse) -> None:
    """Run after the plan, the migration makes exactly what was promised."""
    before = set(migration_plan.catalogue(empty_db))
    found = migration_plan.plan(empty_db)
    assert warehouse.migrate(empty_db) == [name for name, _ in found.migrations]
    made = set(migration_plan.catalogue(empty_db)) - before
    assert {thing for thing in made if thing.kind in ("schema", "table", "view")} == {
        thing for thing in found.created if thing.kind in ("schema", "table", "view")
    }
    assert {thing.schema for thing in made} == set(migration_plan.SCHEMAS)


def test_an_empty_database_reads_well(empty_db: Warehouse) -> None:
    """Migrations with their purpose, tables by schema, and whose schemas stay as they are."""
    text = migration_plan.render(migration_plan.plan(empty_db))
    assert "  0001_ops  Books, cursors, batches" in text
    assert "  6 schemas: mkt_core, mkt_engage, mkt_marts, mkt_ops, mkt_raw, mkt_staging" in text
    assert "tables of mkt_ops: account_pace, account_state" in text
    assert "never touches\n  public: 0 tables and views\n  staging: 1 tables and views" in text
    assert "and rolled back" in text
    assert max(map(len, text.splitlines())) <= 100


def test_a_migrated_warehouse_has_nothing_to_do(db: Warehouse) -> None:
    """The usual answer is one sentence."""
    found = migration_plan.plan(db)
    assert found.is_empty
    assert "nothing to do: the warehouse is as this code wants it" in migration_plan.render(found)


def test_a_warehouse_that_is_ahead_is_refused(db: Warehouse) -> None:
    """Older code says so before it is run for good."""
    db.execute("insert into mkt_ops.schema_migrations values (9999, 'x', 'x', now())")
    found = migration_plan.plan(db)
    assert not found.is_possible
    assert "newer than this code" in migration_plan.render(found)


def test_a_later_version_shows_what_it_adds_and_changes(db: Warehouse, own_include: Path) -> None:
    """A new migration: its tables, columns and indexes; a view whose text changed is a change."""
    (own_include / "sql" / "migrations" / "9000_later.sql").write_text(
        "-- What a later version needs.\n"
        "create table mkt_ops.later (id bigint primary key);\n"
        "alter table mkt_ops.audit_log add column later text;\n"
        "create index later_idx on mkt_ops.audit_log (later);\n"
        "alter table mkt_ops.stop_switch alter column reason drop default;\n"
    )
    found = migration_plan.plan(db)
    assert found.migrations == [("9000_later", "What a later version needs.")]
    assert [str(thing) for thing in found.created] == [
        "mkt_ops.audit_log.later",
        "later_idx on mkt_ops.audit_log",
        "mkt_ops.later",
    ]
    assert [str(thing) for thing in found.changed] == ["mkt_ops.stop_switch.reason"]
    assert db.execute("select to_regclass('mkt_ops.later')").fetchone() == (None,)


def test_views_that_read_ours_are_named(db: Warehouse) -> None:
    """Somebody's report on a staging view would stop a change of that view's columns."""
    db.execute("create view public.report as select * from mkt_staging.shopify__contacts")
    text = migration_plan.render(migration_plan.plan(db))
    assert "public.report reads mkt_staging.shopify__contacts" in text


def test_missing_grants_come_with_their_statement(db: Warehouse, warehouse_uri: str) -> None:
    """A role that cannot migrate learns what to ask its administrator for; nothing is tried."""
    role = f"reader_{uuid.uuid4().hex[:8]}"
    db.execute(f"create role {role} login".encode())
    db.execute(f"grant usage on schema mkt_ops to {role}".encode())
    db.execute(f"grant select on mkt_ops.schema_migrations to {role}".encode())
    try:
        with psycopg.connect(make_conninfo(warehouse_uri, user=role), autocommit=True) as theirs:
            found = migration_plan.plan(theirs)
    finally:
        db.execute(f"drop owned by {role}".encode())
        db.execute(f"drop role {role}".encode())
    assert not found.is_possible
    text = " ".join(migration_plan.render(found).split())
    assert f"cannot create schemas: grant create on database {found.database} to {role}" in text
    assert f"grant usage, create on schema mkt_core to {role}" in text
    assert "tables and views of mkt_core: migrate as" in text
