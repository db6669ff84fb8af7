"""Prepares the warehouse for the coming months.

- **Owner:** data-engineering
- **Reads:** the catalogue of the warehouse.
- **Writes:** monthly partitions of mkt_core.events, mkt_engage.sends and mkt_engage.enrolment_log.
- **Safe to rerun:** yes: what exists is left alone.
- **Meaning:** keeps three months of partitions ahead, so that no row is ever refused.
- **Impact:** none for three months; then events and sends would be refused.
- **Diagnosis:** the sentence at the end of the task's log; the check `missing_partitions` of
  watch_data warns a week ahead.
- **Mitigation:** clear the task. A refused login or right names the connection: correct it.
"""

from datetime import UTC, datetime, timedelta

from airflow.sdk import DAG, CronTriggerTimetable

from marketing_ops.notifiers.failure import notify_stuck_run
from marketing_ops.operators.upkeep import MaintainOperator
from marketing_ops.operators.wiring import task_defaults
from marketing_ops.settings import settings

with DAG(
    dag_id="maintain_warehouse",
    dag_display_name="Maintain warehouse",
    description="Partitions of the coming months",
    doc_md=__doc__,
    schedule=CronTriggerTimetable("30 3 * * *", timezone=settings().reporting_timezone),
    start_date=datetime(2025, 1, 1, tzinfo=UTC),
    catchup=False,
    max_active_runs=1,
    dagrun_timeout=timedelta(hours=2),
    tags=["marketing_ops", "operations"],
    on_failure_callback=notify_stuck_run,
    default_args=task_defaults(
        "data-engineering",
        retries=3,
        retry_delay=timedelta(minutes=5),
        execution_timeout=timedelta(hours=1),
    ),
):
    MaintainOperator(task_id="make_partitions")
