"""How unify runs its SQL: one text for a handful of rows and for a million, planned apart."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import date
from typing import Any

from psycopg.types.numeric import Int8

from marketing_ops import sqlfile
from marketing_ops.warehouse import Warehouse, ensure_partitions

SMALL_ROWS = 2000
"""Up to this many rows of each entity a batch is looked up by index, above it is hashed."""


def bigints(values: Iterable[int]) -> list[Int8]:
    """`values` as a bigint[] parameter, whatever their size: one type, one prepared statement."""
    return [Int8(value) for value in values]


@dataclass(frozen=True)
class Batch:
    """The transaction that writes one batch, and what its statements share.

    Attributes:
        number: the batch.
        is_small: planned for a few rows; see `begin_small`.
        params: runs, brands, batch, timezone, reporting_currency, now.
    """

    warehouse: Warehouse
    number: int
    is_small: bool
    params: Mapping[str, Any]

    def run(self, name: str, **more: Any) -> dict[str, Any]:
        """Execute include/sql/core/<name>.sql; its one row by column, or only `rowcount`."""
        text = sqlfile.load(f"core/{name}").encode()
        # Prepared at once: the plan of a statement that joins by index costs more than its run.
        cursor = self.warehouse.execute(text, {**self.params, **more}, prepare=self.is_small)
        if cursor.description is None:
            return {"rowcount": cursor.rowcount}
        row = cursor.fetchone()
        assert row is not None
        return dict(zip([column.name for column in cursor.description], row, strict=True))


def begin_small(warehouse: Warehouse) -> None:
    """Plan this transaction's statements for a few rows: by index, once a session.

    The planner cannot know that `any(runs)` means twenty rows of a million: a generic plan would
    hash whole tables, and planning these statements anew takes longer than running them.
    """
    warehouse.execute(
        "select set_config('plan_cache_mode', 'force_generic_plan', true),"
        " set_config('enable_seqscan', 'off', true), set_config('enable_hashjoin', 'off', true),"
        " set_config('enable_mergejoin', 'off', true)"
    )


def begin_big(warehouse: Warehouse, systems: Iterable[str]) -> None:
    """Give the planner true sizes of the raw tables of `systems`, and room to hash and sort."""
    warehouse.execute("select set_config('work_mem', '128MB', true)")
    tables = warehouse.execute(
        "select format('%%I.%%I', schemaname, tablename) from pg_catalog.pg_tables"
        " where schemaname = 'mkt_raw' and split_part(tablename, '__', 1) = any(%s)",
        (list(systems),),
    ).fetchall()
    analyze(warehouse, *(str(table[0]) for table in tables))


def analyze(warehouse: Warehouse, *tables: str) -> None:
    """Refresh the statistics of `tables` (names of ours, already quoted)."""
    if tables:
        warehouse.execute(f"analyze {', '.join(tables)}".encode())


def ensure_event_months(warehouse: Warehouse, months: Iterable[date]) -> None:
    """Create the missing partitions of mkt_core.events for `months` (first days).

    Outside the batch's transaction: attaching a partition locks the table until the commit.
    """
    rows = warehouse.execute(
        "select month from unnest(%s::date[]) as months (month) where"
        " to_regclass('mkt_core.events_' || to_char(month, 'YYYYMM')) is null order by month",
        (sorted(set(months)),),
    ).fetchall()
    for (month,) in rows:
        ensure_partitions(warehouse, "mkt_core.events", month, month)
