"""Consent is written when it turns, read strictly, and never forgotten."""

from __future__ import annotations

from datetime import datetime
from typing import Any

import pytest

from marketing_ops.warehouse import Warehouse
from tests.identity.story import Ledger, Shop, hours, rows

LOG = "select status, changed_at, source from mkt_core.consents order by changed_at, status"
EVENTS = "select event_type, occurred_at from mkt_core.events order by occurred_at, event_type"


def say(shop: Shop, state: str, at: datetime | None, **fields: Any) -> None:
    """The shop's word on customer 1, taken over at once."""
    shop.customer(1, email_marketing_state=state, email_consent_updated_at=at, **fields)
    shop.unify()


def unsubscribe(shop: Shop, ledger: Ledger, at: datetime) -> None:
    """A one-click unsubscription of contact 1, taken over at once."""
    ledger.act("unsubscribed", ledger.send(ledger.enrol(1), 1), at=at)
    shop.unify()


def now(db: Warehouse) -> list[tuple[Any, ...]]:
    """Current consent: status and since when."""
    return rows(db, "select status, changed_at from mkt_core.consent_now")


@pytest.mark.parametrize(
    ("state", "status", "event"),
    [
        ("SUBSCRIBED", "granted", "subscribed"),
        ("PENDING", "pending", None),
        ("UNSUBSCRIBED", "denied", "unsubscribed"),
        ("INVALID", "denied", "unsubscribed"),
        ("REDACTED", "denied", "unsubscribed"),
        ("NOT_SUBSCRIBED", None, None),
        (None, None, None),
    ],
)
def test_each_state_of_the_shop(
    shop: Shop, db: Warehouse, state: Any, status: str | None, event: str | None
) -> None:
    """What a first observation gives: a row, an event, or (no word at all) neither."""
    say(shop, state, hours(1))
    assert now(db) == ([(status, hours(1))] if status else [])
    assert rows(db, EVENTS) == ([(event, hours(1))] if event else [])


def test_a_row_only_when_the_source_says_something_else(shop: Shop, db: Warehouse) -> None:
    """The same word again, newer, writes nothing; another word does."""
    say(shop, "SUBSCRIBED", hours(1))
    say(shop, "SUBSCRIBED", hours(2), first_name="Renamed")
    say(shop, "UNSUBSCRIBED", hours(3))
    assert rows(db, LOG) == [
        ("granted", hours(1), shop.account),
        ("denied", hours(3), shop.account),
    ]
    assert rows(db, EVENTS) == [("subscribed", hours(1)), ("unsubscribed", hours(3))]


def test_silence_after_a_grant_denies_it(shop: Shop, db: Warehouse) -> None:
    """NOT_SUBSCRIBED takes back what was granted, and is nothing after a refusal."""
    say(shop, "SUBSCRIBED", hours(1))
    say(shop, "NOT_SUBSCRIBED", None, updated_at=hours(4))
    say(shop, "NOT_SUBSCRIBED", None, updated_at=hours(5))
    assert now(db) == [("denied", hours(4))]
    assert len(rows(db, LOG)) == 2


def test_a_newer_word_is_never_dated_before_the_older(shop: Shop, db: Warehouse) -> None:
    """A shop that forgets to move its timestamp still changes its mind, after the first word."""
    say(shop, "SUBSCRIBED", hours(5))
    say(shop, "UNSUBSCRIBED", hours(5))
    assert [row[0] for row in now(db)] == ["denied"]
    assert [row[0] for row in rows(db, LOG)] == ["granted", "denied"]


def test_at_one_instant_the_refusal_wins(shop: Shop, db: Warehouse, ledger: Ledger) -> None:
    """Two sources, one instant: denied, and a grant at that instant turns nothing."""
    say(shop, "PENDING", hours(1))
    unsubscribe(shop, ledger, hours(2))
    say(shop, "SUBSCRIBED", hours(2))
    assert now(db) == [("denied", hours(2))]
    assert rows(db, EVENTS) == [("email_sent", hours(1)), ("unsubscribed", hours(2))]


def test_a_later_dated_grant_ends_our_own_unsubscription(
    shop: Shop, db: Warehouse, ledger: Ledger
) -> None:
    """The shop still says SUBSCRIBED after a one-click refusal: only its own later date counts."""
    say(shop, "SUBSCRIBED", hours(1))
    unsubscribe(shop, ledger, hours(2))
    say(shop, "SUBSCRIBED", hours(1), updated_at=hours(8))
    say(shop, "SUBSCRIBED", None, updated_at=hours(9))
    assert now(db) == [("denied", hours(2))]
    say(shop, "SUBSCRIBED", hours(10))
    assert now(db) == [("granted", hours(10))]
    assert rows(db, EVENTS)[-1] == ("subscribed", hours(10))


def test_a_grant_ends_another_identitys_refusal_only_after_the_merge(
    shop: Shop, db: Warehouse, ledger: Ledger
) -> None:
    """Whoever grants as the person they are known to be is heard; a merge alone grants nothing."""
    phone = "+381641234567"
    say(shop, "UNSUBSCRIBED", hours(1), phone=phone)
    shop.customer(2, email_consent_updated_at=hours(2), phone=phone)
    shop.unify()
    assert now(db) == [("denied", hours(1))]
    shop.customer(2, email_consent_updated_at=hours(3), phone=phone)
    shop.unify()
    assert now(db) == [("granted", hours(3))]


def test_subscribing_again_lifts_an_unsubscription_and_no_complaint(
    shop: Shop, db: Warehouse
) -> None:
    """A later grant ends `unsubscribed` of that brand; a complaint stays for good."""
    say(shop, "UNSUBSCRIBED", hours(1))
    for reason, brand in (
        ("unsubscribed", "journey"),
        ("unsubscribed", "other"),
        ("complaint", None),
    ):
        db.execute(
            "insert into mkt_engage.suppressions"
            " (contact_id, brand, channel, reason, source, since)"
            " values (1, %s, 'email', %s, 'test', %s)",
            (brand, reason, hours(1)),
        )
    say(shop, "SUBSCRIBED", hours(9))
    assert rows(
        db,
        "select brand, reason from mkt_engage.suppressions where lifted_at is null order by 2, 1",
    ) == [(None, "complaint"), ("other", "unsubscribed")]


def test_a_baseline_brings_its_events_in_the_baseline_batch(shop: Shop, db: Warehouse) -> None:
    """Subscriptions of an initial load are events too, but in a batch that enrols nobody."""
    shop.customer(1)
    shop.unify(is_baseline=True)
    assert rows(
        db,
        "select e.event_type, b.is_baseline from mkt_core.events e join mkt_ops.batches b"
        " using (batch)",
    ) == [("subscribed", True)]
