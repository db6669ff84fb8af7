from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from psycopg.types.json import Jsonb

from marketing_ops.delivery import runner, switch
from marketing_ops.delivery.runner import DeliveryReport, deliver
from marketing_ops.warehouse import Warehouse, ensure_partitions

ACCOUNT = "smtp_journey"
Deliver = Callable[..., DeliveryReport]


@pytest.fixture
def send(db: Warehouse, accounts: Any) -> Deliver:
    def call(**options: Any) -> DeliveryReport:
        return deliver(db, ACCOUNT, resolve=accounts, **options)

    return call


def _suppress(db: Warehouse, contact: int, reason: str, brand: str | None, at: datetime) -> None:
    db.execute(
        "insert into mkt_engage.suppressions (contact_id, brand, channel, reason, source, since)"
        " values (%s, %s, 'email', %s, 't', %s)",
        (contact, brand, reason, at),
    )


def _consent(db: Warehouse, contact: int, status: str | None) -> None:
    if status is None:
        db.execute("delete from mkt_core.consent_now where contact_id = %s", (contact,))
    else:
        db.execute(
            "update mkt_core.consent_now set status = %s where contact_id = %s", (status, contact)
        )


@pytest.mark.parametrize("status", ["denied", "pending", None])
def test_consent_that_is_not_granted_cancels(
    send: Deliver, ledger: Any, mailbox: Any, db: Warehouse, status: str | None
) -> None:
    """Only `granted` sends; pending, denied and no record at all do not."""
    send_id = ledger.claim()
    _consent(db, ledger.read(send_id)["contact_id"], status)
    send()
    assert ledger.state(send_id) == ("cancelled", "no_consent")
    assert mailbox.store.count() == 0


def test_consent_of_another_brand_or_topic_does_not_count(
    send: Deliver, ledger: Any, db: Warehouse
) -> None:
    """Consent is per brand, channel and topic."""
    other_brand, other_topic = ledger.claim(), ledger.claim(ctx={"topic": "surveys"})
    contact = ledger.read(other_brand)["contact_id"]
    db.execute("update mkt_core.consent_now set brand = 'other' where contact_id = %s", (contact,))
    send()
    assert ledger.state(other_brand) == ("cancelled", "no_consent")
    assert ledger.state(other_topic) == ("cancelled", "no_consent")


def test_transactional_needs_no_consent_and_knows_no_quiet_hours(
    send: Deliver, ledger: Any, frozen_clock: Any, db: Warehouse, mailbox: Any
) -> None:
    """A transactional step goes to an unsubscriber at night, without one-click headers."""
    frozen_clock.move(datetime(2026, 3, 3, 3, tzinfo=UTC))
    send_id = ledger.claim(ctx={"transactional": True})
    contact = ledger.read(send_id)["contact_id"]
    _consent(db, contact, "denied")
    _suppress(db, contact, "unsubscribed", "journey", ledger.now)
    send()
    assert ledger.state(send_id)[0] == "accepted"
    assert b"List-Unsubscribe" not in mailbox.store.get(1)[1]


@pytest.mark.parametrize("reason", ["hard_bounce", "complaint", "manual", "erased"])
def test_transactional_respects_other_suppressions(
    send: Deliver, ledger: Any, db: Warehouse, reason: str
) -> None:
    """A dead mailbox or a complaint stops transactional mail too, whatever the brand."""
    send_id = ledger.claim(ctx={"transactional": True})
    _suppress(db, ledger.read(send_id)["contact_id"], reason, None, ledger.now)
    send()
    assert ledger.state(send_id) == ("cancelled", reason)


