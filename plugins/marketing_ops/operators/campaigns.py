"""Moves people through campaigns, and a marketer's buttons for them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

from marketing_ops import clock
from marketing_ops.errors import FatalError
from marketing_ops.operators.base import (
    Counts,
    MarketingOpsOperator,
    counts_of,
    fail_for_problems,
)

if TYPE_CHECKING:
    from airflow.sdk import Context

    from marketing_ops.warehouse import Warehouse

ACTIONS = ("start", "pause", "resume", "stop")


class TickOperator(MarketingOpsOperator):
    """One tick: enrol, advance, claim sends. A broken file fails the task after the others ran."""

    is_live_only: ClassVar[bool] = True

    def work(self, warehouse: Warehouse, context: Context) -> Counts:
        from marketing_ops.campaigns.definition import load_all
        from marketing_ops.campaigns.runner import tick

        counts = counts_of(tick(warehouse, clock.now(), report=self.report))
        fail_for_problems(load_all()[1])
        return counts


class ControlCampaignOperator(MarketingOpsOperator):
    """Starts, pauses, resumes or stops a campaign; a dry run only says what would happen.

    Args:
        campaign: a file of include/campaigns.
        action: one of ACTIONS.
        is_dry_run: True changes nothing.
    """

    template_fields = ("campaign", "action", "is_dry_run")
    is_live_only: ClassVar[bool] = True

    def __init__(
        self, *, campaign: str, action: str, is_dry_run: bool | str = True, **kwargs: Any
    ) -> None:
        super().__init__(**kwargs)
        self.campaign = campaign
        self.action = action
        self.is_dry_run = is_dry_run

    def work(self, warehouse: Warehouse, context: Context) -> Counts:
        from marketing_ops.campaigns import control

        if self.action not in ACTIONS:
            raise FatalError(f"`{self.action}` is no action: choose one of {', '.join(ACTIONS)}")
        before = _state(warehouse, self.campaign)
        if str(self.is_dry_run).lower() != "false":
            self.report(
                f"{self.campaign} is {before['state']} with {before['active']} people inside;"
                f" `{self.action}` was not done: untick the dry run to do it"
            )
            return {"is_dry_run": True, **before}
        act = getattr(control, self.action)
        act(warehouse, self.campaign, _actor(context))
        after = _state(warehouse, self.campaign)
        self.report(f"{self.campaign} was {before['state']} and is {after['state']} now")
        return {"is_dry_run": False, **after}


def _state(warehouse: Warehouse, campaign: str) -> dict[str, Any]:
    row = warehouse.execute(
        "select campaigns.state, count(enrolments.enrolment_id) from mkt_engage.campaigns"
        " left join mkt_engage.enrolments on enrolments.campaign_id = campaigns.campaign_id"
        " and enrolments.status = 'active'"
        " where campaigns.campaign = %s group by campaigns.state",
        (campaign,),
    ).fetchone()
    state, active = row if row is not None else ("draft", 0)
    return {"campaign": campaign, "state": str(state), "active": int(active)}


def _actor(context: Context) -> str:
    name = getattr(context["dag_run"], "triggering_user_name", None)
    return str(name or "airflow")
