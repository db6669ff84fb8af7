"""Publishes an asset, so that the next stage starts; a backfill starts nothing."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from airflow.sdk import BaseOperator
from airflow.sdk.exceptions import AirflowSkipException

from marketing_ops.notifiers.failure import notify_failure
from marketing_ops.operators.base import is_backfill
from marketing_ops.operators.retries import RetryableOnly

if TYPE_CHECKING:
    from airflow.sdk import Context


class PublishOperator(BaseOperator):
    """Succeeds, which publishes its `outlets`; skips, which does not, in a backfill and in a run
    whose window a person named on the form.
    """

    def __init__(self, **kwargs: Any) -> None:
        kwargs.setdefault("retry_policy", RetryableOnly())
        kwargs.setdefault("on_failure_callback", notify_failure)
        super().__init__(**kwargs)

    def execute(self, context: Context) -> None:
        params = context.get("params") or {}
        if is_backfill(context) or params.get("from") or params.get("to"):
            raise AirflowSkipException("a backfill starts nothing downstream")
