"""Who enters and who does not: news only, once each, as often as the file says."""

from __future__ import annotations

from datetime import timedelta

import pytest

from marketing_ops.campaigns import control
from marketing_ops.errors import FatalError
from tests.campaigns.world import T0, World

HOUR = timedelta(hours=1)
DAY = timedelta(days=1)


def mail(entry: str, more: str = "") -> str:
    """A campaign of one mail with this entry."""
    return f"""
        entry: {entry}
        {more}
        steps:
          - {{id: mail, send: {{via: smtp_journey, template: t_mail}}}}
        """


def refs(world: World) -> list[tuple[object, ...]]:
    """(contact, entry_ref) of every enrolment."""
    return [row[:2] for row in world.enrolments()]


@pytest.mark.parametrize(
    ("batch_is_baseline", "age"), [(True, timedelta(0)), (False, timedelta(hours=-3))]
)
def test_history_enrols_nobody(world: World, batch_is_baseline: bool, age: timedelta) -> None:
    """A baseline batch, and an event from before the start, are no news."""
    world.contact(1)
    world.campaign("now", mail("{event: subscribed}"))
    world.event(1, "subscribed", T0 + HOUR + age, is_baseline=batch_is_baseline)
    world.live(T0 + 3 * HOUR)
    assert refs(world) == []


def test_what_was_known_before_the_start_enrols_nobody(world: World) -> None:
    """Even an event dated after the start, when its batch came before it."""
    world.contact(1)
    world.event(1, "subscribed", T0 + HOUR)
    world.campaign("now", mail("{event: subscribed}"))
    world.live(T0 + 3 * HOUR)
    assert refs(world) == []


def test_an_event_dated_ahead_enters_when_its_instant_comes(world: World) -> None:
    """A source whose clock is ahead of ours loses nobody."""
    world.contact(1)
    world.campaign("now", mail("{event: subscribed}"))
    world.event(1, "subscribed", T0 + 3 * HOUR)
    world.tick(T0 + HOUR)
    world.tick(T0 + 2 * HOUR)
    assert refs(world) == []
    world.tick(T0 + 3 * HOUR)
    assert len(refs(world)) == 1


def test_machine_events_are_no_entries(world: World) -> None:
    """An open by a scanner is not a person."""
    world.contact(1)
    world.campaign("now", mail("{event: email_opened}"))
    world.event(1, "email_opened", T0 + HOUR, is_machine=True)
    world.tick(T0 + HOUR)
    assert refs(world) == []


def test_segment_entry_ignores_baseline_stays_and_those_before_the_start(world: World) -> None:
    """A first computation, an edit, a merge (all baseline) and members of old enrol nobody."""
    world.contact(1, 2, 3)
    world.member(1, "everyone", T0 - HOUR)
    world.campaign("seg", mail("{segment: everyone}"))
    world.member(2, "everyone", T0 + HOUR, is_baseline=True)
    world.member(3, "everyone", T0 + HOUR)
    world.live(T0 + 3 * HOUR)
    assert [row[0] for row in refs(world)] == [3]


def test_segment_evaluation_that_commits_late_is_not_missed(world: World) -> None:
    """An evaluation of 12:30 that commits after the tick of 13:00 still enrols."""
    world.contact(1)
    world.campaign("seg", mail("{segment: everyone}"))
    world.evaluated("everyone", T0 + timedelta(minutes=10))
    world.tick(T0 + HOUR)
    world.member(1, "everyone", T0 + timedelta(minutes=30))
    world.tick(T0 + 2 * HOUR)
    assert [row[0] for row in refs(world)] == [1]


def test_segment_evaluated_twice_at_one_instant_is_looked_at_again(world: World) -> None:
    """A clock that stands still: what a second evaluation brings enters too."""
    world.contact(1, 2)
    world.campaign("seg", mail("{segment: everyone}"))
    world.batch()
    world.member(1, "everyone", T0 + HOUR)
    world.tick(T0 + HOUR)
    world.batch()
    world.member(2, "everyone", T0 + HOUR)
    world.tick(T0 + HOUR)
    assert [row[0] for row in refs(world)] == [1, 2]


