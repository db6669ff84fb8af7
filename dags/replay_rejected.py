"""Tries an account's rejected records again; a dry run unless you untick it.

- **Owner:** data-engineering
- **Reads:** mkt_ops.rejected_records; the records themselves at their source, by id.
- **Writes:** mkt_raw.<system>__<stream>, mkt_ops.rejected_records, mkt_ops.sync_runs.
- **Safe to rerun:** yes: what was replayed is not taken again.
- **Meaning:** a record that could not be stored waits in mkt_ops.rejected_records. Where the vendor
  shows records by id it is read anew, else the kept bytes are tried, for instance after an upgrade.
  Children are read with their parent.
- **Impact:** of a failure: the records go on waiting, nothing is lost.
- **Diagnosis:** the task's log counts what was stored, what is gone at the source and why the rest
  is still rejected; `select reason, count(*) from mkt_ops.rejected_records where replayed_at is
  null group by 1`.
- **Mitigation:** have the record corrected at the vendor, then run this again. A skipped task means
  that nothing waits.
"""

from datetime import UTC, datetime, timedelta

from airflow.sdk import DAG

from marketing_ops.notifiers.failure import notify_stuck_run
from marketing_ops.operators.repair import ReplayRejectedOperator
from marketing_ops.operators.wiring import replay_form, task_defaults

with DAG(
    dag_id="replay_rejected",
    dag_display_name="Replay rejected records",
    description="Try an account's rejected records again; dry run by default",
    doc_md=__doc__,
    schedule=None,
    start_date=datetime(2025, 1, 1, tzinfo=UTC),
    catchup=False,
    max_active_runs=1,
    dagrun_timeout=timedelta(hours=2),
    tags=["marketing_ops", "operations"],
    params=replay_form(),
    render_template_as_native_obj=True,
    on_failure_callback=notify_stuck_run,
    default_args=task_defaults(
        "data-engineering",
        retries=2,
        retry_delay=timedelta(minutes=1),
        execution_timeout=timedelta(hours=1),
    ),
):
    ReplayRejectedOperator(
        task_id="replay",
        account="{{ params.account }}",
        stream="{{ params.stream }}",
        is_dry_run="{{ params.dry_run }}",
    )
