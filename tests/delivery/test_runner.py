from __future__ import annotations

import email
import email.policy
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from psycopg.types.json import Jsonb

from marketing_ops.connections import Connection
from marketing_ops.delivery import ledger as ledger_module
from marketing_ops.delivery import runner
from marketing_ops.delivery.runner import DeliveryReport, deliver
from marketing_ops.delivery.unknowns import list_unknown, render, settle
from marketing_ops.errors import FatalError, RetryableError
from marketing_ops.warehouse import Warehouse

ACCOUNT = "smtp_journey"
Deliver = Callable[..., DeliveryReport]


@pytest.fixture
def send(db: Warehouse, accounts: Any) -> Deliver:
    def call(**options: Any) -> DeliveryReport:
        return deliver(db, ACCOUNT, resolve=accounts, **options)

    return call


def test_due_send_is_accepted_once(send: Deliver, ledger: Any, mailbox: Any) -> None:
    """A due send goes out, is booked, and a second run sends nothing."""
    send_id = ledger.claim()
    assert send().accepted == 1
    assert send().accepted == 0
    row = ledger.read(send_id)
    assert (row["status"], row["attempts"]) == ("accepted", 1)
    assert row["provider_id"] == f"{send_id}@journey.example.com"
    assert row["content_hash"] and row["called_at"] and row["outcome_at"] == ledger.now
    assert mailbox.store.count() == 1


def test_mail_carries_its_headers(send: Deliver, ledger: Any, mailbox: Any) -> None:
    """Message-ID, one-click headers, our send id and the clock's date stand in the mail."""
    send_id = ledger.claim(ledger.person(first_name="Zoë", city="Graz"))
    send()
    stored = mailbox.store.find()[0]
    message = email.message_from_bytes(mailbox.store.get(stored.id)[1], policy=email.policy.default)
    assert message["Message-ID"] == f"<{send_id}@journey.example.com>"
    assert message["X-Marketing-Ops-Send"] == str(send_id)
    assert message["X-Marketing-Ops-Campaign"] == "rescue/mail"
    assert message["Date"].datetime == ledger.now
    assert message["List-Unsubscribe-Post"] == "List-Unsubscribe=One-Click"
    assert message["List-Unsubscribe"].startswith("<http://127.0.0.1:8090/u/")
    assert message["From"] == "Journey Market <hello@journey.example.com>"
    html = message.get_body(("html",)).get_content()
    text = message.get_body(("plain",)).get_content()
    assert "Welcome, Zoë" in html and "in Graz" in text
    assert "/c/" in html and "/o/" in html and "https://journey.example.com/start" in text
    assert 'href="https://journey.example.com' not in html


def test_refused_recipient_is_rejected_and_suppressed(
    send: Deliver, ledger: Any, mailbox: Any, db: Warehouse
) -> None:
    """550 5.1.1 is final: rejected, a hard bounce for every brand, and the next send is refused."""
    contact = ledger.person()
    first = ledger.claim(contact)
    mailbox.set_fault({"kind": "refuse_recipient", "times": 1})
    assert send().rejected == 1
    assert ledger.state(first) == ("rejected", "550 5.1.1")
    row = db.execute("select contact_id, brand, reason from mkt_engage.suppressions").fetchone()
    assert row == (contact, None, "hard_bounce")
    second = ledger.claim(contact)
    assert send().cancelled == 1
    assert ledger.state(second) == ("cancelled", "hard_bounce")


def test_bounced_address_is_suppressed_for_another_contact(
    send: Deliver, ledger: Any, mailbox: Any
) -> None:
    """The address itself is suppressed, whoever has it later."""
    ledger.claim(ledger.person(email="Gone@Example.com"))
    mailbox.set_fault({"kind": "refuse_recipient", "times": 1})
    send()
    later = ledger.claim(ledger.person(email="gone@example.com"))
    send()
    assert ledger.state(later) == ("cancelled", "hard_bounce")


