"""Turns what was synced into contacts, consents, events and orders."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from marketing_ops.operators.base import Counts, MarketingOpsOperator, counts_of

if TYPE_CHECKING:
    from airflow.sdk import Context

    from marketing_ops.warehouse import Warehouse


class UnifyOperator(MarketingOpsOperator):
    """Takes over every sync run and inbox row that no batch has taken yet."""

    is_live_only: ClassVar[bool] = True

    def work(self, warehouse: Warehouse, context: Context) -> Counts:
        from marketing_ops.identity.runner import unify

        return counts_of(unify(warehouse, report=self.report))