def test_leaving_a_segment_enters_but_not_by_an_edit(world: World) -> None:
    """`on: leave` takes those who left; an edited definition ends stays nobody left."""
    world.contact(1, 2)
    for number in (1, 2):
        world.member(number, "everyone", T0 - HOUR)
    world.campaign("seg", mail("{segment: everyone, on: leave}"))
    world.tick(T0 + timedelta(minutes=1))
    world.leaves(1, "everyone", T0 + HOUR)
    world.tick(T0 + HOUR)
    assert [row[0] for row in refs(world)] == [1]
    world.leaves(2, "everyone", T0 + 2 * HOUR)
    world.evaluated("everyone", T0 + 2 * HOUR, "edited")
    world.tick(T0 + 2 * HOUR)
    assert [row[0] for row in refs(world)] == [1]


def test_existing_members_enter_when_the_file_says_so(world: World) -> None:
    """`existing: enrol` takes those who are in already, once."""
    world.contact(1, 2)
    world.member(1, "everyone", T0 - HOUR, is_baseline=True)
    world.campaign("seg", mail("{segment: everyone, existing: enrol}"))
    world.tick(T0 + HOUR)
    world.member(2, "everyone", T0 + 2 * HOUR)
    world.live(T0 + 5 * HOUR)
    assert [row[0] for row in refs(world)] == [1, 2]


def test_merged_and_deleted_contacts_do_not_enter(world: World) -> None:
    """A contact that is gone gets no enrolment."""
    world.contact(1, is_deleted=True)
    world.campaign("now", mail("{event: subscribed}"))
    world.event(1, "subscribed", T0 + HOUR)
    world.tick(T0 + HOUR)
    assert refs(world) == []


@pytest.mark.parametrize(
    ("entry", "entered"),
    [
        ("{event: subscribed, reentry: never}", [0]),
        ("{event: subscribed, reentry: always}", [0, 2, 10, 40]),
        ("{event: subscribed, reentry: {after: 9d}}", [0, 10, 40]),
        ("{event: subscribed, reentry: always, cool_down: 20d}", [0, 40]),
    ],
)
def test_reentry(world: World, entry: str, entered: list[int]) -> None:
    """never, always, after a time, and a cool-down on top."""
    world.contact(1)
    world.campaign("now", mail(entry))
    for day in (0, 2, 10, 40):
        world.event(1, "subscribed", T0 + day * DAY + HOUR)
        world.tick(T0 + day * DAY + HOUR)
    rows = world.enrolments("e.entered_at")
    assert [row[0] for row in rows] == [T0 + day * DAY + HOUR for day in entered]


def test_reentry_in_one_tick_is_as_if_each_had_come_alone(world: World) -> None:
    """The same events learnt all at once give the same entries."""
    world.contact(1)
    world.campaign("now", mail("{event: subscribed, key: key, reentry: {after: 9d}}"))
    batch = world.batch()
    for day in reversed(range(0, 40, 3)):
        world.event(1, "subscribed", T0 + day * DAY + HOUR, batch=batch, key="k")
    world.tick(T0 + 41 * DAY)
    rows = world.enrolments("e.entered_at")
    assert [row[0] for row in rows] == [T0 + day * DAY + HOUR for day in (0, 9, 18, 27, 36)]


def test_without_a_key_a_person_is_inside_once_at_a_time(world: World) -> None:
    """`always` takes nobody who is still inside, unless the entry has a key."""
    world.contact(1)
    body = """
        entry: {event: subscribed, reentry: always%s}
        steps: [{id: rest, wait: 1d}]
        """
    world.campaign("plain", body % "")
    world.campaign("keyed", body % ", key: key")
    for hour in (1, 2):
        world.event(1, "subscribed", T0 + hour * HOUR, key=str(hour))
        world.tick(T0 + hour * HOUR)
    assert [row[0] for row in world.enrolments("c.campaign")] == ["keyed", "keyed", "plain"]


