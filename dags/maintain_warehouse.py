"""Prepares the warehouse for the coming months and compares every stream with its source.

- **Owner:** data-engineering
- **Reads:** the catalogue of the warehouse; the keys of each stream at its source.
- **Writes:** monthly partitions of mkt_core.events, mkt_engage.sends and mkt_engage.enrolment_log;
  repaired rows of mkt_raw, mkt_ops.reconciliations.
- **Safe to rerun:** yes: what exists is left alone, a comparison begins anew.
- **Meaning:** keeps three months of partitions ahead, so that no row is ever refused. Lists the
  keys of each stream, reads anew what is missing or outdated here, deletes what the source does
  not know when asked for it by its id, and fails when a difference is left.
- **Impact:** of missing partitions none for three months; then events and sends would be refused.
  Of a failed comparison: rows of that one stream may be missing or dead; nothing was made worse.
- **Diagnosis:** the sentence at the end of the task's log;
  `select * from mkt_ops.reconciliations order by compared_at desc`; the check
  `missing_partitions` of watch_data warns a week ahead.
- **Mitigation:** clear the task. A refused login or right names the connection: correct it. "would
  be deleted" means that the vendor listed far too little: try again later, and only if the records
  really are gone run a full refresh of that stream.
"""

from datetime import UTC, datetime, timedelta

from airflow.sdk import DAG, CronTriggerTimetable

from marketing_ops.notifiers.failure import notify_stuck_run
from marketing_ops.operators.repair import ReconcileOperator
from marketing_ops.operators.upkeep import MaintainOperator
from marketing_ops.operators.wiring import reconciled_streams, task_defaults
from marketing_ops.settings import settings

with DAG(
    dag_id="maintain_warehouse",
    dag_display_name="Maintain warehouse",
    description="Partitions of the coming months; streams compared with their sources",
    doc_md=__doc__,
    schedule=CronTriggerTimetable("30 3 * * *", timezone=settings().reporting_timezone),
    start_date=datetime(2025, 1, 1, tzinfo=UTC),
    catchup=False,
    max_active_runs=1,
    dagrun_timeout=timedelta(hours=8),
    tags=["marketing_ops", "operations"],
    on_failure_callback=notify_stuck_run,
    default_args=task_defaults(
        "data-engineering",
        retries=3,
        retry_delay=timedelta(minutes=5),
        execution_timeout=timedelta(hours=4),
    ),
):
    MaintainOperator(task_id="make_partitions")
    for source, stream in reconciled_streams():
        ReconcileOperator(
            task_id=f"{source.source}.{stream}",
            account=source.source,
            stream=stream,
            pool=source.pool,
        )
