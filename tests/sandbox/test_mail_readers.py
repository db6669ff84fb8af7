"""Mails delivered for real, read by the sandbox's readers, heard by a real receiver."""

from __future__ import annotations

import json
import threading
from collections import Counter
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import psycopg
import pytest
import uvicorn
from psycopg.types.json import Jsonb

from marketing_ops import clock, content
from marketing_ops import settings as configuration
from marketing_ops.connections import Connection
from marketing_ops.delivery.runner import deliver
from marketing_ops.receiver.app import create_app
from marketing_ops.warehouse import Warehouse, ensure_partitions
from sandbox import readers
from sandbox.mail import MailSandbox

NOON = datetime(2026, 3, 2, 17, tzinfo=UTC)


def test_plans_are_stable_and_have_the_right_shape() -> None:
    """The same mail is read the same way; shares are about 35, 7, 10 and 0.4 percent."""
    kinds: Counter[str] = Counter()
    for number in range(20_000):
        plan = readers.plan(f"<{number}@example.com>", "ann@example.com", NOON)
        assert plan == readers.plan(f"<{number}@example.com>", "ANN@example.com", NOON)
        moments = dict(plan)
        kinds.update(list(moments))
        assert all(at > NOON for at in moments.values())
        if "click" in moments:
            assert moments["click"] > moments["open"]
    assert 0.33 < kinds["open"] / 20_000 < 0.37
    assert 0.06 < kinds["click"] / 20_000 < 0.08
    assert 0.09 < kinds["machine_open"] / 20_000 < 0.11
    assert 0.002 < kinds["unsubscribe"] / 20_000 < 0.006


@pytest.fixture
def resolve(warehouse_uri: str, mailbox: MailSandbox) -> Any:
    parts = psycopg.conninfo.conninfo_to_dict(warehouse_uri)
    known = {
        "marketing_ops_receiver": Connection("marketing_ops_receiver", password="k" * 32),
        "marketing_ops_warehouse": Connection(
            "marketing_ops_warehouse",
            host=str(parts.get("host")),
            port=int(str(parts.get("port", 5432))),
            login=str(parts.get("user")),
            schema=str(parts["dbname"]),
        ),
        "smtp_journey": Connection(
            "smtp_journey", host="127.0.0.1", port=mailbox.state()["smtp_port"]
        ),
    }
    return known.__getitem__


@pytest.fixture
def mailbox(tmp_path: Path, frozen_clock: Any) -> Iterator[MailSandbox]:
    frozen_clock.move(NOON)
    server = MailSandbox(tmp_path / "mail")
    server.start(0)
    yield server
    server.stop()


@pytest.fixture
def receiver(resolve: Any, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """The receiver on a real port; the settings point at it."""
    config = uvicorn.Config(create_app(resolve), port=0, access_log=False, log_level="warning")
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run)
    thread.start()
    while not server.started:
        threading.Event().wait(0.01)
    port = server.servers[0].sockets[0].getsockname()[1]
    monkeypatch.setenv("MARKETING_OPS_RECEIVER_URL", f"http://127.0.0.1:{port}")
    configuration.settings.cache_clear()
    yield f"http://127.0.0.1:{port}"
    server.should_exit = True
    thread.join()
    configuration.settings.cache_clear()


