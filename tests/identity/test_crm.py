"""Three systems, one person each: deals, stages, lists, merges at the vendor, e-mail activity."""

from __future__ import annotations

from typing import Any

import pytest

from marketing_ops.identity.accounts import Account
from marketing_ops.identity.runner import unify
from marketing_ops.settings import settings
from marketing_ops.warehouse import Warehouse
from tests.identity.story import (
    ACCOUNT,
    Shop,
    Vendor,
    contact_of,
    hours,
    make_system,
    natural,
    rows,
    same_person,
    snapshot,
)


@pytest.fixture
def crm(db: Warehouse, frozen_clock: Any, monkeypatch: pytest.MonkeyPatch) -> Vendor:
    """A CRM beside the shop, of the same brand."""
    known = {
        ACCOUNT: Account("shopify", "journey"),
        "crm_journey": Account("crm", "journey"),
        "mail_journey": Account("mail", "journey"),
    }
    monkeypatch.setattr("marketing_ops.identity.runner.accounts", lambda: known)
    make_system(db, "crm")
    return Vendor(db, "crm", "crm_journey")


@pytest.fixture
def mail(crm: Vendor, db: Warehouse) -> Vendor:
    """An e-mail vendor beside the CRM, of the same brand."""
    make_system(db, "mail")
    return Vendor(db, "mail", "mail_journey")


def events(db: Warehouse, like: str = "%") -> list[tuple[Any, ...]]:
    """Type, key and hour of every event whose type is like that, in order."""
    return [
        (kind, key, (at - hours(0)).total_seconds() / 3600)
        for kind, key, at in rows(
            db,
            "select event_type, key, occurred_at from mkt_core.events where event_type like %s"
            " order by occurred_at, event_type, key",
            like,
        )
    ]


def won_deal(crm: Vendor) -> None:
    """A contact's deal that went from new over talks to won."""
    crm.stages("new", "talks", "won", "lost")
    crm.contact("a")
    crm.deal("1", "a", stage_id="won", owner_id="7", company_id="9")
    for stage, hour in (("new", 0), ("talks", 5), ("won", 9)):
        crm.entry("1", stage, hour)


def test_golden_rows_of_a_won_deal(crm: Vendor, db: Warehouse) -> None:
    """A won deal with its history gives one deal, three entries and these events."""
    won_deal(crm)
    crm.put("companies", "9", name="Nine Ltd", employees=12, is_deleted=False)
    crm.put("owners", "7", email="seller@example.com", is_deleted=False)
    done = crm.unify()
    assert rows(
        db,
        "select d.external_id, d.status, d.decided_at, d.amount, c.name, o.is_active, s.name"
        " from mkt_core.deals d"
        " join mkt_core.companies c on c.account = d.account and c.external_id = d.company_id"
        " join mkt_core.owners o on o.account = d.account and o.external_id = d.owner_id"
        " join mkt_core.pipeline_stages s on s.account = d.account and s.external_id = d.stage_id",
    ) == [("1", "won", hours(9), 1000, "Nine Ltd", True, "Won")]
    assert rows(
        db,
        "select stage_id, from_stage_id, contact_id, company_id from mkt_core.deal_stage_events"
        " order by entered_at",
    ) == [("new", None, 1, "9"), ("talks", "new", 1, "9"), ("won", "talks", 1, "9")]
    assert events(db) == [
        ("deal_created", "1", 0),
        ("deal_stage_changed", "talks", 5),
        ("deal_stage_changed", "won", 9),
        ("deal_won", "1", 9),
    ]
    assert rows(db, "select amount, reporting_amount, properties from mkt_core.events"
                " where event_type = 'deal_stage_changed' and key = 'won'") == [
        (
            1000,
            1000,
            {
                "brand": "journey",
                "deal": "1",
                "from": "talks",
                "to": "won",
                "pipeline": "sales",
                "owner": "7",
                "company": "9",
            },
        )
    ]  # fmt: skip
    assert (done.events, done.changes["deals"], done.changes["stages"]) == (4, 1, 4)
    assert rows(db, "select count(*) from mkt_ops.dirty_days where kpi_group = 'deals'") == [(1,)]


