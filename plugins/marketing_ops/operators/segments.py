"""Keeps live memberships and the memberships of past days."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, ClassVar

from marketing_ops import clock
from marketing_ops.operators.base import (
    Counts,
    MarketingOpsOperator,
    counts_of,
    fail_for_problems,
)
from marketing_ops.settings import settings
from marketing_ops.window import run_window

if TYPE_CHECKING:
    from airflow.sdk import Context

    from marketing_ops.warehouse import Warehouse


class RefreshSegmentsOperator(MarketingOpsOperator):
    """Brings every segment up to now. A broken file fails the task after the others ran."""

    is_live_only: ClassVar[bool] = True

    def work(self, warehouse: Warehouse, context: Context) -> Counts:
        from marketing_ops.segments.definition import load_all
        from marketing_ops.segments.runner import refresh

        reports = refresh(warehouse, clock.now(), report=self.report)
        fail_for_problems(load_all()[1])
        return {report.segment: counts_of(report) for report in reports}


class SegmentHistoryOperator(MarketingOpsOperator):
    """Recomputes the members as of the end of each day of the run's window; replaces the day.

    A broken file fails the task after the others were written.
    """

    def work(self, warehouse: Warehouse, context: Context) -> Counts:
        from marketing_ops.segments.definition import load_all
        from marketing_ops.segments.runner import history

        zone = settings().reporting_timezone
        days = run_window(context, zone, timedelta(days=1)).days(zone)
        written = history(warehouse, days, report=self.report)
        fail_for_problems(load_all()[1])
        return {day.isoformat(): rows for day, rows in written.items()}
