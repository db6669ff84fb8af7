"""The raw tables of every declared stream, and the views over them."""

from __future__ import annotations

import re

import psycopg
from psycopg import sql

from marketing_ops.errors import FatalError
from marketing_ops.paths import include_root
from marketing_ops.sources.base import Stream
from marketing_ops.sources.registry import SYSTEMS
from marketing_ops.warehouse import Warehouse

SCHEMA = "mkt_raw"

# What every raw table has after its declared columns.
_COMMON = (
    ("extra", "jsonb"),
    ("row_hash", "bytea not null"),
    ("source_updated_at", "timestamptz"),
    ("is_deleted", "boolean not null default false"),
    ("loaded_at", "timestamptz not null"),
    ("sync_run_id", "bigint not null"),
)
_NAME = re.compile(r"[a-z][a-z0-9_]{0,45}")
_VIEW = re.compile(r"create or replace view mkt_staging\.(\w+)")
_TYPES = frozenset({"text", "bigint", "numeric", "boolean", "timestamptz", "jsonb"})


def table_name(system: str, stream: str) -> str:
    """The raw table of a stream, without its schema.

    Raises:
        FatalError: a declared name is not a plain lower-case identifier.
    """
    for name in (system, stream):
        if _NAME.fullmatch(name) is None:
            raise FatalError(f"`{name}` cannot be part of a table's name")
    return f"{system}__{stream}"


def qualified(system: str, stream: str) -> sql.Identifier:
    """The raw table of a stream as an identifier."""
    return sql.Identifier(SCHEMA, table_name(system, stream))


def create_raw_tables(warehouse: Warehouse) -> None:
    """Make what is missing: raw tables, columns, indexes; then the views of include/sql/staging.

    A rerun changes nothing. Nothing is dropped, save a view of ours whose columns changed.

    Raises:
        FatalError: a view cannot be made, for instance since another object depends on it.
    """
    for system, source in SYSTEMS.items():
        for stream in source.streams:
            for member in stream.family():
                if not member.deletes:
                    _create(warehouse, system, member)
    _create_views(warehouse)


def _create(warehouse: Warehouse, system: str, stream: Stream) -> None:
    table = qualified(system, stream.name)
    declared = [(column.name, _type_of(column.type)) for column in stream.columns]
    columns = [("account", "text not null"), ("id", "text not null"), *declared[1:], *_COMMON]
    warehouse.execute(
        sql.SQL("create table if not exists {} ({}, primary key (account, id))").format(
            table, sql.SQL(", ").join(_definition(*column) for column in columns)
        )
    )
    for column in declared[1:]:
        warehouse.execute(
            sql.SQL("alter table {} add column if not exists {}").format(
                table, _definition(*column)
            )
        )
    _index(warehouse, system, stream, "sync_run_id")
    lookups = [(stream.parent_column,)] if stream.parent_column else []
    for names in (*lookups, *stream.lookups):
        _index(warehouse, system, stream, "account", *names)


def _definition(name: str, kind: str) -> sql.Composed:
    if _NAME.fullmatch(name) is None:
        raise FatalError(f"`{name}` cannot be a column's name")
    return sql.SQL("{} {}").format(sql.Identifier(name), sql.SQL(kind))


def _type_of(kind: str) -> str:
    if kind not in _TYPES:
        raise FatalError(f"`{kind}` is not a column type")
    return kind


def _index(warehouse: Warehouse, system: str, stream: Stream, *columns: str) -> None:
    name = f"{table_name(system, stream.name)}_{columns[-1]}_idx"
    warehouse.execute(
        sql.SQL("create index if not exists {} on {} ({})").format(
            sql.Identifier(name),
            qualified(system, stream.name),
            sql.SQL(", ").join(map(sql.Identifier, columns)),
        )
    )


def _create_views(warehouse: Warehouse) -> None:
    """Each file of include/sql/staging makes its views in mkt_staging."""
    files = sorted((include_root() / "sql" / "staging").glob("*.sql"))
    texts = [path.read_text(encoding="utf-8") for path in files]
    try:
        _execute_all(warehouse, texts)
    except psycopg.errors.InvalidTableDefinition:
        _replace_views(warehouse, texts)


def _execute_all(warehouse: Warehouse, texts: list[str]) -> None:
    with warehouse.transaction():
        for text in texts:
            warehouse.execute(text.encode())


def _replace_views(warehouse: Warehouse, texts: list[str]) -> None:
    """Make our views anew: columns changed, in one of them or in a union over them.

    Raises:
        FatalError: a view of somebody else depends on one of ours; it is not dropped.
    """
    named = {name for text in texts for name in _VIEW.findall(text)}
    unions = {name.rpartition("__")[2] for name in named}
    rows = warehouse.execute("select viewname from pg_views where schemaname = 'mkt_staging'")
    ours = [sql.Identifier("mkt_staging", name) for (name,) in rows if name in named | unions]
    try:
        with warehouse.transaction():
            warehouse.execute(sql.SQL("drop view {}").format(sql.SQL(", ").join(ours)))
            _execute_all(warehouse, texts)
    except psycopg.errors.DependentObjectsStillExist as error:
        raise FatalError(
            "views of mkt_staging have new columns, but something of yours depends on them"
            f" ({error.diag.message_detail}): drop that, migrate, and make it again"
        ) from error
