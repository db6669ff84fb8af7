"""What the warehouse needs done ahead of time."""

from __future__ import annotations

from datetime import datetime, timedelta

from marketing_ops.warehouse import Warehouse, ensure_partitions

_AHEAD = timedelta(days=92)
_PARTITIONED = ("mkt_core.events", "mkt_engage.sends", "mkt_engage.enrolment_log")


def make_partitions(warehouse: Warehouse, at: datetime) -> dict[str, int]:
    """Create the partitions of this and the next three months; table -> how many were missing."""
    first, last = at.date(), (at + _AHEAD).date()
    return {table: ensure_partitions(warehouse, table, first, last) for table in _PARTITIONED}