def test_suppression_counts_for_its_brand_until_lifted(
    send: Deliver, ledger: Any, db: Warehouse
) -> None:
    """An unsubscribe of this brand cancels; one of another brand, or a lifted one, does not."""
    own, other, lifted = ledger.claim(), ledger.claim(), ledger.claim()
    _suppress(db, ledger.read(own)["contact_id"], "unsubscribed", "journey", ledger.now)
    _suppress(db, ledger.read(other)["contact_id"], "unsubscribed", "elsewhere", ledger.now)
    _suppress(db, ledger.read(lifted)["contact_id"], "unsubscribed", "journey", ledger.now)
    db.execute(
        "update mkt_engage.suppressions set lifted_at = since where contact_id = %s",
        (ledger.read(lifted)["contact_id"],),
    )
    send()
    assert ledger.state(own) == ("cancelled", "unsubscribed")
    assert ledger.state(other)[0] == "accepted"
    assert ledger.state(lifted)[0] == "accepted"


@pytest.mark.parametrize("is_missing", [True, False])
def test_sending_off_sends_nothing(
    send: Deliver, ledger: Any, mailbox: Any, db: Warehouse, is_missing: bool
) -> None:
    """Mode off, and no row at all, cancel what is due; the server sees nothing."""
    send_id = ledger.claim()
    if is_missing:
        db.execute("delete from mkt_ops.sending_modes")
    else:
        db.execute("update mkt_ops.sending_modes set mode = 'off'")
    send()
    assert ledger.state(send_id) == ("cancelled", "sending_off")
    assert mailbox.store.count() == 0


def test_allow_list_reaches_only_its_addresses(
    send: Deliver, ledger: Any, mailbox: Any, db: Warehouse
) -> None:
    """Addresses compare without case; everybody else is cancelled."""
    db.execute(
        "update mkt_ops.sending_modes set mode = 'allow_list', allow_list = '{me@example.com}'"
    )
    allowed = ledger.claim(ledger.person(email="Me@Example.com"))
    other = ledger.claim()
    send()
    assert ledger.state(allowed)[0] == "accepted"
    assert ledger.state(other) == ("cancelled", "not_allowed")
    assert [mail.rcpt for mail in mailbox.store.find()] == ["me@example.com"]


@pytest.mark.parametrize("scope", ["all", "journey"])
def test_stop_switch_holds_and_resume_lets_go(
    send: Deliver, ledger: Any, db: Warehouse, scope: str
) -> None:
    """Stopped: sends stay claimed, untouched. Resumed: they go. Both are in the audit log."""
    send_id = ledger.claim()
    switch.stop_sends(db, scope, "ann", "wrong prices")
    assert switch.is_stopped(db, "journey")
    assert send().accepted == 0
    row = ledger.read(send_id)
    assert (row["status"], row["due_at"]) == ("claimed", ledger.now - timedelta(minutes=1))
    switch.resume_sends(db, scope, "ann", "fixed")
    assert send().accepted == 1
    actions = db.execute("select action, subject from mkt_ops.audit_log order by audit_id")
    assert actions.fetchall() == [("stop_sends", scope), ("resume_sends", scope)]


def test_stop_switch_of_a_misspelt_brand_is_refused(ledger: Any, db: Warehouse) -> None:
    """A typing error must not look like a stop."""
    from marketing_ops.errors import FatalError

    with pytest.raises(FatalError, match="Did you mean `journey`"):
        switch.stop_sends(db, "jorney", "ann")


@pytest.mark.parametrize("how", ["all", "journey", "pause"])
def test_stop_and_pause_are_heard_between_chunks(
    ledger: Any,
    db: Warehouse,
    accounts: Any,
    mailbox: Any,
    warehouse_uri: str,
    monkeypatch: pytest.MonkeyPatch,
    how: str,
) -> None:
    """Thrown while the first chunk is sent, it lets that chunk finish and no other begin."""
    import psycopg

    ids = [ledger.claim(ledger.person(contact_id=64 * (n + 1))) for n in range(runner.CHUNK + 5)]
    received = mailbox._server._received

    def stop_then_take(*values: Any) -> None:
        if mailbox.store.count() == 3:
            with psycopg.connect(warehouse_uri, autocommit=True) as other:
                if how == "pause":
                    other.execute("update mkt_engage.campaigns set state = 'paused'")
                else:
                    switch.stop_sends(other, how, "ann")
        received(*values)

    monkeypatch.setattr(mailbox._server, "_received", stop_then_take)
    mailbox._server.stop()
    accounts.known[ACCOUNT] = type(accounts.known[ACCOUNT])(
        ACCOUNT, host="127.0.0.1", port=mailbox.start(0), extra={"timeout": 5}
    )
    assert deliver(db, ACCOUNT, resolve=accounts).accepted == runner.CHUNK
    states = [ledger.state(send_id) for send_id in ids]
    assert states.count(("claimed", None)) == 5