def _claims(db: Warehouse, count: int, at: datetime, first: int = 1) -> None:
    """`count` due sends, contacts 1 to `count`."""
    ensure_partitions(db, "mkt_engage.sends", at.date(), at.date())
    db.execute(
        "insert into mkt_engage.campaigns (campaign, brand, state, state_changed_at,"
        " state_changed_by) values ('rescue', 'journey', 'live', %s, 't') on conflict do nothing",
        (at,),
    )
    template = content.load_template("welcome")
    db.execute(
        "insert into mkt_engage.campaign_versions select campaign_id, 1, 'h', '{}', %s, %s, 't'"
        " from mkt_engage.campaigns on conflict do nothing",
        (Jsonb({"templates": {"welcome": template}}), at),
    )
    db.execute(
        "insert into mkt_ops.sending_modes (account, mode, actor, changed_at)"
        " values ('smtp_journey', 'live', 't', %s) on conflict do nothing",
        (at,),
    )
    db.execute(
        "insert into mkt_core.contacts (contact_id, email, country, created_at, batch)"
        " select n, 'r' || n || '@example.com', 'US', %s, 1 from generate_series(1, %s) as n"
        " on conflict do nothing",
        (at, count),
    )
    db.execute(
        "insert into mkt_core.consent_now select n, 'journey', 'email', 'marketing', 'granted', %s"
        " from generate_series(1, %s) as n on conflict do nothing",
        (at, count),
    )
    db.execute(
        "insert into mkt_engage.sends (send_id, entered_on, enrolment_id, step_id, visit,"
        " campaign_id, version, contact_id, shard, brand, channel, via, status, due_at,"
        " claimed_at, tick_id, ctx) select 202603000000000000 + %(first)s + n, %(day)s,"
        " %(first)s + n, 1, 1, campaign_id, 1, n, n %% 64, 'journey', 'email', 'smtp_journey',"
        ' \'claimed\', %(at)s, %(at)s, 1, \'{"template": "welcome", "step": "hello"}\''
        " from mkt_engage.campaigns, generate_series(1, %(count)s) as n",
        {"first": first, "day": at.date(), "at": at, "count": count},
    )


def test_readers_open_click_and_leave_and_the_gate_hears_it(
    db: Warehouse,
    resolve: Any,
    mailbox: MailSandbox,
    receiver: str,
    frozen_clock: Any,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Links in delivered mails work; who unsubscribes in one click gets no next mail."""
    monkeypatch.setattr(readers, "UNSUBSCRIBE_RATIO", 0.1)
    _claims(db, 120, NOON)
    assert deliver(db, "smtp_journey", resolve=resolve).accepted == 120
    frozen_clock.move(NOON + timedelta(days=5))
    counts = mailbox.perform_due(clock.now())
    assert counts["refused"] == counts["without_link"] == counts["waiting"] == 0
    rows = db.execute("select topic, body from mkt_ops.webhook_inbox").fetchall()
    heard = Counter((topic, json.loads(body)["is_machine"]) for topic, body in rows)
    assert heard == {
        ("email_opened", False): counts["open"],
        ("email_opened", True): counts["machine_open"],
        ("email_clicked", False): counts["click"],
        ("unsubscribed", False): counts["unsubscribe"],
    }
    assert all(counts[kind] > 0 for kind in ("open", "click", "unsubscribe", "machine_open"))

    at = clock.now()
    _claims(db, 120, at, first=1000)
    report = deliver(db, "smtp_journey", resolve=resolve)
    assert report.reasons == {"unsubscribed": counts["unsubscribe"]}
    assert report.accepted == 120 - counts["unsubscribe"]


def test_readers_wait_while_the_receiver_is_away(
    db: Warehouse,
    resolve: Any,
    mailbox: MailSandbox,
    frozen_clock: Any,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Nobody's click is lost because the receiver was down."""
    monkeypatch.setenv("MARKETING_OPS_RECEIVER_URL", "http://127.0.0.1:1")
    configuration.settings.cache_clear()
    _claims(db, 20, NOON)
    deliver(db, "smtp_journey", resolve=resolve)
    configuration.settings.cache_clear()
    first = mailbox.perform_due(NOON + timedelta(days=5))
    assert first["waiting"] > 0 and first["open"] == 0
    assert mailbox.perform_due(NOON + timedelta(days=5))["waiting"] == first["waiting"]


def test_readers_never_call_the_outside_world() -> None:
    """Links to other hosts are not even considered."""
    raw = (
        b"List-Unsubscribe: <https://example.org/u/x>\r\nContent-Type: text/html\r\n\r\n"
        b'<a href="https://example.org/c/x?u=y">a</a><img src="https://example.org/o/x.gif">'
        b'<a href="http://127.0.0.1:9/c/x?u=y&amp;z=1">b</a>'
    )
    assert readers.links(raw) == readers.Links(None, ["http://127.0.0.1:9/c/x?u=y&z=1"], None)
