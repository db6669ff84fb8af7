"""What on-call reads when a task fails for good, and how often."""

from __future__ import annotations

import logging
import smtplib
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any, ClassVar

import pytest
from airflow.sdk.exceptions import AirflowFailException

from marketing_ops.incidents import cause_of
from marketing_ops.notifiers import failure
from marketing_ops.notifiers.failure import notify_failure, notify_stuck_run
from marketing_ops.operators.base import MarketingOpsOperator
from tests.airflow_env import ROOT

OpenIncidents = Callable[[], list[Any]]
ALERTS = (
    '{"conn_type": "smtp", "host": "mail.example.com", "login": "ops", "password": "tops3cret",'
    ' "extra": {"to": "oncall@example.com", "from": "airflow@example.com"}}'
)


class FakeServer:
    """Takes mails instead of a server."""

    sent: ClassVar[list[Any]] = []

    def __init__(self, host: str, port: int, timeout: float) -> None:
        self.address = (host, port)

    def __enter__(self) -> FakeServer:
        return self

    def __exit__(self, *_error: object) -> None:
        return None

    def starttls(self) -> None:
        return None

    def login(self, user: str, password: str) -> None:
        return None

    def send_message(self, message: Any) -> None:
        FakeServer.sent.append(message)


@pytest.fixture
def mails(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """The alert mails that were sent, with the alert connection in place."""
    monkeypatch.setenv("AIRFLOW_CONN_MARKETING_OPS_ALERTS", ALERTS)
    monkeypatch.setattr(smtplib, "SMTP", FakeServer)
    FakeServer.sent = []
    return FakeServer.sent


def failed(
    message: str = "the shop refuses the token", task_id: str = "shop.orders", **changes: Any
) -> dict[str, Any]:
    """The context of a failed task of sync_shop."""
    source = (ROOT / "dags" / "sync_shop.py").read_text(encoding="utf-8")
    dag = SimpleNamespace(dag_id="sync_shop", doc_md=source.split('"""')[1])
    instance = SimpleNamespace(
        task_id=task_id, run_id="run_7", try_number=3, log_url="http://airflow/log"
    )
    context = {
        "ti": instance,
        "dag": dag,
        "task": SimpleNamespace(account="shop"),
        "dag_run": SimpleNamespace(run_type="scheduled", run_id="run_7"),
        "exception": AirflowFailException(message),
    }
    return context | changes


def test_notice_has_five_lines(
    warehouse_connection: str, mails: list[Any], caplog: pytest.LogCaptureFixture
) -> None:
    """What failed, why, who is affected, is a rerun safe, what next with the link: in that order,
    in the log and in the mail.
    """
    with caplog.at_level(logging.ERROR):
        notify_failure(failed())
    lines = mails[0].get_content().strip().splitlines()
    assert [line.split(":", 1)[0] for line in lines] == [
        "What failed",
        "Why",
        "Who is affected",
        "Is a rerun safe",
        "What next",
    ]
    assert lines[0] == "What failed: sync_shop.shop.orders in run run_7, try 3"
    assert lines[1] == "Why: the shop refuses the token"
    assert lines[3].startswith("Is a rerun safe: yes")
    assert lines[4].endswith("http://airflow/log")
    assert "\n".join(lines) in caplog.text


def test_one_cause_is_told_once(
    warehouse_connection: str, mails: list[Any], open_incidents: OpenIncidents
) -> None:
    """The second failure of a cause, in another task and with other numbers, is only counted."""
    notify_failure(failed("throttled for 30 s", task_id="shop.orders"))
    notify_failure(failed("throttled for 45 s", task_id="shop.customers"))
    assert len(mails) == 1
    subjects = ["sync_shop.shop.orders", "sync_shop.shop.customers"]
    assert open_incidents() == [("shop: throttled for # s", 2, subjects)]


def test_another_cause_is_told_too(
    warehouse_connection: str, mails: list[Any], open_incidents: OpenIncidents
) -> None:
    """Two causes are two incidents and two mails."""
    notify_failure(failed("throttled"))
    notify_failure(failed("the shop refuses the token"))
    assert len(mails) == 2
    assert len(open_incidents()) == 2


def test_success_closes_and_the_next_failure_is_told_again(
    warehouse_connection: str,
    mails: list[Any],
    open_incidents: OpenIncidents,
    make_context: Callable[..., dict[str, Any]],
) -> None:
    """The incident closes when the last task that showed it succeeds, not before."""

    class Works(MarketingOpsOperator):
        def work(self, warehouse: Any, context: Any) -> dict[str, Any]:
            return {}

    from airflow.sdk import DAG

    with DAG("sync_shop", schedule=None):
        orders, customers = Works(task_id="shop.orders"), Works(task_id="shop.customers")
    notify_failure(failed(task_id="shop.orders"))
    notify_failure(failed(task_id="shop.customers"))
    orders.execute(make_context())  # type: ignore[arg-type]
    assert len(open_incidents()) == 1
    customers.execute(make_context("backfill"))  # type: ignore[arg-type]
    assert len(open_incidents()) == 1, "a backfill says nothing about the live run"
    customers.execute(make_context())  # type: ignore[arg-type]
    assert open_incidents() == []
    notify_failure(failed())
    assert len(mails) == 2


def test_backfill_alerts_nobody(
    warehouse_connection: str,
    mails: list[Any],
    open_incidents: OpenIncidents,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """A failed backfill explains itself in its log; nobody is mailed, no incident is opened."""
    with caplog.at_level(logging.ERROR):
        notify_failure(failed(dag_run=SimpleNamespace(run_type="backfill")))
    assert "Is a rerun safe" in caplog.text
    assert (mails, open_incidents()) == ([], [])


def test_without_a_warehouse_a_cause_is_told_once_too(
    mails: list[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """While the warehouse is away, Airflow remembers; every DAG's failure is the same cause."""
    from airflow.sdk import Variable

    kept: dict[str, str] = {}
    monkeypatch.setattr(Variable, "get", lambda key, default: kept.get(key, default))
    monkeypatch.setattr(Variable, "set", lambda key, value: kept.__setitem__(key, value))
    monkeypatch.setenv(
        "AIRFLOW_CONN_MARKETING_OPS_WAREHOUSE",
        '{"conn_type": "postgres", "host": "127.0.0.1", "port": 1}',
    )
    message = "Postgres at `marketing_ops_warehouse` cannot be reached"
    notify_failure(failed(message))
    notify_failure(failed(message, task=SimpleNamespace()))
    assert len(mails) == 1


def test_without_an_alert_connection_the_log_is_enough(
    warehouse_connection: str,
    open_incidents: OpenIncidents,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """No connection marketing_ops_alerts: nothing is mailed, the incident is kept all the same."""
    from airflow.sdk import BaseHook
    from airflow.sdk.exceptions import AirflowNotFoundException

    real = BaseHook.get_connection

    def get_connection(conn_id: str) -> Any:
        if conn_id == "marketing_ops_alerts":
            raise AirflowNotFoundException(conn_id)
        return real(conn_id)

    monkeypatch.setattr(BaseHook, "get_connection", get_connection)
    with caplog.at_level(logging.INFO):
        notify_failure(failed())
    assert "this log only" in caplog.text
    assert len(open_incidents()) == 1


def test_mail_server_away_never_hides_the_failure(
    warehouse_connection: str,
    mails: list[Any],
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """A mail that cannot be handed over is a line in the log; no secret in it, nothing raised."""

    def refuse(*_arguments: Any, **_options: Any) -> None:
        raise smtplib.SMTPAuthenticationError(535, b"bad password tops3cret")

    monkeypatch.setattr(FakeServer, "login", refuse)
    with caplog.at_level(logging.INFO):
        notify_failure(failed())
    assert "could not be mailed: SMTPAuthenticationError" in caplog.text
    assert "tops3cret" not in caplog.text


def test_notice_never_raises(caplog: pytest.LogCaptureFixture) -> None:
    """Whatever Airflow passes, the callback ends by itself and says so."""
    with caplog.at_level(logging.ERROR):
        notify_failure({})
        notify_stuck_run({"reason": "timed_out"})
    assert caplog.text.count("the failure notice itself failed: KeyError") == 2


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (None, "ended from outside"),
        ("gone", "process ended without a word"),
        (ValueError("ana@example.com"), "ValueError, see the task's log"),
    ],
)
def test_cause_is_in_plain_words(
    warehouse_connection: str, mails: list[Any], error: Any, words: str
) -> None:
    """A kill and a lost process are named as such; foreign errors only by their class."""
    notify_failure(failed(exception=error))
    assert words in mails[0].get_content()
    assert "ana@example.com" not in mails[0].get_content()


def test_stuck_run_is_told(warehouse_connection: str, mails: list[Any]) -> None:
    """A run that timed out without a failed task is told, with the pool as the likely reason; a
    run with a failed task was told about already.
    """
    context = failed(reason="timed_out")
    notify_stuck_run(context)
    notify_stuck_run(context | {"reason": "task_failure"})
    assert len(mails) == 1
    assert "pool" in mails[0].get_content()


def test_causes_differ_by_words_not_by_numbers() -> None:
    """Counts, ids and instants do not make a new cause; the scope and the words do."""
    first = cause_of("shop", "run 12 failed at 2026-03-02 12:00\nmore")
    assert first == cause_of("shop", "run 13 failed at 2026-03-02 13:00\nother")
    assert first != cause_of("other_shop", "run 12 failed at 2026-03-02 12:00")
    assert len(cause_of("shop", "word " * 500)) <= 300


def test_module_is_light() -> None:
    """Every DAG file imports the callback, so it imports nothing heavy itself."""
    source = Path(str(failure.__file__)).read_text(encoding="utf-8")
    assert "import psycopg" not in source
    assert "import smtplib" not in source
