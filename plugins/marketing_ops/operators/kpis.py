"""Rolls KPIs up."""

from __future__ import annotations

from datetime import date, timedelta
from typing import TYPE_CHECKING
from zoneinfo import ZoneInfo

from airflow.sdk.exceptions import AirflowSkipException

from marketing_ops import clock
from marketing_ops.operators.base import (
    Counts,
    MarketingOpsOperator,
    counts_of,
    fail_for_problems,
    is_backfill,
    run_type,
)
from marketing_ops.settings import settings
from marketing_ops.window import run_window

if TYPE_CHECKING:
    from airflow.sdk import Context

    from marketing_ops.warehouse import Warehouse


class RollupOperator(MarketingOpsOperator):
    """Recomputes the days of the run's window; a live run also past days that late data touched.

    A run that an asset started has no window of its own: it recomputes touched days only. A broken
    KPI file fails the task after the others were computed.
    """

    def work(self, warehouse: Warehouse, context: Context) -> Counts:
        from marketing_ops.kpis.runner import dirty_days, rollup

        zone = settings().reporting_timezone
        today = clock.now().astimezone(ZoneInfo(zone)).date()
        days: set[date] = set()
        if not run_type(context).startswith("asset"):
            window = run_window(context, zone, timedelta(days=1))
            days.update(day for day in window.days(zone) if day <= today)
        if not is_backfill(context):
            days.update(day for day in dirty_days(warehouse) if day < today)
        if not days:
            raise AirflowSkipException("no past day was touched since the last run")
        report = rollup(warehouse, sorted(days), report=self.report)
        fail_for_problems(report.problems or [])
        return counts_of(report)
