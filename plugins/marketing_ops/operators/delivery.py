"""Hands claimed sends to a channel."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

from marketing_ops.operators.base import Counts, MarketingOpsOperator, counts_of
from marketing_ops.operators.connections import from_airflow

if TYPE_CHECKING:
    from airflow.sdk import Context

    from marketing_ops.warehouse import Warehouse


class DeliverOperator(MarketingOpsOperator):
    """Delivers what is due through one account, for at most `budget_seconds`.

    Args:
        account: a file of include/sources that can send.
        budget_seconds: no new message is begun after this long.
    """

    template_fields = ("account",)
    is_live_only: ClassVar[bool] = True

    def __init__(self, *, account: str, budget_seconds: float = 50.0, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.account = account
        self.budget_seconds = budget_seconds

    def work(self, warehouse: Warehouse, context: Context) -> Counts:
        from marketing_ops.delivery.runner import deliver

        report = deliver(
            warehouse,
            self.account,
            resolve=from_airflow,
            budget_seconds=self.budget_seconds,
            report=self.report,
        )
        return counts_of(report)
