"""What becomes of errors, backfills and the warehouse in every operator."""

from __future__ import annotations

import traceback
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import psycopg
import pytest
from airflow.sdk import RetryAction
from airflow.sdk.exceptions import AirflowFailException, AirflowSkipException, AirflowTaskTimeout

from marketing_ops.errors import (
    DefinitionError,
    FatalError,
    QuotaExhaustedError,
    RetryableError,
)
from marketing_ops.operators.base import Counts, MarketingOpsOperator, counts_of
from marketing_ops.operators.retries import LONGEST_WAIT, RetryableOnly

MakeContext = Callable[..., dict[str, Any]]


class Works(MarketingOpsOperator):
    """Runs a function given by the test."""

    def __init__(self, *, function: Callable[[Any], Counts], **kwargs: Any) -> None:
        super().__init__(task_id="works", **kwargs)
        self.function = function

    def work(self, warehouse: Any, context: Any) -> Counts:
        return self.function(warehouse)


class WorksLive(Works):
    """As Works, with an outward effect."""

    is_live_only = True


def raising(error: BaseException) -> Callable[[Any], Counts]:
    """A function that raises `error` from one whose text nobody may see."""

    def function(_warehouse: Any) -> Counts:
        try:
            raise KeyError("ana@example.com shpat_secret")
        except KeyError as cause:
            raise error from cause

    return function


def shown(error: BaseException) -> str:
    """What a task's log shows of an error: the whole chain."""
    return "".join(traceback.format_exception(error))


@pytest.fixture
def run(warehouse_connection: str, make_context: MakeContext) -> Callable[..., Counts]:
    """Executes a function as an operator would."""

    def execute(function: Callable[[Any], Counts], run_type: str = "scheduled") -> Counts:
        return Works(function=function).execute(make_context(run_type))  # type: ignore[arg-type]

    return execute


@pytest.mark.parametrize("error", [FatalError("the shop refuses"), DefinitionError("a.yaml:3")])
def test_fatal_error_fails_without_retry(run: Callable[..., Counts], error: FatalError) -> None:
    """A FatalError, and so a wrong file, becomes AirflowFailException with the same sentence."""
    with pytest.raises(AirflowFailException, match=str(error)) as raised:
        run(raising(error))
    assert "ana@example.com" not in shown(raised.value)
    assert "shpat_secret" not in shown(raised.value)


def test_retryable_error_stays_retryable(run: Callable[..., Counts]) -> None:
    """A RetryableError keeps its class, sentence and wait, without the chain behind it."""
    with pytest.raises(RetryableError, match="throttled") as raised:
        run(raising(RetryableError("throttled", retry_after=7.0)))
    assert raised.value.retry_after == 7.0
    assert "ana@example.com" not in shown(raised.value)


def test_exhausted_quota_is_postponed(run: Callable[..., Counts]) -> None:
    """A used-up quota skips the task and says when it is back; it is no failure."""
    with pytest.raises(AirflowSkipException, match=r"postponed: .* back in 3600 s"):
        run(raising(QuotaExhaustedError("no calls left", reset_seconds=3600)))


def test_unforeseen_error_fails_and_shows_no_text(run: Callable[..., Counts]) -> None:
    """A bug fails the task at once; its own text may quote a person, so only its class is shown."""
    function = raising(ValueError("ben@example.com"))
    with pytest.raises(AirflowFailException, match="ValueError") as raised:
        run(function)
    assert "example.com" not in shown(raised.value)


@pytest.mark.parametrize(
    "statement",
    [
        "select 'ana@example.com'::numeric",
        "insert into mkt_ops.schema_migrations values (1, 'ana@example.com', 'x', now())",
    ],
)
def test_postgres_error_quotes_no_value(run: Callable[..., Counts], statement: str) -> None:
    """Neither a value that fits no type nor the DETAIL of a duplicate reaches the log."""

    def function(warehouse: Any) -> Counts:
        warehouse.execute(statement)
        return {}

    with pytest.raises(AirflowFailException, match="Postgres") as raised:
        run(function)
    assert "ana@example.com" not in shown(raised.value)


def test_full_disk_is_retried_and_says_what_to_do(run: Callable[..., Counts]) -> None:
    """Postgres out of space is one clear sentence; a later try may succeed."""

    def function(warehouse: Any) -> Counts:
        warehouse.execute("do $$ begin raise exception using errcode = '53100'; end $$")
        return {}

    with pytest.raises(RetryableError, match=r"out of disk space .* Free space"):
        run(function)


