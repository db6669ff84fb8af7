"""When Airflow tries a task again: only after errors that a later try may outlive."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

from airflow.sdk import ExceptionRetryPolicy, RetryAction, RetryRule
from airflow.sdk.exceptions import AirflowRuntimeError, AirflowTaskTimeout

from marketing_ops.errors import RetryableError

if TYPE_CHECKING:
    from airflow.sdk import Context
    from airflow.sdk.definitions.retry_policy import RetryDecision

LONGEST_WAIT = timedelta(minutes=15)
"""A vendor may ask for more; the next scheduled run comes back anyway."""


class RetryableOnly(ExceptionRetryPolicy):
    """Retries our RetryableError, a time-out and a hiccup of Airflow's own API; nothing else.

    The `retry_after` of a RetryableError replaces the task's delay, up to LONGEST_WAIT.
    """

    def __init__(self) -> None:
        retried = [RetryableError, AirflowTaskTimeout, AirflowRuntimeError]
        super().__init__(
            rules=[
                RetryRule(
                    exception=[*retried], action=RetryAction.RETRY, reason="may pass by itself"
                )
            ],
            default=RetryAction.FAIL,
        )

    def evaluate(
        self,
        exception: BaseException,
        try_number: int,
        max_tries: int,
        context: Context | None = None,
    ) -> RetryDecision:
        from airflow.sdk.definitions.retry_policy import RetryDecision

        decision = super().evaluate(exception, try_number, max_tries, context)
        asked = getattr(exception, "retry_after", None)
        if decision.action is not RetryAction.RETRY or asked is None:
            return decision
        delay = min(timedelta(seconds=max(0.0, float(asked))), LONGEST_WAIT)
        return RetryDecision.retry(delay=delay, reason=f"the other side asked for {asked:.0f} s")