def test_slow_server_does_not_delay_the_stop_switch(
    send: Deliver, ledger: Any, mailbox: Any, monkeypatch: pytest.MonkeyPatch, db: Warehouse
) -> None:
    """What a chunk has not sent within its seconds goes back and through the gate again."""
    monkeypatch.setattr(runner, "CHUNK_SECONDS", 0.1)
    ids = [ledger.claim(ledger.person(contact_id=64 * (n + 1))) for n in range(3)]
    mailbox.set_fault({"kind": "slow", "seconds": 0.15, "times": 1})
    report = send()
    assert (report.accepted, report.released) == (3, 2)
    assert {ledger.read(send_id)["attempts"] for send_id in ids} == {1}


def test_paused_campaign_waits_and_stopped_one_is_cancelled(
    send: Deliver, ledger: Any, db: Warehouse
) -> None:
    """Paused leaves claimed as it is; stopped cancels."""
    send_id = ledger.claim()
    db.execute("update mkt_engage.campaigns set state = 'paused'")
    assert send().accepted == 0
    assert ledger.state(send_id) == ("claimed", None)
    db.execute("update mkt_engage.campaigns set state = 'stopped'")
    send()
    assert ledger.state(send_id) == ("cancelled", "campaign_stopped")


def test_people_who_are_gone_get_nothing(send: Deliver, ledger: Any, db: Warehouse) -> None:
    """A deleted contact, one that no longer exists, one without an address."""
    deleted = ledger.claim(ledger.person(is_deleted=True))
    missing = ledger.claim(990)
    mute = ledger.claim(ledger.person(email=None))
    send()
    assert ledger.state(deleted) == ("cancelled", "contact_deleted")
    assert ledger.state(missing) == ("cancelled", "contact_deleted")
    assert ledger.state(mute) == ("cancelled", "no_address")


def test_send_of_another_brand_is_cancelled(send: Deliver, ledger: Any) -> None:
    """A brand never speaks through another brand's account."""
    send_id = ledger.claim(brand="other")
    send()
    assert ledger.state(send_id) == ("cancelled", "wrong_brand")


def test_late_send_is_cancelled_and_the_limit_itself_is_not_late(
    send: Deliver, ledger: Any
) -> None:
    """Lateness counts from due_at; exactly at the limit it still goes."""
    due = ledger.now - timedelta(hours=6)
    late = ledger.claim(due_at=due - timedelta(seconds=1), ctx={"late_seconds": 21600})
    just = ledger.claim(due_at=due, ctx={"late_seconds": 21600})
    never = ledger.claim(due_at=due - timedelta(days=9), ctx={"late_seconds": None})
    send()
    assert ledger.state(late) == ("cancelled", "late")
    assert ledger.state(just)[0] == "accepted"
    assert ledger.state(never)[0] == "accepted"


