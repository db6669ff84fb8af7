"""Who is one person: keys, bounds, merges with everything that follows them, and their undoing."""

from __future__ import annotations

from datetime import date

import psycopg
import pytest

from marketing_ops import warehouse
from marketing_ops.campaigns.runner import lock_name
from marketing_ops.errors import FatalError, RetryableError
from marketing_ops.identity.merges import undo
from marketing_ops.settings import settings
from marketing_ops.warehouse import Warehouse
from tests.identity.story import Ledger, Shop, contact_of, hours, rows, same_person, snapshot

PHONE = "+381641234567"


def merges(db: Warehouse) -> list[tuple[object, ...]]:
    """Open merges: from, into, matched_on."""
    return rows(
        db,
        "select from_contact_id, into_contact_id, matched_on from mkt_core.contact_merges"
        " where undone_batch is null order by 1",
    )


def test_a_guest_order_joins_the_customer_of_its_address(shop: Shop, db: Warehouse) -> None:
    """A guest's address, however written, is the customer's: one contact with both orders."""
    shop.order(1, None, email=" C1@Example.com ")
    shop.unify()
    assert rows(db, "select system, account, external_id from mkt_core.contact_identities") == [
        ("email", "", "c1@example.com")
    ]
    shop.customer(1)
    shop.order(2, 1)
    done = shop.unify()
    assert done.merges == 1
    assert same_person(db, "c1@example.com", 1)
    assert rows(db, "select count(*), count(distinct contact_id) from mkt_core.orders") == [(2, 1)]
    assert rows(db, "select distinct contact_id from mkt_core.events") == [(1,)]
    assert merges(db) == [(2, 1, "email")]


def test_phones_join_only_in_the_international_form(shop: Shop, db: Warehouse) -> None:
    """Two writings of one E.164 number are one key; a national number is no key at all."""
    shop.customer(1, phone=PHONE)
    shop.customer(2, phone="+381 (64) 123-45.67")
    shop.customer(3, phone="064 123 4567")
    shop.customer(4, phone="064 123 4567")
    shop.unify()
    assert same_person(db, 1, 2)
    assert len({contact_of(db, number) for number in (1, 3, 4)}) == 3
    assert merges(db) == [(2, 1, "phone")]
    assert rows(db, "select count(*) from mkt_core.contacts where phone is null") == [(2,)]


def test_chains_of_keys_are_one_person(shop: Shop, db: Warehouse) -> None:
    """A shares an address with B, B a phone with C: all three are A, the smallest profile."""
    shop.customer(1, email="a@example.com")
    shop.customer(2, email="a@example.com", phone=PHONE)
    shop.customer(3, phone=PHONE)
    shop.unify()
    assert same_person(db, 1, 2, 3)
    assert contact_of(db, 3) == 1
    assert merges(db) == [(2, 1, "email+phone"), (3, 1, "phone")]
    assert rows(db, "select count(*) from mkt_core.contacts") == [(1,)]


@pytest.mark.parametrize("one_by_one", [True, False])
def test_a_key_of_too_many_people_joins_nobody(shop: Shop, db: Warehouse, one_by_one: bool) -> None:
    """Five share a phone and are one; the sixth makes it a switchboard: all six are apart."""
    for number in range(1, 7):
        if number == 6:
            shop.unify()
            assert same_person(db, 1, 2, 3, 4, 5)
        shop.customer(number, phone=PHONE)
        shop.order(number, number)
        if one_by_one:
            shop.unify()
    shop.unify()
    assert len({contact_of(db, number) for number in range(1, 7)}) == 6
    assert merges(db) == []
    assert rows(
        db,
        "select count(*) from mkt_core.orders o join mkt_core.contact_identities i"
        " using (profile_id) where o.contact_id = i.profile_id",
    ) == [(6,)]
    assert rows(db, "select count(*) from mkt_core.contacts") == [(6,)]


def test_a_large_shared_key_costs_nothing_extra(shop: Shop, db: Warehouse) -> None:
    """A hundred people with one till address in one batch: nobody merges, each is a contact."""
    for number in range(100):
        shop.customer(number, email="till@example.com")
    assert shop.unify().merges == 0
    assert rows(db, "select count(*) from mkt_core.contacts") == [(100,)]


def test_a_merge_survives_a_changed_address(shop: Shop, db: Warehouse) -> None:
    """A key seen once stays one: moving to another address does not part what was one person."""
    shop.order(1, None, email="old@example.com")
    shop.customer(1, email="old@example.com")
    shop.unify()
    shop.customer(1, email="new@example.com")
    shop.unify()
    assert same_person(db, "old@example.com", 1)
    assert rows(db, "select email from mkt_core.contacts") == [("new@example.com",)]


