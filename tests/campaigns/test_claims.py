"""What is claimed, skipped and held: gates, quiet hours, caps."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from marketing_ops.campaigns import explain
from tests.campaigns.world import T0, World

HOUR = timedelta(hours=1)
DAY = timedelta(days=1)


def mail(world: World, name: str = "now", guards: str = "{}", more: str = "") -> None:
    """Start a campaign that mails at once when somebody subscribes."""
    world.campaign(
        name,
        f"""
        entry: {{event: subscribed, reentry: always}}
        guards: {guards}
        steps:
          - {{id: mail_{name}, send: {{via: smtp_journey, template: t_mail{more}}}}}
        """,
    )


@pytest.mark.parametrize(
    ("reason", "transactional"),
    [("unsubscribed", "claimed"), ("hard_bounce", "hard_bounce"), ("complaint", "complaint")],
)
def test_suppression_skips(world: World, reason: str, transactional: str) -> None:
    """A suppressed contact gets nothing; a receipt passes only an unsubscribe."""
    world.contact(1)
    mail(world)
    mail(world, "receipt", more=", transactional: true")
    world.suppress(1, reason, T0)
    world.event(1, "subscribed", T0 + HOUR)
    world.tick(T0 + HOUR)
    found = {row[1]: row[3] or row[2] for row in world.sends()}
    assert found == {"mail_now": reason, "mail_receipt": transactional}


def test_suppression_by_address_outlives_the_contact(world: World) -> None:
    """The hash of the lower-cased address suppresses whoever has it."""
    world.contact(1, email="P1@Example.com")
    mail(world)
    world.db.execute(
        "insert into mkt_engage.suppressions (address_hash, channel, reason, source, since)"
        " values (encode(sha256('p1@example.com'), 'hex'), 'email', 'complaint', 'test', %s)",
        (T0,),
    )
    world.event(1, "subscribed", T0 + HOUR)
    world.tick(T0 + HOUR)
    assert world.sends() == [(1, "mail_now", "skipped", "complaint")]


def test_no_consent_no_mail_and_withdrawal_between_two_sends(world: World) -> None:
    """Consent is read at the instant of each send; a receipt needs none."""
    world.contact(1, 2)
    world.contact(3, consent=None)
    world.contact(4, consent="pending")
    world.campaign(
        "two",
        """
        entry: {event: subscribed}
        steps:
          - {id: one, send: {via: smtp_journey, template: t_mail}}
          - {id: gap, wait: 1h}
          - {id: two, send: {via: smtp_journey, template: t_mail}}
          - {id: bill, send: {via: smtp_journey, template: t_mail, transactional: true}}
        """,
    )
    batch = world.batch()
    for number in (1, 2, 3, 4):
        world.event(number, "subscribed", T0 + HOUR, batch=batch)
    world.tick(T0 + HOUR)
    world.consent(2, "denied", T0 + HOUR)
    world.tick(T0 + 2 * HOUR)
    found = {(row[0], row[1]): row[3] for row in world.sends()}
    no = "no_consent"
    assert [found[(n, "one")] for n in (1, 2, 3, 4)] == [None, None, no, no]
    assert [found[(n, "two")] for n in (1, 2, 3, 4)] == [None, no, no, no]
    assert [found[(n, "bill")] for n in (1, 2, 3, 4)] == [None] * 4


def test_sending_modes(world: World) -> None:
    """Off and unknown accounts send nothing; an allow list lets its addresses through."""
    world.contact(1, 2)
    mail(world)
    world.db.execute("update mkt_ops.sending_modes set mode = 'off'")
    world.event(1, "subscribed", T0 + HOUR)
    world.tick(T0 + HOUR)
    world.db.execute(
        "update mkt_ops.sending_modes set mode = 'allow_list', allow_list = '{p2@example.com}'"
    )
    for number in (1, 2):
        world.event(number, "subscribed", T0 + 2 * HOUR)
    world.tick(T0 + 2 * HOUR)
    world.db.execute("delete from mkt_ops.sending_modes")
    world.event(2, "subscribed", T0 + 3 * HOUR)
    world.tick(T0 + 3 * HOUR)
    assert [row[2:] for row in world.sends("s.due_at", "s.contact_id", "s.status", "s.reason")] == [
        ("skipped", "sending_off"),
        ("skipped", "not_allowed"),
        ("claimed", None),
        ("skipped", "sending_off"),
    ]


def test_no_address_is_skipped_with_its_reason(world: World) -> None:
    """A contact without an address is not lost silently."""
    world.contact(1, email=None)
    mail(world)
    world.event(1, "subscribed", T0 + HOUR)
    world.tick(T0 + HOUR)
    assert world.sends() == [(1, "mail_now", "skipped", "no_address")]


@pytest.mark.parametrize("scope", ["all", "journey"])
def test_stop_switch_claims_nothing_until_resumed(world: World, scope: str) -> None:
    """Stopped: nobody is claimed or skipped; resumed: who is not too late goes on."""
    world.contact(1)
    mail(world)
    world.db.execute(
        "insert into mkt_ops.stop_switch (scope, is_stopped, actor, changed_at)"
        " values (%s, true, 'oncall', %s)",
        (scope, T0),
    )
    world.event(1, "subscribed", T0 + HOUR)
    world.live(T0 + 3 * HOUR)
    assert world.sends() == []
    world.db.execute("update mkt_ops.stop_switch set is_stopped = false")
    world.tick(T0 + 4 * HOUR)
    assert world.sends() == [(1, "mail_now", "claimed", None)]


def test_late_counts_from_the_due_instant_and_is_exact(world: World) -> None:
    """Exactly `late` overdue still goes; a second more is skipped and logged."""
    world.contact(1, 2)
    mail(world, guards="{late: 2h}")
    world.event(1, "subscribed", T0 + HOUR)
    world.event(2, "subscribed", T0 + HOUR - timedelta(seconds=1))
    world.tick(T0 + 3 * HOUR)
    assert {row[0]: row[2:] for row in world.sends()} == {
        1: ("claimed", None),
        2: ("skipped", "late"),
    }


QUIET = '{quiet: {from: "21:00", to: "08:00", timezone: contact}, give_up: 3d}'


def test_quiet_hours_move_the_send_to_the_morning_where_they_live(world: World) -> None:
    """Held until 08:00 local, `late` counts from there; an unknown zone falls back."""
    world.settings(QUIET)
    world.contact(1, time_zone="Europe/Belgrade")
    world.contact(2, time_zone="Mars/Olympus", country="JP")
    world.contact(3, time_zone="Mars/Olympus")
    world.contact(4, country="US", region="CA")
    mail(world, guards="{late: 1h}")
    evening = datetime(2026, 3, 2, 22, 30, tzinfo=UTC)
    batch = world.batch()
    for number in (1, 2, 3, 4):
        world.event(number, "subscribed", evening, batch=batch)
    world.live(evening + DAY, timedelta(minutes=30))
    assert dict(world.sends("s.contact_id", "s.claimed_at")) == {
        1: datetime(2026, 3, 3, 7, tzinfo=UTC),  # 23:30 in Belgrade -> 08:00 CET
        2: datetime(2026, 3, 2, 23, tzinfo=UTC),  # 07:30 in Tokyo -> 08:00 JST
        3: datetime(2026, 3, 3, 8, tzinfo=UTC),  # no zone at all: the reporting zone
        4: evening,  # afternoon in California
    }
    assert [row[1] for row in world.sends("s.contact_id", "s.status")] == ["claimed"] * 4
    assert any("night" in line for line in explain.contact(world.db, 1))


@pytest.mark.parametrize(
    ("event_at", "quiet", "sent_at"),
    [
        # New York loses 02:00-03:00 on 8 March 2026: 02:30 does not exist, 03:30 does
        ("2026-03-08T06:30Z", ("21:00", "02:30"), "2026-03-08T07:30Z"),
        # and the night to 08:00 EDT is an hour shorter
        ("2026-03-08T04:00Z", ("21:00", "08:00"), "2026-03-08T12:00Z"),
        # 1 November 2026 has 01:30 twice: the second one ends it
        ("2026-11-01T05:10Z", ("21:00", "01:30"), "2026-11-01T06:30Z"),
        ("2026-11-01T04:00Z", ("21:00", "08:00"), "2026-11-01T13:00Z"),
    ],
)
def test_quiet_hours_over_clock_changes(
    world: World, event_at: str, quiet: tuple[str, str], sent_at: str
) -> None:
    """The morning is a local time: gaps and doubled hours never lose or wake anybody."""
    world.settings(f'{{quiet: {{from: "{quiet[0]}", to: "{quiet[1]}", timezone: contact}}}}')
    start = datetime.fromisoformat(event_at)
    world.contact(1, time_zone="America/New_York")
    world.set_clock(start - HOUR)
    mail(world)
    world.event(1, "subscribed", start)
    world.set_clock(start)
    world.tick(start)
    world.live(start + timedelta(hours=14), timedelta(minutes=10))
    assert world.sends("s.claimed_at") == [(datetime.fromisoformat(sent_at),)]


def test_give_up_ends_a_hold(world: World) -> None:
    """What would be held longer than the policy's patience is skipped, with that reason."""
    world.settings('{quiet: {from: "11:00", to: "20:00", timezone: reporting}, give_up: 2h}')
    world.contact(1)
    mail(world)
    world.event(1, "subscribed", T0 + HOUR)
    world.tick(T0 + HOUR)
    assert world.sends() == [(1, "mail_now", "skipped", "give_up")]


