"""Checks of the warehouse: each file of include/sql/checks returns the rows that are wrong."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import datetime

from psycopg.types.json import Jsonb

from marketing_ops import settings, sqlfile
from marketing_ops.warehouse import Warehouse

_SHOWN = 5
_LATE_AFTER_HOURS = {"hourly": 3, "daily": 30}


@dataclass(frozen=True)
class CheckResult:
    """One check at one instant; `findings` are `subject: detail`, without personal data."""

    name: str
    says: str
    findings: list[str]

    @property
    def is_ok(self) -> bool:
        return not self.findings

    def __str__(self) -> str:
        if self.is_ok:
            return f"{self.name}: ok"
        shown = "; ".join(self.findings[:_SHOWN])
        more = len(self.findings) - _SHOWN
        return f"{self.says}: {shown}" + (f"; and {more} more" if more > 0 else "")


def run_check(warehouse: Warehouse, name: str, at: datetime) -> CheckResult:
    """Run one check as of `at` and record its result in `mkt_ops.check_results`.

    Raises:
        FatalError: there is no such check.
    """
    params = {"at": at, "expected": Jsonb(_expected_streams())}
    rows = sqlfile.execute(warehouse, f"checks/{name}", params).fetchall()
    says = re.search(r"^-- says: (.+)$", sqlfile.load(f"checks/{name}"), flags=re.MULTILINE)
    result = CheckResult(
        name, says.group(1) if says else name, [f"{subject}: {detail}" for subject, detail in rows]
    )
    warehouse.execute(
        "insert into mkt_ops.check_results (check_name, checked_at, is_ok, failing_rows, details)"
        " values (%s, %s, %s, %s, %s) on conflict (check_name, checked_at) do update set"
        " is_ok = excluded.is_ok, failing_rows = excluded.failing_rows, details = excluded.details",
        (name, at, result.is_ok, len(rows), Jsonb({"findings": result.findings[:_SHOWN]})),
    )
    return result


def _expected_streams() -> list[dict[str, object]]:
    return [
        {"account": account, "stream": stream, "hours": _LATE_AFTER_HOURS[cadence]}
        for account, source in settings.sources()[0].items()
        for stream, cadence in source.streams.items()
        if cadence in _LATE_AFTER_HOURS
    ]
