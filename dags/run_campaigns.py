"""Moves people through campaigns: enrols, advances, and claims the sends that are due.

- **Owner:** lifecycle-marketing
- **Reads:** include/campaigns, include/content, mkt_core, mkt_engage.segment_memberships.
- **Writes:** mkt_engage.enrolments, mkt_engage.enrolment_log, mkt_engage.sends (claimed),
  mkt_ops.ticks.
- **Safe to rerun:** yes: an enrolment is unique by campaign, profile and entry, a send by
  enrolment, step and visit. A backfill does nothing.
- **Meaning:** one tick a minute, one at a time. It only decides; deliver_sends sends.
- **Impact:** nobody enters or advances while it fails; waits that end meanwhile end late. Messages
  later than a campaign's `late` limit are skipped, not sent late.
- **Diagnosis:** a sentence with a file and a line is a wrong campaign file: it stops itself only,
  the others were ticked. Else see mkt_ops.ticks and the check `idle_tick` of watch_data.
- **Mitigation:** correct the file; the next minute's tick takes it. To stop all mail at once:
  `marketing-ops stop-sends`.
"""

from datetime import UTC, datetime, timedelta

from airflow.sdk import DAG

from marketing_ops.notifiers.failure import notify_stuck_run
from marketing_ops.operators.campaigns import TickOperator
from marketing_ops.operators.wiring import task_defaults

with DAG(
    dag_id="run_campaigns",
    dag_display_name="Run campaigns",
    description="The tick: enrol, advance, claim sends",
    doc_md=__doc__,
    schedule="* * * * *",
    start_date=datetime(2025, 1, 1, tzinfo=UTC),
    catchup=False,
    max_active_runs=1,
    dagrun_timeout=timedelta(minutes=45),
    tags=["marketing_ops", "campaigns"],
    on_failure_callback=notify_stuck_run,
    default_args=task_defaults(
        "lifecycle-marketing",
        retries=2,
        retry_delay=timedelta(seconds=20),
        execution_timeout=timedelta(minutes=20),
    ),
):
    TickOperator(task_id="tick", max_active_tis_per_dag=1)
