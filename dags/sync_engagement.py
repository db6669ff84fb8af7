"""Reads what people did with the vendors' messages: sent, opened, clicked, bounced, unsubscribed.

- **Owner:** data-engineering
- **Reads:** each account of include/sources with activity streams through its connection;
  mkt_ops.sync_cursors, mkt_ops.account_state.
- **Writes:** mkt_raw.<system>__<stream>, mkt_ops.sync_runs, mkt_ops.sync_cursors,
  mkt_ops.rejected_records, mkt_ops.stream_fields.
- **Safe to rerun:** yes, at any moment: an activity has a stable key, read twice it is one row.
- **Meaning:** one task per account and stream, each from its cursor back by the stream's overlap,
  since activity arrives late; a backfill reads exactly its interval and moves no cursor.
- **Impact:** opens, clicks and bounces of vendors' messages are missing from segments and KPIs,
  and their unsubscribes reach us later through sync_crm alone. Nothing is lost: the next run goes
  on at the cursor.
- **Diagnosis:** read the task's log for the sentence at its end, then
  `select * from mkt_ops.sync_runs order by sync_run_id desc`. A skipped task is a daily stream
  already read, or one postponed by the vendor's quota (mkt_ops.account_state).
- **Mitigation:** correct the connection or the file the message names, then clear the failed
  task. When the vendor is down, wait: the next hourly run catches up.
"""

from datetime import UTC, datetime, timedelta

from airflow.sdk import DAG, CronDataIntervalTimetable

from marketing_ops.notifiers.failure import notify_stuck_run
from marketing_ops.operators.upkeep import BrokenFilesOperator
from marketing_ops.operators.wiring import (
    ENGAGEMENT_SYNCED,
    add_sync_tasks,
    sync_form,
    synced_accounts,
    task_defaults,
)
from marketing_ops.settings import settings

accounts, problems = synced_accounts("engagement")

with DAG(
    dag_id="sync_engagement",
    dag_display_name="Sync engagement",
    description="Opens, clicks, bounces and unsubscribes of vendors' messages",
    doc_md=__doc__,
    schedule=CronDataIntervalTimetable("0 * * * *", timezone=settings().reporting_timezone),
    start_date=datetime(2025, 1, 1, tzinfo=UTC),
    catchup=False,
    max_active_runs=1,
    dagrun_timeout=timedelta(hours=8),
    tags=["marketing_ops", "sync"],
    params=sync_form(accounts, "engagement"),
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
    add_sync_tasks(accounts, "engagement", ENGAGEMENT_SYNCED)