def test_per_key_enters_each_cart_once_and_cool_down_spans_carts(world: World) -> None:
    """Each cart once, whoever goes on using it; the cool-down is the person's."""
    world.contact(1, 2)
    world.campaign("each", mail("{event: cart_updated, key: cart_id}"))
    world.campaign("calm", mail("{event: cart_updated, key: cart_id, cool_down: 7d}"))
    for hour, cart in ((1, 7), (2, 7), (3, 8), (200, 7), (201, 9)):
        world.event(1, "cart_updated", T0 + hour * HOUR, cart_id=cart)
        world.tick(T0 + hour * HOUR)
    world.event(2, "cart_updated", T0 + 202 * HOUR)
    world.tick(T0 + 202 * HOUR)
    rows = world.enrolments("c.campaign", "e.entry_ref")
    assert sorted(rows) == [
        ("calm", "7"), ("calm", "9"), ("each", "7"), ("each", "8"), ("each", "9"),
    ]  # fmt: skip


def test_a_second_profile_of_one_contact_is_the_same_person(world: World) -> None:
    """`never` is about the contact, whichever of its profiles the event came from."""
    world.contact(1)
    world.campaign("now", mail("{event: subscribed}"))
    world.event(1, "subscribed", T0 + HOUR)
    world.tick(T0 + HOUR)
    world.event(1, "subscribed", T0 + 2 * HOUR, profile=65)
    world.tick(T0 + 2 * HOUR)
    assert len(refs(world)) == 1


def test_paused_campaign_keeps_still_and_forgets_nobody(world: World) -> None:
    """While paused nobody enters or moves, goals are noted; on resume all that is made up for."""
    world.contact(1, 2, 3)
    world.campaign(
        "slow",
        """
        entry: {event: subscribed}
        exit: [{event: order_placed}]
        steps:
          - {id: pause, wait: 1h}
          - {id: mail, send: {via: smtp_journey, template: t_mail}}
        """,
    )
    for number in (1, 2):
        world.event(number, "subscribed", T0 + HOUR)
    world.tick(T0 + HOUR)
    control.pause(world.db, "slow", "tester")
    world.event(3, "subscribed", T0 + 2 * HOUR)
    world.event(2, "order_placed", T0 + 2 * HOUR)
    world.live(T0 + 4 * HOUR)
    assert world.sends() == []
    assert world.enrolments() == [
        (1, world.enrolments()[0][1], "active", None),
        (2, world.enrolments()[1][1], "exited", "order_placed"),
    ]
    control.resume(world.db, "slow", "tester")
    world.live(T0 + 5 * HOUR)
    assert [row[0] for row in world.sends()] == [1, 3]
    assert world.db.execute("select count(*) from mkt_engage.campaign_marks").fetchone() == (0,)


def test_stop_ends_it_for_everybody_inside(world: World) -> None:
    """Stop exits all, cancels what was claimed; a later start begins anew."""
    world.contact(1, 2)
    world.campaign(
        "two",
        """
        entry: {event: subscribed}
        steps:
          - {id: mail, send: {via: smtp_journey, template: t_mail}}
          - {id: rest, wait: 5d}
        """,
    )
    world.event(1, "subscribed", T0 + HOUR)
    world.tick(T0 + HOUR)
    assert control.stop(world.db, "two", "tester") == 1
    assert world.enrolments()[0][2:] == ("exited", "stopped")
    assert world.sends() == [(1, "mail", "cancelled", "stopped")]
    world.event(2, "subscribed", T0 + 2 * HOUR)
    world.tick(T0 + 3 * HOUR)
    assert control.start(world.db, "two", "tester") == 1
    world.live(T0 + 5 * HOUR)
    assert [row[0] for row in refs(world)] == [1]
    actions = [row[0] for row in world.db.execute("select action from mkt_ops.audit_log")]
    assert actions == ["campaign.start", "campaign.stop", "campaign.start"]


def test_controls_refuse_what_makes_no_sense(world: World) -> None:
    """Unknown names get a hint, wrong states a sentence."""
    world.campaign("spring", mail("{event: subscribed}"))
    with pytest.raises(FatalError, match="Did you mean `spring`"):
        control.start(world.db, "sprung", "tester")
    with pytest.raises(FatalError, match="never started"):
        control.pause(world.db, "winter", "tester")
    control.stop(world.db, "spring", "tester")
    with pytest.raises(FatalError, match="is stopped"):
        control.pause(world.db, "spring", "tester")