def test_everything_twice_is_everything_once(crm: Vendor, mail: Vendor, db: Warehouse) -> None:
    """Taking every run over again changes no row, writes no event and dirties no day."""
    won_deal(crm)
    crm.contact("b")
    crm.put("merges", "old", into_external_id="b")
    crm.put("lists", "l1", name="Newsletter", size=1, is_deleted=False)
    crm.put("list_members", "l1/a", list_id="l1", contact_id="a", is_deleted=False)
    mail.contact("m", email="a@example.com")
    mail.consent("m", "granted", 0)
    mail.email_event("1", "email_sent", 1, contact_id="m")
    mail.email_event("2", "unsubscribed", 2, contact_id="m")
    mail.email_event("3", "complained", 3, email="stranger@example.com")
    crm.sync()
    mail.unify()
    before = snapshot(db)
    db.execute("delete from mkt_ops.dirty_days; update mkt_ops.sync_runs set unified_batch = null")
    done = unify(db, report=lambda line: None)
    after = snapshot(db)
    assert (done.events, done.contacts, done.merges) == (0, 0, 0)
    del before["mkt_ops.batches"], after["mkt_ops.batches"], before["mkt_ops.dirty_days"]
    assert after.pop("mkt_ops.dirty_days") == []
    assert after == before


def test_a_deal_before_its_contact_belongs_to_it(crm: Vendor, db: Warehouse) -> None:
    """A deal, list entry or consent makes its person by id; the late record fills it."""
    crm.deal("1", "a")
    crm.put("list_members", "l1/a", list_id="l1", contact_id="a", is_deleted=False)
    crm.consent("a", "granted", 1)
    crm.unify()
    assert rows(db, "select email, is_deleted from mkt_core.contacts") == [(None, False)]
    crm.contact("a")
    crm.unify()
    assert rows(
        db,
        "select c.email, d.external_id, l.list_id, n.status from mkt_core.contacts c"
        " join mkt_core.deals d using (contact_id) join mkt_core.list_members l using (contact_id)"
        " join mkt_core.consent_now n using (contact_id)",
    ) == [("a@example.com", "1", "l1", "granted")]
    assert [kind for kind, _, _ in events(db)] == ["deal_created", "subscribed", "list_joined"]


def test_a_deal_moved_back_is_open_again(crm: Vendor, db: Warehouse) -> None:
    """Moved back from won, its win goes; lost later, it has a loss with its reason."""
    won_deal(crm)
    crm.unify()
    crm.deal("1", "a", stage_id="talks", updated_at=hours(12))
    crm.entry("1", "talks", 12)
    crm.unify()
    assert rows(db, "select status, decided_at from mkt_core.deals") == [("open", None)]
    assert events(db, "deal_won") == []
    assert events(db, "deal_stage%")[-1] == ("deal_stage_changed", "talks", 12)
    crm.deal("1", "a", stage_id="lost", lost_reason="price", updated_at=hours(14))
    crm.entry("1", "lost", 14)
    crm.unify()
    assert events(db, "deal_%")[-2:] == [("deal_lost", "1", 14), ("deal_stage_changed", "lost", 14)]
    assert rows(
        db, "select properties->>'reason' from mkt_core.events where event_type = 'deal_lost'"
    ) == [("price",)]


def test_a_deleted_deal_has_no_events_until_it_is_restored(crm: Vendor, db: Warehouse) -> None:
    """Deleted: the row stays as a tombstone without events; restored: the same events again."""
    won_deal(crm)
    crm.unify()
    before = rows(db, "select event_id, occurred_at from mkt_core.events order by 1")
    crm.deal("1", "a", stage_id="won", is_deleted=True)
    done = crm.unify()
    assert (events(db), done.changes["removed_events"]) == ([], 4)
    assert rows(db, "select is_deleted from mkt_core.deals") == [(True,)]
    crm.deal("1", "a", stage_id="won")
    crm.unify()
    assert rows(db, "select event_id, occurred_at from mkt_core.events order by 1") == before


def test_a_corrected_history_corrects_its_events(crm: Vendor, db: Warehouse) -> None:
    """An entry that vanished or moved takes its event along, though the deal did not change."""
    won_deal(crm)
    crm.unify()
    crm.entry("1", "talks", 5, is_deleted=True)
    crm.put("deal_stages", "1-9", entered_at=hours(10), deal_id="1", stage_id="won")
    crm.unify()
    assert events(db, "deal_%") == [
        ("deal_created", "1", 0),
        ("deal_stage_changed", "won", 10),
        ("deal_won", "1", 10),
    ]
    assert rows(db, "select properties->>'from' from mkt_core.events where key = 'won'") == [
        ("new",)
    ]
    assert rows(db, "select count(*) from mkt_core.deal_stage_events") == [(2,)]


