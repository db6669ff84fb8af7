"""A marketer's buttons: start, pause, resume or stop a campaign. A dry run unless asked otherwise.

- **Owner:** lifecycle-marketing
- **Reads:** include/campaigns, mkt_engage.campaigns.
- **Writes:** mkt_engage.campaigns, mkt_engage.campaign_versions, mkt_ops.audit_log.
- **Safe to rerun:** yes: starting what is live takes an edited file over; an action that the state
  does not allow is refused and changes nothing.
- **Meaning:** files declare, the database decides: merging a file launches nothing, this does.
- **Impact:** the campaign keeps the state it has; the log says which.
- **Diagnosis:** the sentence at the end of the task's log: usually a wrong file named with its
  line, or an action the state does not allow.
- **Mitigation:** correct what the sentence names and trigger it again. To stop all mail at once,
  whatever the campaign: `marketing-ops stop-sends`.
"""

from datetime import UTC, datetime, timedelta

from airflow.sdk import DAG

from marketing_ops.notifiers.failure import notify_stuck_run
from marketing_ops.operators.campaigns import ControlCampaignOperator
from marketing_ops.operators.wiring import control_form, task_defaults

with DAG(
    dag_id="control_campaign",
    dag_display_name="Control a campaign",
    description="Start, pause, resume or stop a campaign; dry run by default",
    doc_md=__doc__,
    schedule=None,
    start_date=datetime(2025, 1, 1, tzinfo=UTC),
    catchup=False,
    max_active_runs=1,
    dagrun_timeout=timedelta(minutes=30),
    tags=["marketing_ops", "campaigns"],
    params=control_form(),
    render_template_as_native_obj=True,
    on_failure_callback=notify_stuck_run,
    default_args=task_defaults(
        "lifecycle-marketing",
        retries=2,
        retry_delay=timedelta(seconds=20),
        execution_timeout=timedelta(minutes=10),
    ),
):
    ControlCampaignOperator(
        task_id="control",
        campaign="{{ params.campaign }}",
        action="{{ params.action }}",
        is_dry_run="{{ params.dry_run }}",
    )
