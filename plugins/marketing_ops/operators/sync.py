"""Reads one stream of one account into the warehouse."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, Literal
from zoneinfo import ZoneInfo

from airflow.providers.standard.triggers.temporal import TimeDeltaTrigger
from airflow.sdk.exceptions import AirflowSkipException

from marketing_ops import clock
from marketing_ops.errors import FatalError, StillRunningError
from marketing_ops.operators.base import Counts, MarketingOpsOperator, counts_of
from marketing_ops.operators.connections import from_airflow
from marketing_ops.settings import settings
from marketing_ops.window import Window, run_window

if TYPE_CHECKING:
    from airflow.sdk import Context

    from marketing_ops.warehouse import Warehouse

EVERYTHING = "all"
"""What the form's `account` and `stream` say when they do not narrow the run."""

PATIENCE_SECONDS = 30.0
"""So long a task waits for a vendor's file itself; a longer wait takes no worker."""

Kind = Literal["backfill", "full_refresh"] | None


class SyncStreamOperator(MarketingOpsOperator):
    """Syncs a stream with its children and returns the books.

    Live runs go by the stream's cursor. A backfill, or a window named on the form, reads exactly
    that window and moves no cursor. A daily stream is read by the first run after local midnight
    that succeeds, else skipped.

    Args:
        account: a file of include/sources.
        stream: one of its streams.
        cadence: hourly or daily, as the file says.
    """

    template_fields = ("account", "stream")

    def __init__(
        self, *, account: str, stream: str, cadence: Literal["hourly", "daily"], **kwargs: Any
    ) -> None:
        super().__init__(**kwargs)
        self.account = account
        self.stream = stream
        self.cadence = cadence
        self._resume: dict[str, Any] | None = None

    def go_on(self, context: Context, event: Any, state: dict[str, Any]) -> Counts:
        """What Airflow calls after the wait: ask the vendor again for the file it prepares."""
        self._resume = state
        return self.execute(context)

    def work(self, warehouse: Warehouse, context: Context) -> Counts:
        from marketing_ops.sync.runner import is_snapshot, sync_stream

        zone = settings().reporting_timezone
        params: dict[str, Any] = dict(context.get("params") or {})
        self._skip_if_not_asked_for(params)
        window = run_window(context, zone, timedelta(hours=1))
        kind = _kind(window, params)
        is_named = params.get("stream", EVERYTHING) != EVERYTHING
        if self.cadence == "daily" and kind is None and not is_named:
            self._skip_if_read_today(warehouse, clock.now(), zone)
        if kind == "backfill" and is_snapshot(self.account, self.stream):
            raise AirflowSkipException(
                f"{self.stream} has no history: a run shows what is there now"
            )
        try:
            report = sync_stream(
                warehouse,
                self.account,
                self.stream,
                window,
                kind=kind,
                resolve=from_airflow,
                report=self.report,
                patience=PATIENCE_SECONDS,
                resume=self._resume,
            )
        except StillRunningError as error:
            self.report(f"{error}: asked again in {error.retry_after:.0f} s, without a worker")
            self.defer(
                trigger=TimeDeltaTrigger(timedelta(seconds=error.retry_after)),
                method_name="go_on",
                kwargs={"state": error.state},
            )
        return counts_of(report)

    def _skip_if_not_asked_for(self, params: dict[str, Any]) -> None:
        for name, own in (("account", self.account), ("stream", self.stream)):
            asked = params.get(name, EVERYTHING)
            if asked not in (EVERYTHING, own):
                raise AirflowSkipException(f"the form asked for {name} {asked} only")

    def _skip_if_read_today(self, warehouse: Warehouse, at: datetime, zone: str) -> None:
        midnight = at.astimezone(ZoneInfo(zone)).replace(hour=0, minute=0, second=0, microsecond=0)
        row = warehouse.execute(
            "select max(started_at) from mkt_ops.sync_runs where account = %s and stream = %s"
            " and status = 'success' and kind in ('initial', 'incremental', 'full_refresh')"
            " and started_at >= %s",
            (self.account, self.stream, midnight),
        ).fetchone()
        if row is not None and row[0] is not None:
            raise AirflowSkipException(
                f"{self.stream} is read once a day, today at {row[0]:%H:%M} UTC"
            )


def _kind(window: Window, params: dict[str, Any]) -> Kind:
    is_refresh = bool(params.get("full_refresh"))
    if window.is_backfill or window.is_asked:
        if is_refresh:
            raise FatalError(
                "a full refresh reads everything, a backfill or a window only a part: choose one"
            )
        return "backfill"
    return "full_refresh" if is_refresh else None
