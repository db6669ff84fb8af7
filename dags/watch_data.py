"""Checks the warehouse: freshness, books, stuck and unknown sends, partitions.

- **Owner:** data-engineering
- **Reads:** mkt_ops, mkt_engage.
- **Writes:** mkt_ops.check_results, mkt_ops.incidents.
- **Safe to rerun:** yes: it only reads, and records what it saw.
- **Meaning:** one task per file of include/sql/checks. A red task is a finding about the data, not
  a fault of this DAG; the incident closes when the check passes again.
- **Impact:** as the sentence says; by itself a finding stops nothing.
- **Diagnosis:** the sentence at the end of the task's log names the streams, accounts or campaigns;
  `select * from mkt_ops.incidents where closed_at is null` lists what is open.
- **Mitigation:** mend what the sentence names, usually in the DAG that fills it; the next hour's
  check closes the incident.
"""

from datetime import UTC, datetime, timedelta

from airflow.sdk import DAG, CronTriggerTimetable

from marketing_ops.notifiers.failure import notify_stuck_run
from marketing_ops.operators.upkeep import RunCheckOperator
from marketing_ops.operators.wiring import check_names, task_defaults
from marketing_ops.settings import settings

with DAG(
    dag_id="watch_data",
    dag_display_name="Watch data",
    description="Freshness and correctness checks, one incident for each cause",
    doc_md=__doc__,
    schedule=CronTriggerTimetable("50 * * * *", timezone=settings().reporting_timezone),
    start_date=datetime(2025, 1, 1, tzinfo=UTC),
    catchup=False,
    max_active_runs=1,
    dagrun_timeout=timedelta(hours=1),
    tags=["marketing_ops", "operations"],
    on_failure_callback=notify_stuck_run,
    default_args=task_defaults(
        "data-engineering",
        retries=2,
        retry_delay=timedelta(minutes=1),
        execution_timeout=timedelta(minutes=15),
    ),
):
    for check in check_names():
        RunCheckOperator(task_id=check, check=check)
