"""kill -9 of a delivery process around the server's answer: nobody gets a second mail."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import psycopg
import pytest

import marketing_ops
from marketing_ops.delivery.runner import deliver
from marketing_ops.delivery.unknowns import list_unknown
from marketing_ops.warehouse import Warehouse
from sandbox.mail_smtp import SmtpServer

ACCOUNT = "smtp_journey"
WORKER = """
from marketing_ops import connections, warehouse
from marketing_ops.delivery.runner import deliver
with warehouse.connect(application="worker") as connection:
    deliver(connection, "smtp_journey", resolve=connections.from_environment)
"""


class Killer:
    """An SMTP server that takes mails and calls back with each, before it answers."""

    def __init__(self, mailbox: Any) -> None:
        self.taken: list[str] = []
        self.on_first: Callable[[], None] = lambda: None
        self._mailbox = mailbox
        self.server = SmtpServer(self._received)
        self.port = self.server.start(0)

    def _received(self, mail_from: str, recipient: str, raw: bytes) -> None:
        self.taken.append(recipient)
        if len(self.taken) == 1:
            self.on_first()


@pytest.fixture
def killer(mailbox: Any) -> Iterator[Killer]:
    server = Killer(mailbox)
    yield server
    server.server.stop()


def _start_worker(uri: str, accounts: Any, port: int) -> subprocess.Popen[bytes]:
    parts = psycopg.conninfo.conninfo_to_dict(uri)
    warehouse = {
        "host": parts.get("host"),
        "port": int(parts.get("port", 5432)),
        "login": parts.get("user"),
        "password": parts.get("password"),
        "schema": parts["dbname"],
    }
    receiver = {"password": accounts.known["marketing_ops_receiver"].password}
    environment = os.environ | {
        "PYTHONPATH": str(Path(marketing_ops.__file__).parents[1]),
        "AIRFLOW_CONN_MARKETING_OPS_WAREHOUSE": json.dumps(warehouse),
        "AIRFLOW_CONN_SMTP_JOURNEY": json.dumps({"host": "127.0.0.1", "port": port}),
        "AIRFLOW_CONN_MARKETING_OPS_RECEIVER": json.dumps(receiver),
    }
    return subprocess.Popen([sys.executable, "-c", WORKER], env=environment)


def _wait(condition: Callable[[], bool]) -> None:
    ends = time.monotonic() + 30
    while not condition():
        assert time.monotonic() < ends, "it never happened"
        time.sleep(0.02)


@pytest.mark.parametrize("moment", ["before the answer", "between answer and commit"])
def test_killed_worker_leaves_one_send_in_doubt_and_no_second_mail(
    db: Warehouse,
    warehouse_uri: str,
    ledger: Any,
    accounts: Any,
    killer: Killer,
    frozen_clock: Any,
    moment: str,
) -> None:
    """The begun send becomes unknown after its lease and is listed; the others go out once."""
    ids = [ledger.claim(ledger.person(contact_id=64 * (n + 1))) for n in range(4)]
    reached = threading.Event()
    blocker = psycopg.connect(warehouse_uri)
    worker: subprocess.Popen[bytes]

    def kill_now() -> None:
        worker.send_signal(signal.SIGKILL)
        worker.wait()
        reached.set()

    def block_the_commit() -> None:
        blocker.execute("select 1 from mkt_engage.sends for update")
        reached.set()

    killer.on_first = kill_now if moment == "before the answer" else block_the_commit
    worker = _start_worker(warehouse_uri, accounts, killer.port)
    assert reached.wait(60)
    if moment == "between answer and commit":
        waiting = (
            "select pid from pg_stat_activity"
            " where application_name = 'worker' and wait_event_type = 'Lock'"
        )
        _wait(lambda: db.execute(waiting).fetchone() is not None)
        worker.send_signal(signal.SIGKILL)
        worker.wait()
        # The machine is gone with it: its session commits nothing any more.
        db.execute(f"select pg_terminate_backend(pid) from ({waiting}) as gone")
        _wait(lambda: db.execute(waiting).fetchone() is None)
    blocker.close()
    assert worker.returncode == -signal.SIGKILL
    assert len(killer.taken) == 1

    accounts.known[ACCOUNT] = type(accounts.known[ACCOUNT])(
        ACCOUNT, host="127.0.0.1", port=killer.port
    )
    lines: list[str] = []
    early = deliver(db, ACCOUNT, resolve=accounts, report=lines.append)
    assert early.accepted == 0, "the lease holds: the worker might still be alive"
    frozen_clock.move(ledger.now + timedelta(minutes=20))
    report = deliver(db, ACCOUNT, resolve=accounts, report=lines.append)
    assert (report.unknown, report.retaken, report.accepted) == (1, 3, 3)
    deliver(db, ACCOUNT, resolve=accounts, report=lines.append)

    doubtful = [found.send_id for found in list_unknown(db)]
    assert len(doubtful) == 1 and str(doubtful[0]) in "\n".join(lines)
    assert ledger.state(doubtful[0]) == ("unknown", "worker died")
    assert len(killer.taken) == len(set(killer.taken)) == len(ids)
