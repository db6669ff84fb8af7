"""Computes the KPIs of a day, and again those of past days that late data touched.

- **Owner:** data-engineering
- **Reads:** mkt_core, mkt_engage, mkt_ops.dirty_days.
- **Writes:** mkt_marts.kpi_daily, mkt_marts.kpi_revisions.
- **Safe to rerun:** yes, and to backfill: a day's numbers are replaced in one transaction; the same
  facts give the same numbers. A backfill recomputes exactly its days.
- **Meaning:** runs after local midnight for the day that ended, and after each unify for past days
  that new facts touched (the last hour of yesterday arrives only then).
- **Impact:** reports show older numbers; nothing else reads them.
- **Diagnosis:** the sentence at the end of the task's log; `select * from mkt_ops.dirty_days` shows
  which days wait; mkt_marts.kpi_revisions shows what changed and why.
- **Mitigation:** clear the task, or backfill the missing days from the trigger form.
"""

from datetime import UTC, datetime, timedelta

from airflow.sdk import DAG, AssetOrTimeSchedule, CronDataIntervalTimetable

from marketing_ops.notifiers.failure import notify_stuck_run
from marketing_ops.operators.kpis import RollupOperator
from marketing_ops.operators.wiring import CONTACTS_UNIFIED, task_defaults
from marketing_ops.settings import settings

with DAG(
    dag_id="rollup_kpis",
    dag_display_name="Roll up KPIs",
    description="KPIs of a day and of past days that late data touched",
    doc_md=__doc__,
    schedule=AssetOrTimeSchedule(
        timetable=CronDataIntervalTimetable("0 0 * * *", timezone=settings().reporting_timezone),
        assets=[CONTACTS_UNIFIED],
    ),
    start_date=datetime(2025, 1, 1, tzinfo=UTC),
    catchup=False,
    max_active_runs=1,
    dagrun_timeout=timedelta(hours=3),
    tags=["marketing_ops", "kpis"],
    on_failure_callback=notify_stuck_run,
    default_args=task_defaults(
        "data-engineering",
        retries=3,
        retry_delay=timedelta(minutes=2),
        execution_timeout=timedelta(hours=1),
    ),
):
    RollupOperator(task_id="rollup")