def test_stages_after_their_deals_decide_them(crm: Vendor, db: Warehouse) -> None:
    """A deal is open until its stage is known to win; then it was won when it entered it."""
    crm.contact("a")
    crm.deal("1", "a", stage_id="won")
    crm.entry("1", "won", 9)
    crm.unify()
    assert rows(db, "select status from mkt_core.deals") == [("open",)]
    crm.stages("new", "won")
    crm.unify()
    assert events(db, "deal_won") == [("deal_won", "1", 9)]


def test_a_deal_follows_its_primary_contact(crm: Vendor, db: Warehouse) -> None:
    """Another primary contact gets the deal and its events; without one it has none."""
    won_deal(crm)
    crm.contact("b")
    crm.unify()
    crm.deal("1", "b", "a", stage_id="won")
    crm.unify()
    people = "select distinct contact_id from mkt_core.events where event_type like 'deal%'"
    assert rows(db, people) == [(contact_of(db, "b"),)]
    crm.deal("1", stage_id="won")
    crm.unify()
    assert rows(db, people) == []
    assert rows(db, "select contact_id, status from mkt_core.deals") == [(None, "won")]


def test_a_merge_at_the_vendor_joins_for_good(crm: Vendor, db: Warehouse) -> None:
    """Records merged into a new id are one contact with all their facts, whatever the bound."""
    many = [f"p{number}" for number in range(settings().identity.max_people_per_key + 3)]
    for key in many:
        crm.contact(key)
        crm.deal(f"deal-{key}", key)
        crm.put("list_members", f"l1/{key}", list_id="l1", contact_id=key, is_deleted=False)
    crm.unify()
    for key in many:
        crm.contact(key, is_deleted=True, updated_at=hours(3))
        crm.put("merges", key, into_external_id="new")
    crm.contact("new", updated_at=hours(3))
    done = crm.unify()
    assert same_person(db, "new", *many)
    assert done.merges == len(many)
    for table in ("deals", "list_members", "events"):
        assert rows(db, f"select count(distinct contact_id) from mkt_core.{table}") == [(1,)], table
    assert rows(db, "select distinct matched_on from mkt_core.contact_merges") == [
        ("merge at the vendor",)
    ]
    assert rows(db, "select email, is_deleted from mkt_core.contacts") == [
        ("new@example.com", False)
    ]
    crm.contact("new", updated_at=hours(4), is_deleted=True)
    crm.unify()
    assert rows(db, "select is_deleted from mkt_core.contacts") == [(True,)]


def test_a_record_merged_before_we_saw_it_is_known_by_its_id(crm: Vendor, db: Warehouse) -> None:
    """A late fact that names the old id belongs to the record it was merged into."""
    crm.contact("new")
    crm.put("merges", "old", into_external_id="new")
    crm.unify()
    crm.email_event("1", "email_opened", 2, contact_id="old")
    crm.unify()
    assert same_person(db, "new", "old")
    assert rows(db, "select contact_id from mkt_core.events") == [(contact_of(db, "new"),)]
    assert rows(db, "select count(*), bool_or(is_deleted) from mkt_core.contacts") == [(1, False)]


def test_merges_in_any_order_end_equal(crm: Vendor, db: Warehouse) -> None:
    """A chain of merges, told together or one by one, is one person with the last record's name."""
    crm.contact("a", is_deleted=True)
    crm.contact("b", is_deleted=True)
    crm.put("merges", "a", into_external_id="c")
    crm.put("merges", "b", into_external_id="c")
    crm.contact("c", is_deleted=True)
    crm.deal("1", "a")
    crm.unify()
    crm.put("merges", "c", into_external_id="d")
    crm.contact("d")
    crm.unify()
    parts = natural(db)
    assert same_person(db, "a", "b", "c", "d")
    db.execute(
        "delete from mkt_core.contacts; delete from mkt_core.contact_identities;"
        " delete from mkt_core.contact_merges; delete from mkt_core.identity_keys;"
        " delete from mkt_core.deals; delete from mkt_core.events;"
        " update mkt_ops.sync_runs set unified_batch = null"
    )
    unify(db, report=lambda line: None)
    assert natural(db) == parts


