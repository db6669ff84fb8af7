"""Keeps the live members of every segment, with the instants they entered and left.

- **Owner:** lifecycle-marketing
- **Reads:** include/segments, mkt_core.
- **Writes:** mkt_engage.segments, mkt_engage.segment_memberships.
- **Safe to rerun:** yes: only what changed since the last evaluation is written. Lived memberships
  are never rewritten.
- **Meaning:** starts when contacts were unified, and at least once an hour, since a rule such as
  `within: 90d` changes by the passing of time alone.
- **Impact:** people enter and leave segments late, and so the campaigns that start by them. The
  gate before each send asks consent and suppression itself, so nobody is mailed wrongly.
- **Diagnosis:** a sentence with a file and a line is a wrong segment file: it stops itself only,
  the others were evaluated. Else see mkt_engage.segments.last_evaluated_at.
- **Mitigation:** correct the file (`marketing-ops lint` shows the same sentence) and clear the
  task; a busy database passes by itself.
"""

from datetime import UTC, datetime, timedelta

from airflow.sdk import DAG, AssetOrTimeSchedule, CronTriggerTimetable

from marketing_ops.notifiers.failure import notify_stuck_run
from marketing_ops.operators.segments import RefreshSegmentsOperator
from marketing_ops.operators.wiring import CONTACTS_UNIFIED, task_defaults
from marketing_ops.settings import settings

with DAG(
    dag_id="segment_audiences",
    dag_display_name="Segment audiences",
    description="Live memberships of every segment",
    doc_md=__doc__,
    schedule=AssetOrTimeSchedule(
        timetable=CronTriggerTimetable("40 * * * *", timezone=settings().reporting_timezone),
        assets=[CONTACTS_UNIFIED],
    ),
    start_date=datetime(2025, 1, 1, tzinfo=UTC),
    catchup=False,
    max_active_runs=1,
    dagrun_timeout=timedelta(hours=2),
    tags=["marketing_ops", "segments"],
    on_failure_callback=notify_stuck_run,
    default_args=task_defaults(
        "lifecycle-marketing",
        retries=3,
        retry_delay=timedelta(minutes=1),
        execution_timeout=timedelta(hours=1),
    ),
):
    RefreshSegmentsOperator(task_id="refresh")