def test_unmigrated_warehouse_says_migrate(
    run: Callable[..., Counts], db: psycopg.Connection[Any]
) -> None:
    """A warehouse of another version is refused before any work, naming the command."""
    db.execute("delete from mkt_ops.schema_migrations where version = 2")
    with pytest.raises(AirflowFailException, match="run `marketing-ops migrate`"):
        run(lambda warehouse: pytest.fail("work began"))


def test_missing_connection_says_how_to_create_it(
    make_context: MakeContext, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without its connection a task fails with where to create it."""
    from airflow.sdk import BaseHook
    from airflow.sdk.exceptions import AirflowNotFoundException

    def missing(conn_id: str) -> None:
        raise AirflowNotFoundException(f"The conn_id `{conn_id}` isn't defined")

    monkeypatch.setattr(BaseHook, "get_connection", missing)
    with pytest.raises(AirflowFailException, match=r"marketing_ops_warehouse.*Admin > Connections"):
        Works(function=lambda warehouse: {}).execute(make_context())  # type: ignore[arg-type]


def test_unreachable_warehouse_is_retried(
    make_context: MakeContext, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A warehouse that does not answer is retried, and the sentence names the connection."""
    monkeypatch.setenv(
        "AIRFLOW_CONN_MARKETING_OPS_WAREHOUSE",
        '{"conn_type": "postgres", "host": "127.0.0.1", "port": 1, "password": "tops3cret"}',
    )
    with pytest.raises(RetryableError, match="marketing_ops_warehouse") as raised:
        Works(function=lambda warehouse: {}).execute(make_context())  # type: ignore[arg-type]
    assert "tops3cret" not in shown(raised.value)


def test_live_work_is_skipped_in_a_backfill(
    warehouse_connection: str, make_context: MakeContext
) -> None:
    """Work with an outward effect does nothing in a backfill, and so publishes nothing."""
    operator = WorksLive(function=lambda warehouse: pytest.fail("work began"))
    with pytest.raises(AirflowSkipException, match="backfill"):
        operator.execute(make_context("backfill"))  # type: ignore[arg-type]


def test_killed_task_hangs_up(run: Callable[..., Counts], db: psycopg.Connection[Any]) -> None:
    """on_kill ends the statement and the connection, so that an open transaction leaves nothing."""
    operator = Works(function=lambda warehouse: {})

    def killed(warehouse: Any) -> Counts:
        operator._warehouse = warehouse
        with warehouse.transaction():
            warehouse.execute("insert into mkt_ops.account_state values ('a', null, null, now())")
            operator.on_kill()
            warehouse.execute("select 1")
        return {}

    with pytest.raises(RetryableError):
        run(killed)
    assert db.execute("select count(*) from mkt_ops.account_state").fetchone() == (0,)


def test_retry_policy_retries_only_what_may_pass() -> None:
    """Retried: our RetryableError and a time-out. Not retried: anything else."""
    policy = RetryableOnly()
    assert policy.evaluate(RetryableError("x"), 1, 3).action is RetryAction.RETRY
    assert policy.evaluate(AirflowTaskTimeout("x"), 1, 3).action is RetryAction.RETRY
    assert policy.evaluate(ValueError("x"), 1, 3).action is RetryAction.FAIL
    assert policy.evaluate(FatalError("x"), 1, 3).action is RetryAction.FAIL


def test_retry_policy_honours_retry_after_up_to_a_bound() -> None:
    """The wait the other side asked for replaces the task's own, but never beyond LONGEST_WAIT."""
    policy = RetryableOnly()

    def delay(asked: float | None) -> timedelta | None:
        return policy.evaluate(RetryableError("x", retry_after=asked), 1, 3).retry_delay

    assert delay(7.0) == timedelta(seconds=7)
    assert delay(86_400.0) == LONGEST_WAIT
    assert delay(None) is None


def test_counts_leave_lists_out() -> None:
    """What an operator returns holds numbers, names and ids of ours; a list could hold people."""
    given = {"rows": 3, "ok": True, "ids": [4], "people": ["ana"], "by": {"a": 1, "b": ["ana"]}}
    assert counts_of(given) == {"rows": 3, "ok": True, "ids": [4]}