def test_one_address_in_three_systems_is_one_contact(
    shop: Shop, crm: Vendor, mail: Vendor, db: Warehouse
) -> None:
    """The sources' order decides its fields; it is deleted only when all of them say so."""
    shop.customer(1, email="x@example.com")
    crm.contact("2", email="x@example.com", first_name="Crm", city="Novi Sad")
    mail.contact("3", email="x@example.com", first_name="Mail", language="sr")
    shop.sync()
    crm.sync()
    mail.unify()
    assert same_person(db, "1", "2", "3")
    assert rows(db, "select first_name, city, language from mkt_core.contacts") == [
        ("First1", "Novi Sad", "sr")
    ]
    shop.customer(1, email="x@example.com", is_deleted=True)
    mail.contact("3", email="x@example.com", is_deleted=True)
    shop.sync()
    mail.unify()
    assert rows(db, "select first_name, is_deleted from mkt_core.contacts") == [("Crm", False)]
    crm.contact("2", email="x@example.com", is_deleted=True)
    crm.unify()
    assert rows(db, "select is_deleted from mkt_core.contacts") == [(True,)]


def test_a_refusal_in_one_system_outweighs_a_grant_in_another(
    crm: Vendor, mail: Vendor, db: Warehouse
) -> None:
    """The strictest of the identities holds, until a later grant; each keeps its source."""
    crm.contact("2", email="x@example.com")
    mail.contact("3", email="x@example.com")
    crm.consent("2", "granted", 5)
    mail.consent("3", "denied", 1)
    crm.sync()
    mail.unify()
    assert rows(db, "select status from mkt_core.consent_now") == [("denied",)]
    assert rows(db, "select source, status from mkt_core.consents order by 1") == [
        ("crm_journey", "granted"),
        ("mail_journey", "denied"),
    ]
    crm.consent("2", "denied", 6)
    crm.unify()
    crm.consent("2", "granted", 7)
    crm.unify()
    assert rows(db, "select status from mkt_core.consent_now") == [("granted",)]


def test_a_changed_address_keeps_the_person(mail: Vendor, db: Warehouse) -> None:
    """The identity stays, and what still names the old address is theirs too."""
    mail.contact("3", email="old@example.com")
    mail.unify()
    mail.contact("3", email="new@example.com", updated_at=hours(2))
    mail.email_event("1", "email_sent", 1, email="old@example.com")
    mail.unify()
    assert rows(db, "select email from mkt_core.contacts") == [("new@example.com",)]
    assert rows(db, "select contact_id from mkt_core.events") == [(contact_of(db, "3"),)]


def test_email_activity_is_written_once_and_corrected(mail: Vendor, db: Warehouse) -> None:
    """Each action is one event; a corrected instant moves it, a deleted one takes it away."""
    mail.contact("3")
    for number, kind in enumerate(("sent", "delivered", "opened", "clicked", "bounced"), start=1):
        mail.email_event(str(number), f"email_{kind}", number, contact_id="3")
    mail.unify()
    mail.email_event("3", "email_opened", 3.5, contact_id="3", is_machine=True)
    mail.email_event("5", "email_bounced", 5, contact_id="3", is_deleted=True)
    mail.unify()
    assert events(db, "email%") == [
        ("email_sent", "spring", 1),
        ("email_delivered", "spring", 2),
        ("email_opened", "spring", 3.5),
        ("email_clicked", "spring", 4),
    ]
    assert rows(
        db,
        "select is_machine, source, send_id, properties from mkt_core.events"
        " where event_type = 'email_opened'",
    ) == [
        (
            True,
            "mail_journey",
            None,
            {"brand": "journey", "channel": "email", "campaign": "spring"},
        )
    ]


def test_an_address_alone_is_the_accounts_own_record(
    crm: Vendor, mail: Vendor, db: Warehouse
) -> None:
    """A report that names an address belongs to that account's record; else to a person of it."""
    crm.contact("1", email="x@example.com", is_email_verified=False)
    mail.contact("2", email="x@example.com")
    crm.email_event("1", "email_sent", 1, email="x@example.com")
    crm.email_event("2", "email_sent", 2, email="y@example.com")
    crm.sync()
    mail.unify()
    crm.email_event("3", "email_opened", 3, email="x@example.com")
    crm.unify()
    assert rows(
        db,
        "select i.system, i.external_id from mkt_core.events e"
        " join mkt_core.contact_identities i using (profile_id) order by occurred_at",
    ) == [("crm", "1"), ("email", "y@example.com"), ("crm", "1")]


