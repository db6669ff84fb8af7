"""What a source shows that its stream does not declare so: kept, written down, and said once."""

from __future__ import annotations

from collections import Counter

from psycopg import sql

from marketing_ops import clock, sqlfile
from marketing_ops.sync.rows import Odd
from marketing_ops.sync.store import Store
from marketing_ops.sync.tables import table_name

_FEW = 20
"""A field that fewer records lack proves nothing."""

_CHANCE = 1e-6
_NAMES_KEPT = 200
_LONGEST_NAME = 100
_SAYS = {
    "new": "new fields, kept in `extra`",
    "retyped": "fields of another type, kept in `extra`",
    "vanished": "fields that no record shows any more",
}


def write(store: Store) -> list[str]:
    """Note the run's odd fields in mkt_ops.stream_fields; a line for each kind not seen before."""
    lines = []
    if store.run.stream.deletes:
        return []  # it stores nothing but ids
    for stream, odd in store.odd.items():
        fetched = store.totals[stream].fetched
        found = [
            key
            for key in _worth_noting(odd, fetched)
            if key[1] != "vanished" or _is_unlikely(store, stream, key[0], fetched)
        ]
        if not found:
            continue
        params = {
            "account": store.run.account,
            "stream": stream,
            "fields": [name[:_LONGEST_NAME] for name, _ in found],
            "changes": [change for _, change in found],
            "records": [odd[key] for key in found],
            "fetched": fetched,
            "sync_run_id": store.run.runs[stream],
            "at": clock.now(),
        }
        for change, names in sqlfile.execute(store.warehouse, "ops/write_stream_fields", params):
            shown = ", ".join(names)
            lines.append(f"{store.run.account} {stream}: {_SAYS[change]}: {shown}")
    return lines


def _worth_noting(odd: Counter[Odd], fetched: int) -> list[Odd]:
    """Every new and retyped field; a vanished one only when not a single record had it."""
    found = [
        key
        for key, count in odd.items()
        if key[1] != "vanished" or (count == fetched and fetched >= _FEW)
    ]
    return sorted(found)[:_NAMES_KEPT]


def _is_unlikely(store: Store, stream: str, column: str, fetched: int) -> bool:
    """Whether so many records without a value of it are no chance, by how many rows have none.

    An optional field is rare, and one that nobody uses did not vanish. The statistics know without
    a look at the rows, and still after a refresh emptied them all.
    """
    table = table_name(store.run.system, stream)
    row = store.warehouse.execute(
        "select null_frac::float8 from pg_stats"
        " where schemaname = 'mkt_raw' and tablename = %s and attname = %s",
        (table, column),
    ).fetchone()
    if row is None:
        row = store.warehouse.execute(
            sql.SQL("select 1 - count({})::float8 / greatest(count(*), 1) from {}").format(
                sql.Identifier(column), sql.Identifier("mkt_raw", table)
            )
        ).fetchone()
    return row is not None and float(row[0]) ** fetched < _CHANCE