CAP = "{cap: {sends: 1, per: 7d}, give_up: 14d}"


def test_cap_lets_the_more_important_campaign_go_first(world: World) -> None:
    """One place: the higher priority takes it, the other skips or waits for the place."""
    world.settings(CAP)
    world.contact(1)
    mail(world, "low", "{priority: 10, on_cap: defer, late: 1h}")
    mail(world, "never", "{priority: 10, on_cap: skip}")
    mail(world, "high", "{priority: 80}")
    world.event(1, "subscribed", T0 + HOUR)
    world.tick(T0 + HOUR)
    assert [row[1:] for row in world.sends()] == [
        ("mail_high", "claimed", None),
        ("mail_never", "skipped", "cap"),
    ]
    world.live(T0 + 8 * DAY)
    rows = world.sends("t.step", "s.claimed_at")
    assert rows[-1] == ("mail_low", T0 + HOUR + 7 * DAY)
    assert any("cap" in line for line in explain.contact(world.db, 1))


def test_cap_counts_claimed_to_unknown_but_not_what_did_not_go(world: World) -> None:
    """A rejected or cancelled send frees its place."""
    world.settings("{cap: {sends: 1, per: 7d}, give_up: 1h}")
    world.contact(1, 2, 3)
    mail(world)
    for hour, status in ((1, "rejected"), (2, "cancelled"), (3, "unknown"), (4, None)):
        world.event(1, "subscribed", T0 + hour * HOUR)
        world.tick(T0 + hour * HOUR)
        if status:
            world.db.execute(
                "update mkt_engage.sends set status = %s where status = 'claimed'", (status,)
            )
    assert [row[2] for row in world.sends()] == ["rejected", "cancelled", "unknown", "skipped"]