def test_facts_keep_their_profile_and_move_their_contact(shop: Shop, db: Warehouse) -> None:
    """Events, orders, carts, consents follow; profile_id and batch stay; their days are dirty."""
    shop.customer(1)
    shop.customer(2)
    shop.order(30, 2)
    shop.cart(31, 2)
    shop.unify()
    rows(db, "delete from mkt_ops.dirty_days returning 1")
    profile = contact_of(db, 2)
    shop.customer(1, phone=PHONE)
    shop.customer(2, phone=PHONE)
    shop.unify()
    for table in ("events", "orders", "carts", "consents"):
        found = rows(
            db,
            f"select distinct contact_id, batch from mkt_core.{table} where profile_id = %s",
            profile,
        )
        assert found == [(1, 1)], table
    found = {row[0] for row in rows(db, "select distinct kpi_group from mkt_ops.dirty_days")}
    assert {"orders", "carts", "consents"} <= found


def test_the_strictest_consent_and_every_suppression_hold(shop: Shop, db: Warehouse) -> None:
    """Of two people made one a refusal stays a refusal, though the grant is newer."""
    granted = {"email_consent_updated_at": hours(50)}
    denied = {"email_marketing_state": "UNSUBSCRIBED", "email_consent_updated_at": hours(10)}
    shop.customer(1, **granted)
    shop.customer(2, **denied)
    shop.unify()
    for contact, reason in ((1, "complaint"), (2, "complaint"), (2, "manual")):
        db.execute(
            "insert into mkt_engage.suppressions (contact_id, channel, reason, source, since)"
            " values (%s, 'email', %s, 'test', %s)",
            (contact, reason, hours(contact)),
        )
    shop.customer(1, phone=PHONE, **granted)
    shop.customer(2, phone=PHONE, **denied)
    shop.unify()
    assert rows(db, "select contact_id, status from mkt_core.consent_now") == [(1, "denied")]
    assert rows(
        db, "select contact_id, reason, since from mkt_engage.suppressions order by reason"
    ) == [(1, "complaint", hours(1)), (1, "manual", hours(2))]


def test_of_two_open_stays_the_older_goes_on(shop: Shop, db: Warehouse) -> None:
    """Memberships follow; a segment both were in keeps one open stay, nothing is closed."""
    shop.customer(1)
    shop.customer(2)
    shop.unify()
    stays = [
        ("both", 1, 5, None),
        ("both", 2, 3, None),
        ("second", 2, 4, None),
        ("past", 1, 1, 2),
        ("past", 2, 1, 3),
    ]
    for segment, contact, entered, left in stays:
        db.execute(
            "insert into mkt_engage.segment_memberships values (%s, %s, %s, %s, 'h', false)",
            (segment, contact, hours(entered), None if left is None else hours(left)),
        )
    shop.customer(1, phone=PHONE)
    shop.customer(2, phone=PHONE)
    shop.unify()
    assert rows(
        db,
        "select segment, contact_id, entered_at, left_at from mkt_engage.segment_memberships"
        " order by segment",
    ) == [
        ("both", 1, hours(3), None),
        ("past", 1, hours(1), hours(2)),
        ("second", 1, hours(4), None),
    ]


def test_of_two_equal_enrolments_the_younger_exits_merged(
    shop: Shop, db: Warehouse, ledger: Ledger
) -> None:
    """Both were on their way for one birthday: one goes on; a claimed send of the other is not
    sent, what was sent counts for the one person, and shards follow the contact.
    """
    shop.customer(1)
    shop.customer(2)
    shop.unify()
    younger = ledger.enrol(1, entered_at=hours(5))
    older = ledger.enrol(2, entered_at=hours(1))
    other = ledger.enrol(2, entry_ref="birthday:2025")
    claimed = ledger.send(younger, 1, status="claimed", outcome_at=None)
    sent = ledger.send(older, 2)
    shop.customer(1, phone=PHONE)
    shop.customer(2, phone=PHONE)
    shop.unify()
    assert rows(
        db,
        "select enrolment_id, contact_id, shard, profile_id, status, exit_reason"
        " from mkt_engage.enrolments order by 1",
    ) == [
        (younger, 1, 1, 1, "exited", "merged"),
        (older, 1, 1, 2, "active", None),
        (other, 1, 1, 2, "active", None),
    ]
    assert rows(
        db, "select send_id, contact_id, shard, status from mkt_engage.sends order by 1"
    ) == [(claimed, 1, 1, "cancelled"), (sent, 1, 1, "accepted")]
    assert rows(db, "select enrolment_id, reason from mkt_engage.enrolment_log") == [
        (younger, "merged")
    ]


def test_a_merge_waits_for_the_tick_at_work(shop: Shop, db: Warehouse, warehouse_uri: str) -> None:
    """While a tick holds a shard of one of the two nothing merges; afterwards it does, once."""
    shop.customer(1, phone=PHONE)
    shop.unify()
    shop.customer(2, phone=PHONE)
    shop.sync()
    db.execute("set lock_timeout = '200ms'")
    with psycopg.connect(warehouse_uri) as tick:
        for group in range(settings().limits.shards):
            warehouse.lock(tick, *lock_name(group, settings().limits.shards))
        with pytest.raises(RetryableError):
            shop.unify()
        assert rows(db, "select count(*) from mkt_core.contact_identities") == [(1,)]
    assert shop.unify().merges == 1


