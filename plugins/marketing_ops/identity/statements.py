"""How unify runs its SQL: one text for a handful of rows and for a million, planned apart."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from psycopg.types.numeric import Int8

from marketing_ops import sqlfile
from marketing_ops.warehouse import FOR_FEW, Warehouse

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
        is_small: planned for a few rows; see `warehouse.plan_for_few`.
        params: brands, batch, timezone, reporting_currency, now.
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


def plan_for_many(warehouse: Warehouse, systems: Iterable[str]) -> None:
    """Give the planner back its choices, true sizes of the tables, and room to hash and sort."""
    for name in FOR_FEW:
        warehouse.execute(f"set local {name} to default".encode())
    warehouse.execute("select set_config('work_mem', '128MB', true)")
    tables = warehouse.execute(
        "select format('%%I.%%I', schemaname, tablename) from pg_catalog.pg_tables"
        " where schemaname = 'mkt_raw' and split_part(tablename, '__', 1) = any(%s)",
        (list(systems),),
    ).fetchall()
    analyze(warehouse, "unify_changed", *(str(table[0]) for table in tables))


def analyze(warehouse: Warehouse, *tables: str) -> None:
    """Refresh the statistics of `tables` (names of ours, already quoted)."""
    if tables:
        warehouse.execute(f"analyze {', '.join(tables)}".encode())
