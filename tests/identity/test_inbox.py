"""What readers do, and what was sent to them, become events of their contact."""

from __future__ import annotations

from datetime import date, timedelta
from typing import Any

import pytest

from marketing_ops.identity.runner import unify
from marketing_ops.warehouse import Warehouse
from tests.identity.story import Ledger, Shop, contact_of, hours, rows

EVENTS = (
    "select event_type, occurred_at, is_machine, contact_id, send_id from mkt_core.events"
    " where event_type like 'email%%' or send_id is not null order by occurred_at, event_type"
)
INBOX = "select processed_at is not null, batch, error from mkt_ops.webhook_inbox order by inbox_id"


@pytest.fixture
def send(shop: Shop, ledger: Ledger) -> int:
    """One mail to customer 1, accepted at hour 1, whose event is written."""
    shop.customer(1)
    shop.unify()
    number = ledger.send(ledger.enrol(1), 1)
    shop.unify()
    return number


def quiet(db: Warehouse) -> Any:
    """Unify without output."""
    return unify(db, report=lambda line: None)


def test_an_accepted_send_is_one_event(shop: Shop, db: Warehouse, ledger: Ledger) -> None:
    """Of all states only accepted makes an event; one accepted late makes it then, and once."""
    shop.customer(1)
    shop.unify()
    enrolment = ledger.enrol(1)
    for status in ("claimed", "in_flight", "rejected", "cancelled", "skipped"):
        ledger.send(enrolment, 1, status=status)
    accepted = ledger.send(enrolment, 1)
    late = ledger.send(enrolment, 1, status="unknown", outcome_at=None)
    quiet(db)
    assert rows(db, EVENTS) == [("email_sent", hours(1), False, 1, accepted)]
    assert quiet(db).batches == []
    db.execute(
        "update mkt_engage.sends set status = 'accepted', outcome_at = %s where send_id = %s",
        (hours(3), late),
    )
    quiet(db)
    assert rows(db, EVENTS)[1:] == [("email_sent", hours(3), False, 1, late)]
    assert rows(db, "select date from mkt_ops.dirty_days where kpi_group = 'email'") == [
        (date(2026, 3, 1),)
    ]


def test_opens_and_clicks_become_events_once(
    shop: Shop, db: Warehouse, ledger: Ledger, send: int
) -> None:
    """Each delivery is one event with its send, campaign and step; the inbox row is closed."""
    ledger.act("email_opened", send, at=hours(2))
    ledger.act("email_opened", send, at=hours(3), number=2)
    ledger.act("email_clicked", send, at=hours(3))
    quiet(db)
    db.execute("update mkt_ops.webhook_inbox set processed_at = null")
    quiet(db)
    assert rows(db, EVENTS)[1:] == [
        ("email_opened", hours(2), False, 1, send),
        ("email_clicked", hours(3), False, 1, send),
        ("email_opened", hours(3), False, 1, send),
    ]
    assert rows(db, "select distinct campaign_id, key from mkt_core.events where send_id > 0") == [
        (1, str(send))
    ]
    assert {row[0] for row in rows(db, INBOX)} == {True}


def test_a_one_click_unsubscription_denies(
    shop: Shop, db: Warehouse, ledger: Ledger, send: int
) -> None:
    """Consent of the brand's mail is denied from that instant, with one event a send."""
    ledger.act("unsubscribed", send, at=hours(5))
    ledger.act("unsubscribed", send, at=hours(6), number=2)
    quiet(db)
    assert rows(db, "select status, changed_at from mkt_core.consent_now") == [("denied", hours(5))]
    assert rows(db, EVENTS)[1:] == [("unsubscribed", hours(5), False, 1, send)]
    shop.customer(1, email_marketing_state="SUBSCRIBED", first_name="Synced")
    shop.unify()
    assert rows(db, "select status from mkt_core.consent_now") == [("denied",)]