def test_undo_parts_the_two_and_they_stay_apart(shop: Shop, db: Warehouse, ledger: Ledger) -> None:
    """Facts return to their person, in a baseline batch; the same keys never join them again."""
    shop.customer(1, phone=PHONE)
    shop.customer(2, phone=PHONE)
    shop.order(1, 1)
    shop.order(2, 2)
    shop.unify()
    ledger.enrol(1, 2, entry_ref="x", shard=1)
    db.execute(
        "insert into mkt_engage.suppressions (contact_id, channel, reason, source, since)"
        " values (1, 'email', 'complaint', 'test', %s)",
        (hours(1),),
    )
    (merge,) = rows(db, "select merge_id from mkt_core.contact_merges")
    rows(db, "delete from mkt_ops.dirty_days returning 1")
    batch = undo(db, merge[0], "tester")
    assert rows(db, "select profile_id, contact_id from mkt_core.orders order by 1") == [
        (1, 1),
        (2, 2),
    ]
    assert rows(db, "select contact_id, lifecycle from mkt_core.contacts order by 1") == [
        (1, "customer"),
        (2, "customer"),
    ]
    assert rows(db, "select contact_id, shard from mkt_engage.enrolments") == [(2, 2)]
    assert rows(db, "select contact_id from mkt_core.consent_now order by 1") == [(1,), (2,)]
    assert rows(db, "select contact_id from mkt_engage.suppressions order by 1") == [(1,), (2,)]
    assert rows(db, "select is_baseline from mkt_ops.batches where batch = %s", batch) == [(True,)]
    assert rows(db, "select actor, action, subject from mkt_ops.audit_log") == [
        ("tester", "undo_merge", str(merge[0]))
    ]
    assert ("orders", date(2026, 3, 1)) in rows(
        db, "select kpi_group, date from mkt_ops.dirty_days"
    )
    shop.customer(1, phone=PHONE, first_name="Again")
    shop.customer(2, phone=PHONE, first_name="Again")
    shop.customer(3, phone=PHONE)
    shop.unify()
    assert same_person(db, 1, 3)
    assert not same_person(db, 1, 2)


def test_undo_of_a_group_keeps_the_group(shop: Shop, db: Warehouse) -> None:
    """Two who were one before they joined a third leave together."""
    shop.customer(1)
    shop.customer(2, phone=PHONE)
    shop.customer(3, phone=PHONE)
    shop.unify()
    shop.customer(3, phone=PHONE, email="c1@example.com")
    shop.unify()
    assert same_person(db, 1, 2, 3)
    found = rows(db, "select merge_id from mkt_core.contact_merges where into_contact_id = 1")
    undo(db, found[0][0], "tester")
    assert same_person(db, 2, 3)
    assert contact_of(db, 1) == 1
    assert merges(db) == [(3, 2, "phone")]


def test_undo_through_a_common_acquaintance(shop: Shop, db: Warehouse) -> None:
    """A third identity that joined later and shares a key with each does not hold them together."""
    shop.customer(1, email="a@example.com")
    shop.customer(2, email="a@example.com", phone=PHONE)
    shop.unify()
    shop.customer(3, email="a@example.com", phone=PHONE)
    shop.unify()
    undo(db, 1, "tester")
    assert not same_person(db, 1, 2)
    assert same_person(db, 1, 3)


def test_undo_of_nothing_says_so(shop: Shop, db: Warehouse) -> None:
    """An unknown merge, and one undone before, are refused; nothing changes."""
    with pytest.raises(FatalError, match="there is no merge 7"):
        undo(db, 7, "tester")
    shop.customer(1, phone=PHONE)
    shop.customer(2, phone=PHONE)
    shop.unify()
    undo(db, 1, "tester")
    before = snapshot(db)
    with pytest.raises(FatalError, match="undone already, in batch 2"):
        undo(db, 1, "tester")
    assert snapshot(db) == before


def test_a_merge_and_its_undoing_leave_everything_as_it_was(shop: Shop, db: Warehouse) -> None:
    """Facts, contacts and consents after merge and undo equal those before."""
    for number in (1, 2):
        shop.customer(number, tags=[f"kids:{number}"])
        shop.order(number, number)
        shop.cart(number + 5, number)
    shop.unify()
    before = snapshot(db)
    shop.customer(1, phone=PHONE, tags=["kids:1"])
    shop.customer(2, phone=PHONE, tags=["kids:2"])
    shop.unify()
    undo(db, 1, "tester")
    shop.customer(1, phone=None, tags=["kids:1"])
    shop.customer(2, phone=None, tags=["kids:2"])
    shop.unify()
    after = snapshot(db)
    for table in ("contacts", "consent_now", "consents", "orders", "carts", "events"):
        assert after[f"mkt_core.{table}"] == before[f"mkt_core.{table}"], table
