"""Reads people, companies, deals, lists and consents of every CRM and mail system.

- **Owner:** data-engineering
- **Reads:** each account of include/sources with CRM streams through its connection;
  mkt_ops.sync_cursors, mkt_ops.account_state.
- **Writes:** mkt_raw.<system>__<stream>, mkt_ops.sync_runs, mkt_ops.sync_cursors,
  mkt_ops.rejected_records, mkt_ops.stream_fields.
- **Safe to rerun:** yes, at any moment: rows are merged by key and the cursor moves only together
  with the rows it covers.
- **Meaning:** one task per account and stream. Hourly streams go by their cursor; daily streams
  and those without a time of change are read as a whole; a backfill reads exactly its interval
  and moves no cursor. A first load is read in parts side by side and resumes where each was.
- **Impact:** new leads, changed deals, merges and refusals at the vendor are missing until it works
  again. Nothing is lost: the next run goes on at the cursor. Campaigns with a `fresh` guard hold
  their sends.
- **Diagnosis:** read the task's log for the sentence at its end, then
  `select * from mkt_ops.sync_runs order by sync_run_id desc`. A skipped task is a daily stream
  already read, or one postponed by the vendor's quota (mkt_ops.account_state). A deferred task
  waits for a file the vendor prepares.
- **Mitigation:** correct the connection or the file the message names, then clear the failed
  task. `marketing-ops doctor ACCOUNT` says what the vendor allows. When the vendor is down, wait:
  the next hourly run catches up.
"""

from datetime import UTC, datetime, timedelta

from airflow.sdk import DAG, CronDataIntervalTimetable

from marketing_ops.notifiers.failure import notify_stuck_run
from marketing_ops.operators.upkeep import BrokenFilesOperator
from marketing_ops.operators.wiring import (
    CRM_SYNCED,
    add_sync_tasks,
    sync_form,
    synced_accounts,
    task_defaults,
)
from marketing_ops.settings import settings

accounts, problems = synced_accounts("crm")

with DAG(
    dag_id="sync_crm",
    dag_display_name="Sync CRM",
    description="People, companies, deals, lists and consents of every CRM account",
    doc_md=__doc__,
    schedule=CronDataIntervalTimetable("0 * * * *", timezone=settings().reporting_timezone),
    start_date=datetime(2025, 1, 1, tzinfo=UTC),
    catchup=False,
    max_active_runs=1,
    dagrun_timeout=timedelta(hours=8),
    tags=["marketing_ops", "sync"],
    params=sync_form(accounts, "crm"),
    on_failure_callback=notify_stuck_run,
    default_args=task_defaults(
        "data-engineering",
        retries=3,
        retry_delay=timedelta(minutes=1),
        execution_timeout=timedelta(hours=4),
    ),
):
    if problems:
        BrokenFilesOperator(task_id="definitions_are_valid", problems=problems)
    add_sync_tasks(accounts, "crm", CRM_SYNCED)