@pytest.mark.parametrize(
    ("zone", "country", "at", "until"),
    [
        # 21:30 in Chicago: until 08:00 there, the next day.
        ("America/Chicago", "US", "2026-03-03T03:30Z", "2026-03-03T14:00Z"),
        # 07:59 in Belgrade: a minute more; 08:00 is allowed (below).
        ("Europe/Belgrade", "RS", "2026-03-03T06:59Z", "2026-03-03T07:00Z"),
        # No zone: the country's.
        (None, "JP", "2026-03-02T13:00Z", "2026-03-02T23:00Z"),
        # No zone either, but a region: Los Angeles, not New York.
        (None, "US-CA", "2026-03-03T06:00Z", "2026-03-03T16:00Z"),
        # A zone that does not exist, no country: the reporting zone, New York.
        ("Mars/Olympus", None, "2026-03-03T03:00Z", "2026-03-03T13:00Z"),
        # The night New York's clocks go forward: 08:00 there is an hour earlier in UTC.
        ("America/New_York", "US", "2026-03-08T03:00Z", "2026-03-08T12:00Z"),
        # The night Berlin's clocks go back: eleven hours become twelve.
        ("Europe/Berlin", "DE", "2026-10-24T20:00Z", "2026-10-25T07:00Z"),
    ],
)
def test_quiet_hours_move_due_at_to_the_local_morning(
    send: Deliver,
    ledger: Any,
    frozen_clock: Any,
    mailbox: Any,
    db: Warehouse,
    zone: str | None,
    country: str | None,
    at: str,
    until: str,
) -> None:
    """The end is a local time of day in the contact's zone; hours are never added."""
    now = datetime.fromisoformat(at)
    country, _, region = (country or "").partition("-")
    contact = ledger.person(time_zone=zone, country=country or None, region=region or None)
    send_id = ledger.claim(contact, due_at=now, claimed_at=now)
    frozen_clock.move(now)
    assert send().deferred == 1
    row = ledger.read(send_id)
    assert (row["status"], row["reason"]) == ("claimed", "quiet")
    assert row["due_at"] == datetime.fromisoformat(until)
    assert mailbox.store.count() == 0
    frozen_clock.move(row["due_at"])
    assert send().accepted == 1, "the first allowed minute"


def test_lateness_counts_from_the_moved_instant(
    send: Deliver, ledger: Any, frozen_clock: Any
) -> None:
    """Quiet hours longer than `late` do not kill a send."""
    now = datetime(2026, 3, 3, 3, tzinfo=UTC)
    send_id = ledger.claim(due_at=now, claimed_at=now, ctx={"late_seconds": 3600})
    frozen_clock.move(now)
    send()
    frozen_clock.move(datetime(2026, 3, 3, 13, 30, tzinfo=UTC))
    send()
    assert ledger.state(send_id)[0] == "accepted"


def test_give_up_bounds_deferrals(send: Deliver, ledger: Any, frozen_clock: Any) -> None:
    """A deferral that would end after `give_up` (3 days) since the first hold cancels instead."""
    now = datetime(2026, 3, 5, 3, tzinfo=UTC)
    held = now - timedelta(days=2, hours=20)
    given_up = ledger.claim(due_at=now, claimed_at=now, ctx={"hold_since": held.isoformat()})
    waiting = ledger.claim(due_at=now, claimed_at=now - timedelta(days=1))
    frozen_clock.move(now)
    send()
    assert ledger.state(given_up) == ("cancelled", "give_up")
    assert ledger.state(waiting) == ("claimed", "quiet")


def _sent(ledger: Any, contact: int, at: datetime, status: str = "accepted", **more: Any) -> int:
    return int(
        ledger.claim(contact, status=status, claimed_at=at, in_flight_at=at, due_at=at, **more)
    )


@pytest.mark.parametrize("status", ["accepted", "unknown", "in_flight"])
def test_cap_defers_until_one_falls_out_of_the_span(
    send: Deliver, ledger: Any, frozen_clock: Any, status: str
) -> None:
    """Three in seven days: the fourth waits until the oldest is exactly seven days old."""
    contact = ledger.person()
    for days in (5, 3, 6):
        _sent(ledger, contact, ledger.now - timedelta(days=days), status)
    fourth = ledger.claim(contact, ctx={"late_seconds": None})
    assert send().deferred == 1
    row = ledger.read(fourth)
    assert (row["status"], row["reason"]) == ("claimed", "cap")
    assert row["due_at"] == ledger.now + timedelta(days=1)
    frozen_clock.move(row["due_at"])
    assert send().accepted == 1