def test_greylisted_recipient_is_tried_later_and_not_too_often(
    send: Deliver, ledger: Any, mailbox: Any, frozen_clock: Any
) -> None:
    """451 leaves it claimed for some minutes; the sixth refusal is the last; due_at never moves."""
    send_id = ledger.claim(ctx={"late_seconds": None})
    mailbox.set_fault({"kind": "greylist"})
    assert send().retried == 1
    assert ledger.state(send_id) == ("claimed", "temporary: 451 4.7.1")
    assert send().retried == 0, "not before its time"
    for _ in range(ledger_module.MAX_ATTEMPTS - 2):
        frozen_clock.move(frozen_clock.instant + timedelta(hours=4))
        ledger.db.execute("update mkt_engage.sends set lease_until = %s", (frozen_clock.instant,))
        frozen_clock.move(ledger.now)
        ledger.db.execute("update mkt_engage.sends set lease_until = %s", (ledger.now,))
        assert send().retried == 1
    ledger.db.execute("update mkt_engage.sends set lease_until = %s", (ledger.now,))
    assert send().rejected == 1
    assert ledger.read(send_id)["due_at"] == ledger.now - timedelta(minutes=1)
    assert mailbox.store.count() == 0


def test_lost_connection_before_data_is_tried_later(
    send: Deliver, ledger: Any, mailbox: Any
) -> None:
    """The server has nothing yet: claimed again, and another recipient still gets their mail."""
    first = ledger.claim(ledger.person(email="drop@example.com"))
    second = ledger.claim()
    mailbox.set_fault({"kind": "drop_before_data", "times": 1, "match": "drop@"})
    report = send()
    assert (report.retried, report.accepted) == (1, 1)
    assert ledger.state(first)[0] == "claimed"
    assert ledger.state(second)[0] == "accepted"


def test_lost_connection_after_data_is_unknown_and_never_repeated(
    send: Deliver, ledger: Any, mailbox: Any, frozen_clock: Any, db: Warehouse
) -> None:
    """The server may have it: unknown, listed, and no second copy however long we wait."""
    send_id = ledger.claim()
    mailbox.set_fault({"kind": "drop_after_data", "times": 1})
    report = send()
    assert report.unknown_send_ids == [send_id]
    frozen_clock.move(ledger.now + timedelta(days=1))
    assert send().accepted == 0
    assert mailbox.store.count() == 1
    listed = list_unknown(db)
    assert [(found.send_id, found.campaign) for found in listed] == [(send_id, "rescue")]
    assert str(send_id) in render(listed)


def test_unknown_is_settled_by_hand_and_audited(
    send: Deliver, ledger: Any, mailbox: Any, db: Warehouse
) -> None:
    """What the server's log proves is recorded with its author; only once."""
    send_id = ledger.claim()
    mailbox.set_fault({"kind": "drop_after_data", "times": 1})
    send()
    settle(db, send_id, "accepted", "ann")
    assert ledger.state(send_id) == ("accepted", "settled by hand")
    assert db.execute("select actor, subject from mkt_ops.audit_log").fetchone() == (
        "ann",
        str(send_id),
    )
    with pytest.raises(FatalError, match="is not unknown"):
        settle(db, send_id, "rejected", "ann")


def test_unreachable_server_leaves_everything_claimed(
    send: Deliver, ledger: Any, accounts: Any
) -> None:
    """Nothing was called, so nothing is in doubt: a retryable error, rows as they were."""
    accounts.known[ACCOUNT] = Connection(ACCOUNT, host="127.0.0.1", port=1)
    ids = [ledger.claim() for _ in range(3)]
    with pytest.raises(RetryableError, match="cannot be reached"):
        send()
    for send_id in ids:
        row = ledger.read(send_id)
        assert (row["status"], row["attempts"], row["called_at"]) == ("claimed", 0, None)


