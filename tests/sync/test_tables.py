"""Raw tables come from the streams' declarations."""

from __future__ import annotations

from pathlib import Path

import pytest

from marketing_ops.errors import FatalError
from marketing_ops.sources.registry import SYSTEMS
from marketing_ops.sync.tables import create_raw_tables, table_name
from marketing_ops.warehouse import Warehouse
from tests.sync.conftest import include_copy


def test_every_stream_has_its_table(db: Warehouse) -> None:
    """Declared columns with their types, the common ones behind, keyed by account and id."""
    for system, source in SYSTEMS.items():
        for stream in source.streams:
            for member in stream.family():
                if member.deletes:
                    continue
                rows = db.execute(
                    "select column_name, data_type from information_schema.columns"
                    " where table_schema = 'mkt_raw' and table_name = %s order by ordinal_position",
                    (table_name(system, member.name),),
                ).fetchall()
                names = [name for name, _ in rows]
                declared = [column.name for column in member.columns]
                assert names[: len(declared) + 1] == ["account", *declared]
                assert names[-6:] == [
                    "extra",
                    "row_hash",
                    "source_updated_at",
                    "is_deleted",
                    "loaded_at",
                    "sync_run_id",
                ]


def test_rerun_restores_a_missing_column_and_keeps_rows(db: Warehouse) -> None:
    """A column that a new version declares is added, the views over it come back."""
    db.execute("alter table mkt_raw.shopify__customers drop column locale cascade")
    create_raw_tables(db)
    create_raw_tables(db)
    db.execute("select locale from mkt_raw.shopify__customers")


def test_views_follow_their_files(
    db: Warehouse, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A staging file makes its views, also when their columns or those of a union over them change;
    one that a user's object depends on is named instead of dropped.
    """
    include = include_copy(tmp_path)
    monkeypatch.setenv("MARKETING_OPS_INCLUDE", str(include))
    path = include / "sql" / "staging" / "stg_test.sql"
    path.write_text("create or replace view mkt_staging.stg_test as select 1 as a, 2 as b\n")
    create_raw_tables(db)
    path.write_text("create or replace view mkt_staging.stg_test as select 3 as c\n")
    create_raw_tables(db)
    assert db.execute("select c from mkt_staging.stg_test").fetchone() == (3,)
    refunds = include / "sql" / "staging" / "stg_shopify__refunds.sql"
    text = refunds.read_text()
    refunds.write_text(text.replace("    refunds.order_id,", "    refunds.order_id::bigint,"))
    create_raw_tables(db)
    kinds = db.execute(
        "select distinct data_type from information_schema.columns where table_schema ="
        " 'mkt_staging' and table_name = 'shopify__refunds' and column_name = 'order_id'"
    ).fetchall()
    assert kinds == [("bigint",)]
    db.execute("create view mkt_staging.theirs as select c from mkt_staging.stg_test")
    path.write_text("create or replace view mkt_staging.stg_test as select 'x' as d\n")
    with pytest.raises(FatalError, match=r"mkt_staging\.theirs depends on view"):
        create_raw_tables(db)


@pytest.mark.parametrize("name", ["Orders", "o;drop", "", "1x", 'a"b'])
def test_odd_names_never_reach_sql(name: str) -> None:
    """Only plain lower-case identifiers become table names."""
    with pytest.raises(FatalError):
        table_name("shopify", name)
