"""Hands claimed sends to their channel, after asking the gate once more.

- **Owner:** lifecycle-marketing
- **Reads:** mkt_engage.sends, consents, suppressions, mkt_ops.stop_switch, mkt_ops.sending_modes;
  the connection of each sending account.
- **Writes:** mkt_engage.sends (in_flight, then accepted, rejected, unknown or cancelled).
- **Safe to rerun:** yes: a row is marked in_flight before the call and never taken twice. A row
  whose outcome nobody knows stays `unknown` and is not sent again. A backfill does nothing.
- **Meaning:** one task per sending account, every minute, for at most 50 seconds of new messages.
- **Impact:** messages go out late, or not at all when they become later than their limit; nobody
  gets one twice.
- **Diagnosis:** the sentence at the end of the task's log; `marketing-ops unknown-sends` lists what
  is uncertain; `select status, reason, count(*) from mkt_engage.sends group by 1, 2`.
- **Mitigation:** correct the account's connection; the next minute goes on. When wrong messages go
  out: `marketing-ops stop-sends` first, then look.
"""

from datetime import UTC, datetime, timedelta

from airflow.sdk import DAG

from marketing_ops.notifiers.failure import notify_stuck_run
from marketing_ops.operators.delivery import DeliverOperator
from marketing_ops.operators.upkeep import BrokenFilesOperator
from marketing_ops.operators.wiring import SENDERS, accounts_of, task_defaults

accounts, problems = accounts_of(SENDERS)

with DAG(
    dag_id="deliver_sends",
    dag_display_name="Deliver sends",
    description="Claimed sends to their channel, one task per sending account",
    doc_md=__doc__,
    schedule="* * * * *",
    start_date=datetime(2025, 1, 1, tzinfo=UTC),
    catchup=False,
    max_active_runs=1,
    dagrun_timeout=timedelta(minutes=30),
    tags=["marketing_ops", "delivery"],
    on_failure_callback=notify_stuck_run,
    default_args=task_defaults(
        "lifecycle-marketing",
        retries=2,
        retry_delay=timedelta(seconds=20),
        execution_timeout=timedelta(minutes=10),
    ),
):
    if problems:
        BrokenFilesOperator(task_id="definitions_are_valid", problems=problems)
    for name, source in accounts.items():
        DeliverOperator(task_id=name, account=name, budget_seconds=50.0, pool=source.pool)