def test_refused_login_is_fatal_and_sends_nothing(
    send: Deliver, ledger: Any, accounts: Any, mailbox: Any
) -> None:
    """A wrong password: one clear sentence without it, rows claimed."""
    port = mailbox.state()["smtp_port"]
    accounts.known[ACCOUNT] = Connection(
        ACCOUNT, host="127.0.0.1", port=port, login="sandbox", password="wrong-secret"
    )
    send_id = ledger.claim()
    with pytest.raises(FatalError, match="refuses the log-in") as caught:
        send()
    assert "wrong-secret" not in str(caught.value)
    assert ledger.state(send_id)[0] == "claimed"
    assert mailbox.store.count() == 0


def test_login_is_used(send: Deliver, ledger: Any, accounts: Any, mailbox: Any) -> None:
    """The right password sends."""
    port = mailbox.state()["smtp_port"]
    accounts.known[ACCOUNT] = Connection(
        ACCOUNT, host="127.0.0.1", port=port, login="sandbox", password="sandbox"
    )
    ledger.claim()
    assert send().accepted == 1


def test_missing_connection_is_fatal_and_loses_nothing(
    send: Deliver, ledger: Any, accounts: Any
) -> None:
    """The sentence names the connection; rows stay claimed."""
    del accounts.known[ACCOUNT]
    send_id = ledger.claim()
    with pytest.raises(FatalError, match="`smtp_journey` is not defined"):
        send()
    assert ledger.state(send_id)[0] == "claimed"


def test_missing_template_fails_the_task_but_not_the_others(
    send: Deliver, ledger: Any, mailbox: Any
) -> None:
    """Its sends wait, the other campaign's go out, and the task says which template is missing."""
    missing = ledger.claim(ctx={"template": "nowhere"})
    fine = ledger.claim()
    with pytest.raises(FatalError, match="has no template `nowhere`"):
        send()
    assert ledger.state(missing) == ("claimed", "content")
    assert ledger.state(fine)[0] == "accepted"
    assert mailbox.store.count() == 1


def test_value_a_template_lacks_cancels_that_send(
    send: Deliver, ledger: Any, mailbox: Any, db: Warehouse
) -> None:
    """A template without its value writes to nobody and fails the task by name; others go out."""
    strict = {"subject": "s", "html": "{{ entry.renewal }}", "text": "t"}
    db.execute(
        "update mkt_engage.campaign_versions"
        " set content = jsonb_set(content, '{templates,strict}', %s)",
        (Jsonb(strict),),
    )
    lacking = ledger.claim(ctx={"template": "strict"})
    complete = ledger.claim(ctx={"template": "strict", "entry": {"renewal": "x"}})
    with pytest.raises(FatalError, match=r"`strict`, html.*renewal"):
        send()
    assert ledger.state(lacking) == ("cancelled", "content")
    assert ledger.state(complete)[0] == "accepted"
    assert mailbox.store.count() == 1


def test_impossible_address_is_cancelled(send: Deliver, ledger: Any, mailbox: Any) -> None:
    """An address that could smuggle a header or a second recipient is never put on the wire."""
    send_id = ledger.claim(ledger.person(email="a@example.com>\r\nRCPT TO:<b@example.com"))
    send()
    assert ledger.state(send_id) == ("cancelled", "bad_address")
    assert mailbox.store.count() == 0


def test_many_refusals_in_a_row_stop_the_account(send: Deliver, ledger: Any, mailbox: Any) -> None:
    """A server that refuses everybody is a broken account: the rest stays claimed."""
    ids = [ledger.claim() for _ in range(runner.MAX_REFUSALS_IN_A_ROW + 3)]
    mailbox.set_fault({"kind": "refuse_recipient"})
    with pytest.raises(FatalError, match="refused 25 recipients in a row"):
        send()
    statuses = [ledger.state(send_id)[0] for send_id in ids]
    assert statuses.count("rejected") == runner.MAX_REFUSALS_IN_A_ROW
    assert statuses.count("claimed") == 3


