"""Recomputes who was in each segment at the end of a day, by all that is known now.

- **Owner:** lifecycle-marketing
- **Reads:** include/segments, mkt_core.
- **Writes:** mkt_engage.segment_history of the run's day.
- **Safe to rerun:** yes, and to backfill: the day's rows are replaced in one transaction; the same
  facts give the same members.
- **Meaning:** `as of` the day, not what was lived: late facts are included. Backfill it from the
  trigger form after a new segment was written.
- **Impact:** only reports over past audiences lack a day; no campaign reads this.
- **Diagnosis:** the sentence at the end of the task's log; a wrong segment file is named with its
  line.
- **Mitigation:** correct the file and clear the task, or backfill the missing days.
"""

from datetime import UTC, datetime, timedelta

from airflow.sdk import DAG, CronDataIntervalTimetable

from marketing_ops.notifiers.failure import notify_stuck_run
from marketing_ops.operators.segments import SegmentHistoryOperator
from marketing_ops.operators.wiring import task_defaults
from marketing_ops.settings import settings

with DAG(
    dag_id="segment_history",
    dag_display_name="Segment history",
    description="Memberships as of each past day",
    doc_md=__doc__,
    schedule=CronDataIntervalTimetable("0 0 * * *", timezone=settings().reporting_timezone),
    start_date=datetime(2025, 1, 1, tzinfo=UTC),
    catchup=False,
    max_active_runs=1,
    dagrun_timeout=timedelta(hours=4),
    tags=["marketing_ops", "segments"],
    on_failure_callback=notify_stuck_run,
    default_args=task_defaults(
        "lifecycle-marketing",
        retries=3,
        retry_delay=timedelta(minutes=2),
        execution_timeout=timedelta(hours=2),
    ),
):
    SegmentHistoryOperator(task_id="recompute_day")
