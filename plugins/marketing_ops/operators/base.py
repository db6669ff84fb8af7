"""The base of every operator: our errors become Airflow's here, and nowhere else."""

from __future__ import annotations

import dataclasses
import traceback
from abc import abstractmethod
from collections.abc import Iterable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from airflow.sdk import BaseOperator
from airflow.sdk.exceptions import (
    AirflowException,
    AirflowFailException,
    AirflowRuntimeError,
    AirflowSkipException,
)

from marketing_ops.errors import (
    DefinitionError,
    MarketingOpsError,
    QuotaExhaustedError,
    RetryableError,
)
from marketing_ops.notifiers.failure import notify_failure
from marketing_ops.operators.connections import from_airflow
from marketing_ops.operators.retries import RetryableOnly

if TYPE_CHECKING:
    from airflow.sdk import Context

    from marketing_ops.warehouse import Warehouse

Counts = dict[str, Any]
"""What an operator returns: counts, ids and names of ours; never a contact."""


class MarketingOpsOperator(BaseOperator):
    """Runs one engine function against the warehouse and returns its counts.

    A subclass says `work`. A FatalError fails the task at once, a RetryableError is retried, an
    exhausted quota skips it as postponed. What the log shows of an error are our own sentences:
    the chain behind them may quote a row or an address and is cut off.
    """

    is_live_only: ClassVar[bool] = False
    """True for work with an outward effect: a backfill skips it."""

    def __init__(self, **kwargs: Any) -> None:
        kwargs.setdefault("retry_policy", RetryableOnly())
        kwargs.setdefault("on_failure_callback", notify_failure)
        super().__init__(**kwargs)
        self._warehouse: Warehouse | None = None

    def execute(self, context: Context) -> Counts:
        """Open the warehouse, do the work, close what this task had open as an incident."""
        if self.is_live_only and is_backfill(context):
            raise AirflowSkipException(
                "a backfill sends nothing and changes nothing that is live: nothing was done"
            )
        from marketing_ops.warehouse import translated_errors

        try:
            with translated_errors():
                return self._execute(context)
        except (AirflowException, AirflowRuntimeError):
            raise  # Airflow's own: it knows what they mean
        except Exception as error:
            outcome = _as_airflow_error(error, self.log)
        raise outcome  # outside the handler, so that nothing hangs on it as cause or context

    def _execute(self, context: Context) -> Counts:
        from marketing_ops import incidents
        from marketing_ops.warehouse import check_version, connect

        subject = f"{self.dag_id}.{self.task_id}"
        with connect(from_airflow, application=subject[:63]) as warehouse:
            self._warehouse = warehouse
            check_version(warehouse)
            counts = self.work(warehouse, context)
            self.report(f"done: {counts}")
            if not is_backfill(context):
                incidents.close_incidents(warehouse, subject)
        return counts

    @abstractmethod
    def work(self, warehouse: Warehouse, context: Context) -> Counts:
        """Call the engine; an autocommit connection to a warehouse of the right version."""

    def report(self, line: str) -> None:
        """Show a line of progress in the task's log."""
        self.log.info("%s", line)

    def on_kill(self) -> None:
        """Stop what Postgres does for us and hang up: an open transaction leaves no trace."""
        if self._warehouse is not None:
            with suppress(Exception):  # the connection may be half closed: we only want it gone
                self._warehouse.cancel_safe(timeout=2)
            self._warehouse.close()


def run_type(context: Mapping[str, Any]) -> str:
    """What made Airflow run this: scheduled, manual, backfill, asset_triggered, ..."""
    found = context["dag_run"].run_type
    return str(getattr(found, "value", found))


def is_backfill(context: Mapping[str, Any]) -> bool:
    """Whether Airflow runs this as a backfill."""
    return run_type(context) == "backfill"


def counts_of(report: Any) -> Counts:
    """The counts, flags and ids of an engine's report, without lists of anything else."""
    if dataclasses.is_dataclass(report) and not isinstance(report, type):
        names = [field.name for field in dataclasses.fields(report)]
        values = {name: getattr(report, name) for name in names}
    else:
        values = dict(report)
    return {name: value for name, value in values.items() if _is_count(value)}


def fail_for_problems(problems: Iterable[object]) -> None:
    """Fail a task whose other work is done, so that nobody takes it for whole.

    Raises:
        DefinitionError: there are problems; one a line, with file, line and key.
    """
    lines = [str(problem) for problem in problems]
    if lines:
        raise DefinitionError("\n".join(lines))


def _is_count(value: Any) -> bool:
    if isinstance(value, list):
        return all(isinstance(item, int) for item in value)  # ids of ours
    if isinstance(value, dict):
        return all(isinstance(key, str) and _is_count(item) for key, item in value.items())
    return value is None or isinstance(value, bool | int | float | str)


def _as_airflow_error(error: Exception, log: Any) -> Exception:
    if isinstance(error, QuotaExhaustedError):
        return AirflowSkipException(
            f"postponed: {error} (the quota is back in {error.reset_seconds:.0f} s)"
        )
    if isinstance(error, RetryableError):
        return RetryableError(str(error), retry_after=error.retry_after)
    if isinstance(error, MarketingOpsError):
        log.error("%s", error)  # Airflow folds the exception below into one long line
        log.info("raised as %s at %s", type(error).__name__, _where(error))
        return AirflowFailException(str(error))
    log.error("%s raised at %s", type(error).__name__, _where(error))
    # Not one of ours, so a fault of this code. Its message may quote anything: not shown.
    return AirflowFailException(
        f"an error nobody foresaw ({type(error).__name__}): the log names its place; report it"
    )


def _where(error: BaseException) -> str:
    frames = traceback.extract_tb(error.__traceback__)
    places = [f"{Path(frame.filename).name}:{frame.lineno} {frame.name}" for frame in frames]
    return " > ".join(places[-8:])
