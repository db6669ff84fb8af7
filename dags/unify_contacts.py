"""Turns what was read into contacts, consents, events and orders.

- **Owner:** data-engineering
- **Reads:** mkt_raw and mkt_staging of every account, mkt_ops.webhook_inbox, mkt_engage.sends.
- **Writes:** mkt_core, mkt_ops.batches, mkt_ops.dirty_days; mkt_ops.sync_runs.unified_batch.
- **Safe to rerun:** yes: what a batch took over is marked with it, in the same transaction.
- **Meaning:** each batch of facts gets the next number, so that every decision can later be
  explained by what was known then. Starts after each sync, and once an hour for the inbox.
- **Impact:** segments, campaigns and KPIs work with what was known before. Unsubscribes by link
  still hold at once, since the gate reads suppressions.
- **Diagnosis:** the sentence at the end of the task's log; the check `waiting_runs` of watch_data
  says since when runs wait.
- **Mitigation:** clear the task. When it fails again with the same sentence, pause sync_shop and
  report it with the log: nothing is lost while raw rows wait.
"""

from datetime import UTC, datetime, timedelta

from airflow.sdk import DAG, AssetOrTimeSchedule, CronTriggerTimetable

from marketing_ops.notifiers.failure import notify_stuck_run
from marketing_ops.operators.identity import UnifyOperator
from marketing_ops.operators.publish import PublishOperator
from marketing_ops.operators.wiring import (
    CONTACTS_UNIFIED,
    CRM_SYNCED,
    ENGAGEMENT_SYNCED,
    SHOPS_SYNCED,
    task_defaults,
)
from marketing_ops.settings import settings

with DAG(
    dag_id="unify_contacts",
    dag_display_name="Unify contacts",
    description="Identities, merges, consents, events and orders",
    doc_md=__doc__,
    schedule=AssetOrTimeSchedule(
        timetable=CronTriggerTimetable("20 * * * *", timezone=settings().reporting_timezone),
        assets=(SHOPS_SYNCED | CRM_SYNCED | ENGAGEMENT_SYNCED),
    ),
    start_date=datetime(2025, 1, 1, tzinfo=UTC),
    catchup=False,
    max_active_runs=1,
    dagrun_timeout=timedelta(hours=3),
    tags=["marketing_ops", "identity"],
    on_failure_callback=notify_stuck_run,
    default_args=task_defaults(
        "data-engineering",
        retries=3,
        retry_delay=timedelta(minutes=1),
        execution_timeout=timedelta(hours=2),
    ),
):
    UnifyOperator(task_id="unify") >> PublishOperator(
        task_id="publish", outlets=[CONTACTS_UNIFIED], execution_timeout=timedelta(minutes=5)
    )