@pytest.mark.parametrize("named", [{"contact_id": "3"}, {"email": "3@example.com"}])
@pytest.mark.parametrize("is_consent_first", [True, False])
def test_an_unsubscription_is_one_refusal(
    mail: Vendor, db: Warehouse, is_consent_first: bool, named: dict[str, str]
) -> None:
    """The vendor tells it as consent and as activity, in either order: one refusal, one event."""
    mail.contact("3")
    mail.consent("3", "granted", 0)
    mail.unify()
    for is_consent in (is_consent_first, not is_consent_first):
        if is_consent:
            mail.consent("3", "denied", 2.01)
        else:
            mail.email_event("9", "unsubscribed", 2, **named)
        mail.unify()
    assert rows(db, "select status, count(*) from mkt_core.consents group by 1 order by 1") == [
        ("denied", 1),
        ("granted", 1),
    ]
    assert rows(db, "select status from mkt_core.consent_now") == [("denied",)]
    assert [kind for kind, _, _ in events(db)] == ["subscribed", "unsubscribed"]


def test_an_old_unsubscription_does_not_undo_a_newer_grant(mail: Vendor, db: Warehouse) -> None:
    """Activity read late is history: who subscribed again since then stays subscribed."""
    mail.contact("3")
    mail.consent("3", "granted", 5)
    mail.unify()
    mail.email_event("9", "unsubscribed", 2, contact_id="3")
    mail.unify()
    assert rows(db, "select status from mkt_core.consent_now") == [("granted",)]
    assert events(db, "unsub%") == []


def test_a_complaint_suppresses_for_every_brand(mail: Vendor, db: Warehouse) -> None:
    """A complaint at the vendor stops every mail; lifted by somebody, it does not come back."""
    mail.contact("3")
    mail.email_event("9", "complained", 2, contact_id="3")
    mail.unify()
    query = "select brand, channel, reason, source, since, lifted_at from mkt_engage.suppressions"
    held = (None, "email", "complaint", "mail_journey", hours(2))
    assert rows(db, query) == [(*held, None)]
    db.execute("update mkt_engage.suppressions set lifted_at = %s", (hours(9),))
    mail.email_event("9", "complained", 2, contact_id="3", url="https://example.com")
    mail.unify()
    assert rows(db, query) == [(*held, hours(9))]


def test_list_stays(crm: Vendor, db: Warehouse, frozen_clock: Any) -> None:
    """Joined as the vendor dates it; left when we learn it, by tombstone or by absence."""
    crm.contact("a")
    crm.put("lists", "l1", name="News", kind="static", size=2, is_deleted=False)
    member = {"contact_id": "a", "is_deleted": False}
    crm.put("list_members", "l1/a", list_id="l1", added_at=hours(1), **member)
    crm.put("list_members", "l2/a", list_id="l2", added_at=hours(2), **member)
    crm.unify()
    crm.put(
        "list_members", "l1/a", list_id="l1", added_at=hours(1), contact_id="a", is_deleted=True
    )
    crm.gone("list_members", "l2/a")
    frozen_clock.move(hours(30))
    crm.unify()
    joined = [("list_joined", "l1", 1), ("list_joined", "l2", 2)]
    assert events(db, "list%") == [*joined, ("list_left", "l1", 30), ("list_left", "l2", 30)]
    crm.put("list_members", "l1/a", list_id="l1", added_at=hours(1), **member)
    crm.put("list_members", "l2/a", list_id="l2", added_at=hours(31), **member)
    frozen_clock.move(hours(32))
    crm.unify()
    assert events(db, "list%") == [*joined, ("list_left", "l2", 30), ("list_joined", "l2", 31)]
    assert rows(db, "select external_id, left_at, is_deleted from mkt_core.list_members") == [
        ("l1/a", None, False),
        ("l2/a", None, False),
    ]


def test_no_address_outside_its_columns(crm: Vendor, db: Warehouse) -> None:
    """Nothing that unify writes of deals, lists and activity holds an address or a name."""
    won_deal(crm)
    crm.put("list_members", "l1/a", list_id="l1", contact_id="a", is_deleted=False)
    crm.email_event("1", "email_sent", 1, email="a@example.com")
    crm.email_event("2", "complained", 1, email="a@example.com")
    crm.unify()
    for table in ("core.deals", "core.deal_stage_events", "core.list_members", "core.events",
                  "core.waiting_facts", "engage.suppressions"):  # fmt: skip
        found = rows(db, f"select count(*) from mkt_{table} as t where t::text ~* 'example|first'")
        assert found == [(0,)], table


def test_an_entity_that_no_system_has_is_empty(shop: Shop, db: Warehouse) -> None:
    """Every union exists after migrating, also where no vendor has such a record."""
    shop.unify()
    for entity in ("companies", "owners", "stages", "deals", "deal_stages", "lists", "merges"):
        assert rows(db, f'select count(*) from mkt_staging."{entity}"') == [(0,)], entity