def test_budget_ends_the_run_and_gives_back_the_rest(
    send: Deliver, ledger: Any, mailbox: Any
) -> None:
    """After the budget no mail is begun; what was taken is claimed again, nothing is in doubt."""
    ids = [ledger.claim() for _ in range(6)]
    mailbox.set_fault({"kind": "slow", "seconds": 0.2})
    report = send(budget_seconds=0.3)
    assert report.is_out_of_time and 1 <= report.accepted <= 3
    states = [ledger.state(send_id)[0] for send_id in ids]
    assert states.count("accepted") == report.accepted
    assert states.count("claimed") == 6 - report.accepted
    assert {ledger.read(send_id)["attempts"] for send_id in ids} == {0, 1}


def test_dead_worker_leaves_only_the_begun_call_in_doubt(
    send: Deliver, ledger: Any, mailbox: Any, frozen_clock: Any
) -> None:
    """Leases that ran out: begun calls become unknown, taken but uncalled sends go out."""
    now = ledger.now
    lease = {"status": "in_flight", "attempts": 1, "in_flight_at": now}
    old = {"lease_until": now + timedelta(minutes=15)}
    begun = ledger.claim(**lease, **old, called_at=now)
    uncalled = ledger.claim(**lease, **old)
    assert send().unknown == 0, "the lease still holds"
    frozen_clock.move(now + timedelta(minutes=16))
    report = send()
    assert (report.unknown, report.retaken, report.accepted) == (1, 1, 1)
    assert ledger.state(begun) == ("unknown", "worker died")
    assert ledger.state(uncalled)[0] == "accepted"
    assert mailbox.store.count() == 1


def test_after_a_crash_of_postgres_every_taken_send_is_in_doubt(
    send: Deliver, ledger: Any, mailbox: Any, frozen_clock: Any
) -> None:
    """The mark of a call may be lost with Postgres: nothing is retaken then."""
    taken = {"status": "in_flight", "attempts": 1, "in_flight_at": ledger.now}
    lost = ledger.claim(**taken, lease_until=ledger.now + timedelta(minutes=15))
    ledger.db.execute("truncate mkt_ops.crash_witness")  # what crash recovery does
    ledger.claim()
    assert send().accepted == 1, "from here on a witness of the same instant stands"
    frozen_clock.move(ledger.now + timedelta(minutes=16))
    assert send().unknown == 1
    assert ledger.state(lost) == ("unknown", "worker died")


def test_witness_is_emptied_by_a_crash(ledger: Any) -> None:
    """Only an unlogged table may be the witness."""
    query = "select relpersistence from pg_class where oid = 'mkt_ops.crash_witness'::regclass"
    assert ledger.db.execute(query).fetchone() == ("u",)


def test_late_outcome_of_a_worker_taken_for_dead_is_kept(
    ledger: Any, db: Warehouse, accounts: Any
) -> None:
    """Unknown climbs to accepted when the worker answers after all; accepted never falls back."""
    send_id = ledger.claim(status="unknown", attempts=1, in_flight_at=ledger.now)
    row = ledger.read(send_id)
    params = {"send_id": send_id, "entered_on": row["entered_on"]}
    from marketing_ops import sqlfile

    base: dict[str, Any] = dict.fromkeys(("reason", "not_before", "content_hash", "address_hash"))
    base |= dict.fromkeys(("next_send_id", "next_entered_on", "next_attempts"))
    base |= params | {"is_hard_bounce": False, "account": "a"}
    base["now"] = ledger.now
    for status, expected in (
        ("accepted", "accepted"),
        ("unknown", "accepted"),
        ("claimed", "accepted"),
    ):
        sqlfile.execute(db, "engage/deliver_settle", base | {"status": status})
        assert ledger.state(send_id)[0] == expected


def test_other_systems_cannot_deliver(db: Warehouse, ledger: Any, accounts: Any) -> None:
    """A shop account is refused with its name."""
    with pytest.raises(FatalError, match="`shop_journey` is a shopify account"):
        deliver(db, "shop_journey", resolve=accounts)