@pytest.mark.parametrize(
    ("topic", "agent", "seconds", "is_machine"),
    [
        ("email_opened", "Thunderbird", 3600, False),
        (
            "email_opened",
            "Mozilla/5.0 (Windows NT 5.1) (via ggpht.com GoogleImageProxy)",
            3600,
            True,
        ),
        ("email_opened", "Mozilla/5.0", 3600, True),
        ("email_opened", "Mozilla/5.0 (X11; Linux x86_64)", 3600, False),
        ("email_opened", "Thunderbird", 4, True),
        ("email_opened", "Thunderbird", 5, False),
        ("email_clicked", "Mozilla/5.0", 3600, False),
        ("email_clicked", "Thunderbird", 4, True),
        ("unsubscribed", "Mozilla/5.0", 1, False),
    ],
)
def test_machines_are_marked(
    db: Warehouse,
    ledger: Ledger,
    send: int,
    topic: str,
    agent: str,
    seconds: int,
    is_machine: bool,
) -> None:
    """An image proxy's open, and any open or click within 5 seconds of acceptance."""
    ledger.act(topic, send, at=hours(1) + timedelta(seconds=seconds), agent=agent)
    quiet(db)
    assert rows(db, EVENTS)[-1][2] is is_machine


def test_an_action_follows_its_merged_person(
    shop: Shop, db: Warehouse, ledger: Ledger, send: int
) -> None:
    """An open of a mail to somebody who is part of another contact by now is that contact's."""
    phone = "+381641234567"
    shop.customer(2)
    shop.unify()
    other = ledger.send(ledger.enrol(2, entry_ref="x"), 2)
    shop.customer(1, phone=phone)
    shop.customer(2, phone=phone)
    shop.unify()
    ledger.act("email_opened", other, at=hours(4))
    quiet(db)
    assert contact_of(db, 2) == 1
    found = rows(db, "select profile_id, contact_id from mkt_core.events where send_id = %s", other)
    assert found == [(2, 1), (2, 1)]


def test_an_unknown_send_waits_a_week(
    db: Warehouse, ledger: Ledger, shop: Shop, frozen_clock: Any
) -> None:
    """The row stays with its error, makes no batch, and comes in when the send does."""
    ledger.act("email_opened", 202603 * 10**12 + 1, at=hours(2))
    ledger.act("email_opened", 202603 * 10**12 + 99, at=hours(2))
    for _ in range(2):
        done = quiet(db)
        assert (done.batches, done.changes["inbox_unmatched"]) == ([], 2)
    assert rows(db, INBOX) == [(False, None, "its send is not known yet")] * 2
    ledger.send(ledger.enrol(1), 1)
    assert quiet(db).changes["inbox_matched"] == 1
    frozen_clock.move(hours(2) + timedelta(days=8))
    quiet(db)
    assert rows(db, INBOX) == [(True, 1, None), (True, None, "its send never came")]


@pytest.mark.parametrize(
    "body",
    [
        b"\xff\xfe",
        b"{",
        b"[]",
        b"{}",
        b'{"send_id": "1", "at": "2026-03-01T12:00:00+00:00"}',
        b'{"send_id": true, "at": "2026-03-01T12:00:00+00:00"}',
        b'{"send_id": 99999999999999999999, "at": "2026-03-01T12:00:00+00:00"}',
        b'{"send_id": 1, "at": "2026-03-01T12:00:00"}',
        b'{"send_id": 1, "at": "9999-03-01T12:00:00+00:00"}',
        b'{"send_id": 1, "at": null}',
    ],
)
def test_what_cannot_be_read_is_closed_with_its_reason(
    db: Warehouse, ledger: Ledger, send: int, body: bytes
) -> None:
    """It is kept, never tried again, and stops nobody else; the reason quotes nothing."""
    ledger.post("email_opened", "email_opened:1:1", body)
    ledger.act("email_opened", send, at=hours(2))
    done = quiet(db)
    assert (done.changes["inbox_malformed"], done.changes["inbox_matched"]) == (1, 1)
    bad = rows(db, INBOX)[0]
    assert bad[:2] == (True, None)
    assert bad[2]
    assert quiet(db).changes["inbox_malformed"] == 0


def test_other_webhooks_are_not_ours(db: Warehouse, ledger: Ledger) -> None:
    """Rows of vendors' webhooks are left to their own consumer."""
    ledger.post("orders/create", "1", b"{}")
    db.execute("update mkt_ops.webhook_inbox set source = 'shopify'")
    quiet(db)
    assert rows(db, INBOX) == [(False, None, None)]