@pytest.mark.parametrize("status", ["rejected", "cancelled", "skipped"])
def test_what_never_left_does_not_count_towards_the_cap(
    send: Deliver, ledger: Any, status: str
) -> None:
    """Rejected, cancelled and skipped sends, other brands and channels leave the cap alone."""
    contact = ledger.person()
    yesterday = ledger.now - timedelta(days=1)
    for _ in range(3):
        _sent(ledger, contact, yesterday, status)
    for _ in range(3):
        _sent(ledger, contact, yesterday, brand="other")
        _sent(ledger, contact, yesterday, channel="sms")
    ledger.claim(contact)
    assert send().accepted == 1


def test_cap_is_exact_within_one_chunk(send: Deliver, ledger: Any) -> None:
    """Five due at once for one person: the three claimed first go, none blocks another."""
    contact = ledger.person()
    ids = [
        ledger.claim(contact, claimed_at=ledger.now - timedelta(minutes=9 - number))
        for number in range(5)
    ]
    send()
    states = [ledger.state(send_id) for send_id in ids]
    assert [state for state, _ in states] == ["accepted"] * 3 + ["cancelled"] * 2
    assert {reason for _, reason in states[3:]} == {"give_up"}, "seven days are more than three"


def test_cap_may_skip_instead(send: Deliver, ledger: Any) -> None:
    """`on_cap: skip` refuses at once."""
    contact = ledger.person()
    for _ in range(3):
        _sent(ledger, contact, ledger.now - timedelta(hours=100))
    send_id = ledger.claim(contact, ctx={"on_cap": "skip"})
    send()
    assert ledger.state(send_id) == ("cancelled", "cap")


def test_send_claimed_a_month_ago_is_given_up(send: Deliver, ledger: Any) -> None:
    """Nothing goes out a month after it was decided, even without a lateness limit."""
    old = ledger.now - timedelta(days=31)
    ensure_partitions(ledger.db, "mkt_engage.sends", old.date(), old.date())
    send_id = ledger.claim(
        claimed_at=old, due_at=old, entered_on=old.date(), ctx={"late_seconds": None}
    )
    send()
    assert ledger.state(send_id) == ("cancelled", "give_up")


def test_not_yet_due_is_not_taken(send: Deliver, ledger: Any) -> None:
    """The boundary: due now goes, due in a second waits."""
    now_due = ledger.claim(due_at=ledger.now)
    later = ledger.claim(due_at=ledger.now + timedelta(seconds=1))
    send()
    assert ledger.state(now_due)[0] == "accepted"
    assert ledger.state(later) == ("claimed", None)


def test_two_workers_send_each_mail_once(
    ledger: Any, accounts: Any, mailbox: Any, warehouse_uri: str
) -> None:
    """Two deliveries of one account at the same time: every send once, caps exact."""
    from concurrent.futures import ThreadPoolExecutor

    import psycopg

    contact = ledger.person()
    ids = [ledger.claim() for _ in range(40)]
    capped = [ledger.claim(contact) for _ in range(6)]

    def work(_: int) -> int:
        with psycopg.connect(warehouse_uri, autocommit=True, options="-c timezone=UTC") as own:
            return deliver(own, ACCOUNT, resolve=accounts).accepted

    with ThreadPoolExecutor(2) as pool:
        assert sum(pool.map(work, range(2))) == 43
    assert mailbox.store.count() == 43
    assert {ledger.state(send_id)[0] for send_id in ids} == {"accepted"}
    assert sum(ledger.state(send_id)[0] == "accepted" for send_id in capped) == 3


def test_content_of_the_entered_version_is_sent(
    send: Deliver, ledger: Any, mailbox: Any, db: Warehouse
) -> None:
    """A send keeps the version its enrolment entered with."""
    db.execute(
        "insert into mkt_engage.campaign_versions select campaign_id, 2, 'h2', definition, %s,"
        " created_at, created_by from mkt_engage.campaign_versions",
        (Jsonb({"templates": {"welcome": {"subject": "new", "html": "<p>x</p>", "text": "x"}}}),),
    )
    ledger.claim()
    ledger.claim(version=2)
    send()
    assert {mail.subject for mail in mailbox.store.find()} == {"new", "Welcome to Journey Market"}