def test_an_edit_is_a_version_for_new_entries_only(world: World) -> None:
    """Who is inside keeps the steps and words they entered with."""
    world.contact(1, 2)
    body = """
        entry: {event: subscribed}
        steps:
          - {id: pause, wait: 2h}
          - {id: %s, send: {via: smtp_journey, template: t_mail}}
        """
    world.campaign("edit", body % "old")
    world.event(1, "subscribed", T0 + HOUR)
    world.tick(T0 + HOUR)
    world.campaign("edit", body % "new", start=False)
    world.tick(T0 + HOUR)
    assert control.start(world.db, "edit", "tester") == 2
    assert control.start(world.db, "edit", "tester") == 2
    world.event(2, "subscribed", T0 + HOUR)
    world.live(T0 + 4 * HOUR)
    assert [row[:2] for row in world.sends()] == [(1, "old"), (2, "new")]
    rows = world.db.execute("select version, content from mkt_engage.campaign_versions").fetchall()
    assert [row[0] for row in rows] == [1, 2]
    assert rows[0][1]["templates"]["t_mail"]["text"].startswith("Hello")


def test_comment_and_tests_make_no_new_version(world: World) -> None:
    """Only what decides or is said counts into the hash."""
    body = mail("{event: subscribed}")
    world.campaign("same", body)
    world.campaign("same", body + "\n        # a comment\n        description: other words\n")
    assert world.db.execute("select max(version) from mkt_engage.campaign_versions").fetchone() == (
        1,
    )


def test_frozen_segment_decides_not_the_edited_file(world: World) -> None:
    """The audience of a version is the segment as it was when it went live."""
    world.contact(1)
    world.campaign("only", mail("{event: subscribed}", "audience: {segment: everyone}"))
    world.file(
        "everyone",
        """
        segment: everyone
        description: nobody
        owner: crm@example.com
        where: {event: order_placed}
        """,
        "segments",
    )
    world.event(1, "subscribed", T0 + HOUR)
    world.tick(T0 + HOUR)
    assert len(refs(world)) == 1


def test_guard_stops_entries_and_opens_one_incident(world: World) -> None:
    """More than max_entries: nobody of them enters, those inside go on, resume begins anew."""
    world.settings(shards=1)
    people = list(range(1, 8))
    world.contact(*people)
    world.campaign("flood", mail("{event: subscribed}", "guards: {max_entries: 3 per 1d}"))
    for number in (1, 2):
        world.event(number, "subscribed", T0 + HOUR)
    world.tick(T0 + HOUR)
    batch = world.batch()
    for number in (3, 4, 5):
        world.event(number, "subscribed", T0 + 2 * HOUR, batch=batch)
    world.live(T0 + 4 * HOUR)
    assert [row[0] for row in refs(world)] == [1, 2]
    incidents = world.db.execute(
        "select cause, closed_at is null from mkt_ops.incidents"
    ).fetchall()
    assert len(incidents) == 1
    assert "flood" in incidents[0][0]
    control.resume(world.db, "flood", "tester")
    world.event(6, "subscribed", T0 + 5 * HOUR)
    world.live(T0 + 6 * HOUR)
    assert [row[0] for row in refs(world)] == [1, 2, 6]
    open_ones = world.db.execute("select count(*) from mkt_ops.incidents where closed_at is null")
    assert open_ones.fetchone() == (0,)


def test_entry_freezes_the_cart(world: World) -> None:
    """Templates of a cart read its value, link and lines from the entry."""
    world.contact(1)
    world.db.execute(
        "insert into mkt_core.carts (system, account, brand, external_id, created_at, updated_at,"
        " amount, lines, url, batch) values ('shopify', 's', 'journey', 'c1', %s, %s, 80,"
        """ '[{"title": "Oil", "quantity": 2}]', 'https://x.example.com/c1', 1)""",
        (T0, T0),
    )
    world.campaign("cart", mail("{event: cart_updated, key: cart_id}"))
    world.event(1, "cart_updated", T0 + HOUR, cart_id=1, amount=80)
    world.tick(T0 + HOUR)
    ((entry,),) = world.sends("s.ctx -> 'entry'")
    assert entry["cart_value"] == 80
    assert entry["url"] == "https://x.example.com/c1"
    assert entry["lines"] == [{"title": "Oil", "quantity": 2}]