def test_cap_ends_exactly_when_the_window_does(world: World) -> None:
    """At claimed + 7 d there is room again, a microsecond earlier there is none."""
    world.settings("{cap: {sends: 1, per: 7d}, give_up: 1h}")
    world.contact(1, 2)
    mail(world)
    batch = world.batch()
    for number in (1, 2):
        world.event(number, "subscribed", T0 + HOUR, batch=batch)
    world.tick(T0 + HOUR)
    early = T0 + HOUR + 7 * DAY - timedelta(microseconds=1)
    world.event(1, "subscribed", early)
    world.settings("{cap: {sends: 1, per: 7d}, give_up: 0s}")
    world.tick(early)
    world.event(2, "subscribed", T0 + HOUR + 7 * DAY)
    world.tick(T0 + HOUR + 7 * DAY)
    assert [row[::3] for row in world.sends()][2:] == [(1, "give_up"), (2, None)]


def test_transactional_passes_cap_and_quiet_but_counts(world: World) -> None:
    """A receipt is never held, and takes a place."""
    world.settings('{cap: {sends: 1, per: 7d}, quiet: {from: "12:00", to: "16:00"}, give_up: 1d}')
    world.contact(1)
    mail(world, "bill", more=", transactional: true")
    mail(world, "news", "{on_cap: skip}")
    world.event(1, "subscribed", T0 + HOUR)
    world.live(T0 + 6 * HOUR)
    rows = world.sends("t.step", "s.status", "s.reason", "s.claimed_at")
    assert rows == [
        ("mail_bill", "claimed", None, T0 + HOUR),
        ("mail_news", "skipped", "cap", None),
    ]


def test_stale_facts_hold_the_send(world: World) -> None:
    """`fresh`: while orders are old the send waits; once they came it goes."""
    (world.include / "sources" / "shop.yaml").write_text(
        "source: shop\nsystem: shopify\nconnection: shop\nbrand: journey\n"
        "streams: {orders: hourly, customers: hourly}\n"
    )
    world.contact(1)
    mail(world, guards="{fresh: 2h, late: 1h}")
    world.event(1, "subscribed", T0 + HOUR)
    world.live(T0 + 3 * HOUR, timedelta(minutes=10))
    assert world.sends() == []
    for stream in ("orders", "customers"):
        world.db.execute(
            "insert into mkt_ops.sync_runs (account, system, stream, kind, is_baseline, status,"
            " started_at, unified_batch) values ('shop', 'shopify', %s, 'incremental', false,"
            " 'success', %s, 1)",
            (stream, T0 + 3 * HOUR),
        )
    world.live(T0 + 3 * HOUR + timedelta(minutes=10), timedelta(minutes=10))
    assert world.sends() == [(1, "mail_now", "claimed", None)]
