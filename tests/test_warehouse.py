from __future__ import annotations

from datetime import date

import pytest

from marketing_ops import warehouse
from marketing_ops.errors import FatalError, RetryableError
from marketing_ops.warehouse import Warehouse


def test_migrate_twice_applies_nothing_the_second_time(db: Warehouse) -> None:
    """A rerun of `migrate` is free: the template is already migrated."""
    assert warehouse.migrate(db) == []
    warehouse.check_version(db)


def test_unmigrated_warehouse_says_what_to_run(db: Warehouse) -> None:
    """Without the book of migrations the message names the command."""
    db.execute("drop table mkt_ops.schema_migrations")
    with pytest.raises(FatalError, match="run `marketing-ops migrate`"):
        warehouse.check_version(db)


def test_newer_warehouse_is_refused_by_check_and_migrate(db: Warehouse) -> None:
    """Older code never touches a newer warehouse."""
    db.execute("insert into mkt_ops.schema_migrations values (9999, 'x', 'x', now())")
    with pytest.raises(FatalError, match="newer than this code"):
        warehouse.check_version(db)
    with pytest.raises(FatalError, match="newer than this code"):
        warehouse.migrate(db)


def test_edited_migration_is_refused(db: Warehouse) -> None:
    """What was applied stays what it was."""
    db.execute("update mkt_ops.schema_migrations set checksum = 'x' where version = 1")
    with pytest.raises(FatalError, match="edited after it was applied"):
        warehouse.migrate(db)


def test_batches_are_numbered_without_gaps_in_commit_order(db: Warehouse) -> None:
    """A batch that rolls back leaves no hole that a reader could wait for."""
    with db.transaction():
        assert warehouse.open_batch(db, "test", is_baseline=True) == 1
    with pytest.raises(ZeroDivisionError), db.transaction():
        warehouse.open_batch(db, "test", is_baseline=False)
        raise ZeroDivisionError
    with db.transaction():
        assert warehouse.open_batch(db, "test", is_baseline=False) == 2
    assert warehouse.last_batch(db) == 2


def test_partitions_are_made_once(db: Warehouse) -> None:
    """Three months make three partitions, a second call none."""
    span = (date(2026, 1, 31), date(2026, 3, 1))
    assert warehouse.ensure_partitions(db, "mkt_core.events", *span) == 3
    assert warehouse.ensure_partitions(db, "mkt_core.events", *span) == 0


def test_data_errors_do_not_quote_the_value(db: Warehouse) -> None:
    """Postgres quotes a value that does not fit; our sentence does not, nor does its cause."""
    with pytest.raises(FatalError) as caught, warehouse.translated_errors():
        db.execute("select %s::text::integer", ("ana@example.com",))
    assert "22P02" in str(caught.value)
    assert "ana@" not in str(caught.value)
    assert caught.value.__suppress_context__


def test_a_statement_of_ours_that_cannot_be_bound_is_fatal(db: Warehouse) -> None:
    """A missing parameter is a bug: a retry would hide it, the sentence must not say `busy`."""
    with pytest.raises(FatalError, match="could not be sent"), warehouse.translated_errors():
        db.execute("select %(missing)s", {"other": 1})


def test_a_full_disk_is_retryable_and_says_what_to_do(db: Warehouse) -> None:
    """SQLSTATE 53100: nothing was stored, free space and clear the task."""
    db.execute(
        "create function full_disk() returns trigger language plpgsql as"
        " $$ begin raise exception 'no space left' using errcode = '53100'; end $$;"
        " create trigger full_disk before insert on mkt_ops.audit_log"
        " for each row execute function full_disk()"
    )
    with pytest.raises(RetryableError, match="Free space"), warehouse.translated_errors():
        warehouse.audit(db, "me", "test", "x", {})
