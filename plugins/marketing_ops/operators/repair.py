"""Compares streams with their sources, and tries rejected records again."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

from airflow.sdk.exceptions import AirflowSkipException

from marketing_ops.operators.base import Counts, MarketingOpsOperator, counts_of
from marketing_ops.operators.connections import from_airflow
from marketing_ops.operators.sync import EVERYTHING

if TYPE_CHECKING:
    from airflow.sdk import Context

    from marketing_ops.warehouse import Warehouse


class ReconcileOperator(MarketingOpsOperator):
    """Lists a stream's keys at its source, repairs what differs here, fails if it cannot.

    Args:
        account: a file of include/sources.
        stream: one of its streams whose keys the vendor lists.
    """

    template_fields = ("account", "stream")
    is_live_only: ClassVar[bool] = True

    def __init__(self, *, account: str, stream: str, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.account = account
        self.stream = stream

    def work(self, warehouse: Warehouse, context: Context) -> Counts:
        from marketing_ops.sync.reconcile import is_loaded, reconcile_stream

        if not is_loaded(warehouse, self.account, self.stream):
            raise AirflowSkipException(
                f"{self.account}.{self.stream} was not loaded yet: there is nothing to compare"
            )
        report = reconcile_stream(
            warehouse, self.account, self.stream, resolve=from_airflow, report=self.report
        )
        return counts_of(report)


class ReplayRejectedOperator(MarketingOpsOperator):
    """Tries the rejected records of one account again, or says what would become of them.

    Args:
        account: a file of include/sources.
        stream: one of its streams, or `all`.
        is_dry_run: change nothing.
    """

    template_fields = ("account", "stream", "is_dry_run")
    is_live_only: ClassVar[bool] = True

    def __init__(self, *, account: str, stream: str, is_dry_run: Any, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.account = account
        self.stream = stream
        self.is_dry_run = is_dry_run

    def work(self, warehouse: Warehouse, context: Context) -> Counts:
        from marketing_ops.sync.replay import replay_rejected, waiting_streams

        is_dry_run = self.is_dry_run not in (False, "False", "false")
        waiting = waiting_streams(warehouse, self.account)
        wanted = [name for name in waiting if self.stream in (EVERYTHING, name)]
        if not wanted:
            others = f"; others wait in {', '.join(waiting)}" if waiting else ""
            raise AirflowSkipException(
                f"no rejected record of {self.account} {self.stream} waits{others}"
            )
        counts: Counts = {}
        for stream in wanted:
            report = replay_rejected(
                warehouse,
                self.account,
                stream,
                resolve=from_airflow,
                is_dry_run=is_dry_run,
                report=self.report,
            )
            counts[stream] = {"stored": report.stored, "left": report.still_rejected.total()}
        if is_dry_run:
            self.report("this was a dry run: untick it to do it")
        return counts
