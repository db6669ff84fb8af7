"""Reads the shops' customers, orders, carts and products into the warehouse.

- **Owner:** data-engineering
- **Reads:** each shop account of include/sources through its connection; mkt_ops.sync_cursors,
  mkt_ops.account_state.
- **Writes:** mkt_raw.<system>__<stream>, mkt_ops.sync_runs, mkt_ops.sync_cursors,
  mkt_ops.rejected_records.
- **Safe to rerun:** yes, at any moment: rows are merged by key and the cursor moves only together
  with the rows it covers.
- **Meaning:** one task per account and stream. Hourly streams go by their cursor; daily streams
  are read by the first run after local midnight and skipped by the others; a backfill reads
  exactly its interval and moves no cursor.
- **Impact:** new customers, orders and carts are missing from segments, campaigns and KPIs until
  it works again. Nothing is sent twice and nothing is lost: the next run goes on at the cursor.
  Campaigns with a `fresh` guard hold their sends.
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
    SHOPS_SYNCED,
    add_sync_tasks,
    sync_form,
    synced_accounts,
    task_defaults,
)
from marketing_ops.settings import settings

accounts, problems = synced_accounts("shop")

with DAG(
    dag_id="sync_shop",
    dag_display_name="Sync shops",
    description="Customers, orders, carts and products of every shop account",
    doc_md=__doc__,
    schedule=CronDataIntervalTimetable("0 * * * *", timezone=settings().reporting_timezone),
    start_date=datetime(2025, 1, 1, tzinfo=UTC),
    catchup=False,
    max_active_runs=1,
    dagrun_timeout=timedelta(hours=8),
    tags=["marketing_ops", "sync"],
    params=sync_form(accounts, "shop"),
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
    add_sync_tasks(accounts, "shop", SHOPS_SYNCED)
