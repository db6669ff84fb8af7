"""The failure notice: five lines that let on-call decide in a minute, once for each cause."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from marketing_ops.notifiers.dagdoc import sections

log = logging.getLogger("marketing_ops.notifiers.failure")

_UNKNOWN = "not said in the DAG's documentation"


@dataclass(frozen=True)
class Notice:
    """One failure, in words.

    Attributes:
        scope: what the cause belongs to: the account a task works for, else its DAG.
        subject: `dag.task`, which takes the failure off the incident when it works again.
    """

    scope: str
    subject: str
    run: str
    cause: str
    affected: str
    rerun: str
    next_step: str
    link: str

    def lines(self) -> list[str]:
        """Five lines: what failed, why, who is affected, is a rerun safe, what to do next."""
        return [
            f"What failed: {self.subject} in run {self.run}",
            f"Why: {self.cause}",
            f"Who is affected: {self.affected}",
            f"Is a rerun safe: {self.rerun}",
            f"What next: {self.next_step} {self.link}".rstrip(),
        ]


def notify_failure(context: Mapping[str, Any]) -> None:
    """Tell on-call about a task that will not be tried again. Never raises.

    The lines always stand in the task's log. Outside backfills the cause is kept in
    `mkt_ops.incidents`, and the first failure of a cause is mailed through the connection
    `marketing_ops_alerts` where it exists.
    """
    try:
        notice = _task_notice(context)
        log.error("%s", "\n".join(["A task failed for good.", *notice.lines()]))
        _alert(context, notice)
    except Exception as error:
        # Not even a wrong notice may hide the failure it is about; its text may quote anything.
        log.error("the failure notice itself failed: %s", type(error).__name__)


def notify_stuck_run(context: Mapping[str, Any]) -> None:
    """Tell on-call about a run that ended without any task failing: too slow, or deadlocked.

    Airflow calls it for every failed run; a failed task has had its own notice. Never raises.
    """
    reason = str(context.get("reason") or "")
    if reason not in _RUN_REASONS:
        return
    try:
        notice = _run_notice(context, reason)
        log.error("%s", "\n".join(["A run failed as a whole.", *notice.lines()]))
        _alert(context, notice)
    except Exception as error:
        log.error("the failure notice itself failed: %s", type(error).__name__)


_RUN_REASONS = {
    "timed_out": "the run took longer than its dagrun_timeout; a task that never started waits for"
    " a free slot, or for a pool that does not exist (`marketing-ops apply` creates pools)",
    "all_tasks_deadlocked": "no task of the run can start any more",
}


def _task_notice(context: Mapping[str, Any]) -> Notice:
    instance, dag = context["ti"], context["dag"]
    task = context.get("task") or getattr(instance, "task", None)
    return _notice(
        dag,
        scope=str(getattr(task, "account", None) or dag.dag_id),
        subject=f"{dag.dag_id}.{instance.task_id}",
        run=f"{instance.run_id}, try {instance.try_number}",
        cause=_in_plain_words(context.get("exception")),
        link=str(getattr(instance, "log_url", "")),
    )


def _run_notice(context: Mapping[str, Any], reason: str) -> Notice:
    dag = context["dag"]
    run = str(context.get("run_id") or getattr(context.get("dag_run"), "run_id", ""))
    return _notice(
        dag, scope=dag.dag_id, subject=dag.dag_id, run=run, cause=_RUN_REASONS[reason], link=""
    )


def _notice(dag: Any, *, scope: str, subject: str, run: str, cause: str, link: str) -> Notice:
    said = sections(dag.doc_md)
    return Notice(
        scope=scope,
        subject=subject,
        run=run,
        cause=cause,
        affected=said.get("Impact", _UNKNOWN),
        rerun=said.get("Safe to rerun", _UNKNOWN),
        next_step=said.get("Mitigation", _UNKNOWN),
        link=link,
    )


def _in_plain_words(error: Any) -> str:
    from airflow.sdk.exceptions import AirflowException

    from marketing_ops.errors import MarketingOpsError

    if isinstance(error, str):
        return "the task's process ended without a word (killed, or the machine went away)"
    if error is None:
        return "the task was ended from outside: killed, timed out or marked as failed"
    if isinstance(error, MarketingOpsError | AirflowException):
        return str(error)
    if type(error).__name__ == "AirflowTaskTimeout":
        return "the task took longer than its execution_timeout"
    return f"{type(error).__name__}, see the task's log"


def _alert(context: Mapping[str, Any], notice: Notice) -> None:
    from marketing_ops.notifiers import mail, memory

    run_type = getattr(context.get("dag_run"), "run_type", "")
    if str(getattr(run_type, "value", run_type)) == "backfill":
        log.info("a backfill alerts nobody")
        return
    if memory.is_first(notice):
        mail.send(f"marketing_ops: {notice.subject} failed", "\n".join(notice.lines()))
    else:
        log.info("this cause is known already: nobody was alerted again")
