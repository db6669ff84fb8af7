"""Each feature of a campaign, told as one small story."""

from __future__ import annotations

from datetime import timedelta

from tests.campaigns.world import T0, World

HOUR = timedelta(hours=1)
DAY = timedelta(days=1)

CART = """
entry: {event: cart_updated, key: cart_id}
goal: {event: order_placed, within: 7d}
exit: [goal]
steps:
  - {id: pause, wait: 4h}
  - {id: mail, send: {via: smtp_journey, template: t_cart}}
"""


def test_event_entry_waits_and_sends_once(world: World) -> None:
    """Four hours after the cart the mail is claimed; ticks before and after add nothing."""
    world.contact(1)
    world.campaign("cart", CART)
    world.event(1, "cart_updated", T0 + HOUR, cart_id=7, amount=80)
    world.tick(T0 + 2 * HOUR)
    assert world.enrolments() == [(1, "7", "active", None)]
    world.tick(T0 + 5 * HOUR - timedelta(seconds=1))
    assert world.sends() == []
    world.tick(T0 + 5 * HOUR)
    assert world.sends() == [(1, "mail", "claimed", None)]
    before = world.ledger()
    world.tick(T0 + 5 * HOUR)
    world.live(T0 + 8 * HOUR)
    assert world.ledger() == before
    assert world.enrolments() == [(1, "7", "finished", None)]


SEND_NOW = """
entry: {event: subscribed, reentry: always}
steps:
  - {id: mail, send: {via: smtp_journey, template: t_now}}
"""


def steps(world: World) -> list[tuple[object, ...]]:
    """Contact, step, status and reason of every send."""
    return world.sends()


def test_goal_within_its_window_exits_and_converts(world: World) -> None:
    """An order after the entry is the goal: the person leaves, and when is kept."""
    world.contact(1)
    world.campaign("cart", CART)
    world.event(1, "cart_updated", T0 + HOUR, cart_id=7)
    world.tick(T0 + 2 * HOUR)
    world.event(1, "order_placed", T0 + 3 * HOUR)
    world.live(T0 + 8 * HOUR)
    assert world.enrolments("e.status", "e.exit_reason", "e.converted_at") == [
        ("exited", "goal", T0 + 3 * HOUR)
    ]
    assert steps(world) == []


def test_order_learnt_before_the_entry_counts(world: World) -> None:
    """Orders sync before carts: an order after the cart, known earlier, still ends it."""
    world.contact(1)
    world.campaign("cart", CART)
    world.event(1, "order_placed", T0 + 2 * HOUR)
    world.tick(T0 + 3 * HOUR)
    world.event(1, "cart_updated", T0 + HOUR, cart_id=7)
    world.live(T0 + 8 * HOUR)
    assert world.enrolments() == [(1, "7", "exited", "goal")]
    assert steps(world) == []


def test_goal_after_the_end_still_converts_but_not_after_its_window(world: World) -> None:
    """Conversion is measured for those who went through, up to `within`."""
    world.contact(1, 2)
    world.campaign("cart", CART)
    for number in (1, 2):
        world.event(number, "cart_updated", T0 + HOUR, cart_id=number)
    world.live(T0 + 6 * HOUR)
    world.event(1, "order_placed", T0 + 6 * DAY)
    world.event(2, "order_placed", T0 + 8 * DAY)
    world.tick(T0 + 9 * DAY)
    assert world.enrolments("e.contact_id", "e.status", "e.converted_at") == [
        (1, "finished", T0 + 6 * DAY),
        (2, "finished", None),
    ]


def test_exit_cancels_what_was_claimed_but_not_taken(world: World) -> None:
    """A claimed send is taken back on exit; one in flight is not."""
    world.contact(1, 2)
    world.campaign(
        "two",
        """
        entry: {event: subscribed}
        exit: [{event: unsubscribed}]
        steps:
          - {id: mail, send: {via: smtp_journey, template: t_now}}
          - {id: rest, wait: 5d}
        """,
    )
    for number in (1, 2):
        world.event(number, "subscribed", T0 + HOUR)
    world.tick(T0 + HOUR)
    world.db.execute("update mkt_engage.sends set status = 'in_flight' where contact_id = 2")
    for number in (1, 2):
        world.event(number, "unsubscribed", T0 + 2 * HOUR)
    world.tick(T0 + 2 * HOUR)
    assert steps(world) == [(1, "mail", "cancelled", "exited"), (2, "mail", "in_flight", None)]
    assert {row[3] for row in world.enrolments()} == {"unsubscribed"}


def test_reset_on_counts_from_the_last_event_of_the_same_cart(world: World) -> None:
    """Who goes on shopping waits anew; another cart's event does not count."""
    world.contact(1)
    world.campaign(
        "cart",
        """
        entry: {event: cart_updated, key: cart_id}
        steps:
          - {id: pause, wait: 4h, reset_on: {event: cart_updated, match: cart_id}}
          - {id: mail, send: {via: smtp_journey, template: t_cart}}
        """,
    )
    world.event(1, "cart_updated", T0 + HOUR, cart_id=7)
    world.tick(T0 + HOUR)
    world.event(1, "cart_updated", T0 + 3 * HOUR, cart_id=7)
    world.event(1, "cart_updated", T0 + 4 * HOUR, cart_id=8)
    world.live(T0 + 9 * HOUR, timedelta(minutes=30))
    rows = world.sends("s.enrolment_id", "s.claimed_at")
    assert [at for _, at in rows] == [T0 + 7 * HOUR, T0 + 8 * HOUR]


def test_if_reads_events_and_frozen_properties(world: World) -> None:
    """A rule of the segment grammar and a property of the entry both part the ways."""
    world.contact(1, 2, 3)
    world.campaign(
        "ways",
        """
        entry: {event: cart_updated, key: cart_id}
        steps:
          - {id: pause, wait: 1h}
          - id: known
            if: {event: order_placed}
            then: [{id: old, send: {via: smtp_journey, template: t_old}}]
            else:
              - id: big
                if: {entry: amount, gte: 100}
                then: [{id: rich, send: {via: smtp_journey, template: t_rich}}]
          - {id: all, send: {via: smtp_journey, template: t_all}}
        """,
    )
    world.event(1, "order_placed", T0 - DAY, is_baseline=True)
    for number, amount in ((1, 500), (2, 500), (3, 20)):
        world.event(number, "cart_updated", T0 + HOUR, cart_id=number, amount=amount)
    world.live(T0 + 3 * HOUR)
    assert [row[:2] for row in steps(world)] == [
        (1, "all"), (1, "old"), (2, "all"), (2, "rich"), (3, "all"),
    ]  # fmt: skip


def test_if_sees_only_what_was_known_at_the_tick(world: World) -> None:
    """An event dated earlier but learnt later does not change a decision taken."""
    world.contact(1)
    world.campaign(
        "ways",
        """
        entry: {event: subscribed}
        steps:
          - id: known
            if: {event: order_placed}
            then: [{id: out, exit: bought}]
          - {id: mail, send: {via: smtp_journey, template: t_mail}}
        """,
    )
    world.event(1, "subscribed", T0 + HOUR)
    world.tick(T0 + HOUR)
    world.event(1, "order_placed", T0 - HOUR)
    world.tick(T0 + 2 * HOUR)
    assert steps(world) == [(1, "mail", "claimed", None)]


def test_split_is_the_hash_of_the_person(world: World) -> None:
    """Arms follow their weights, and equal what the tests of files predict."""
    from marketing_ops.campaigns import definition, filetests

    people = list(range(1, 201))
    world.contact(*people)
    world.campaign(
        "half",
        """
        entry: {event: subscribed}
        steps:
          - id: offer
            split: {salt: s1}
            arms:
              a: {weight: 30, steps: [{id: mail_a, send: {via: smtp_journey, template: t_a}}]}
              b: {weight: 70, steps: [{id: mail_b, send: {via: smtp_journey, template: t_b}}]}
        """,
    )
    batch = world.batch()
    for number in people:
        world.event(number, "subscribed", T0 + HOUR, batch=batch)
    world.tick(T0 + HOUR)
    split = definition.load_all()[0]["half"].steps[0]
    expected = {number: f"mail_{filetests.arm_of(split, number)}" for number in people}
    assert {row[0]: row[1] for row in steps(world)} == expected
    assert 35 <= sum(step == "mail_a" for step in expected.values()) <= 85
    assert {row[0]["offer"] for row in world.enrolments("e.arms")} == {"a", "b"}


def test_holdout_is_enrolled_measured_and_never_mailed(world: World) -> None:
    """The holdout is drawn by hash, gets nothing, and its conversions count."""
    people = list(range(1, 101))
    world.contact(*people)
    world.campaign(
        "held",
        """
        entry: {event: subscribed}
        goal: {event: order_placed, within: 7d}
        holdout: 30%
        steps:
          - {id: mail, send: {via: smtp_journey, template: t_mail}}
        """,
    )
    batch = world.batch()
    for number in people:
        world.event(number, "subscribed", T0 + HOUR, batch=batch)
    world.tick(T0 + HOUR)
    held = {row[0] for row in world.enrolments() if row[2] == "holdout"}
    assert 15 <= len(held) <= 45
    assert {row[0] for row in steps(world)} == set(people) - held
    world.event(min(held), "order_placed", T0 + DAY)
    world.tick(T0 + DAY)
    rows = world.enrolments("e.contact_id", "e.converted_at")
    assert [row for row in rows if row[1]] == [(min(held), T0 + DAY)]


def test_audience_is_judged_at_the_entry(world: World) -> None:
    """Without consent at the entry nobody comes in, and is not asked again later."""
    world.contact(1)
    world.contact(2, consent=None)
    world.campaign(
        "only",
        """
        entry: {event: subscribed}
        audience: {segment: everyone}
        steps:
          - {id: mail, send: {via: smtp_journey, template: t_mail}}
        """,
    )
    batch = world.batch()
    for number in (1, 2):
        world.event(number, "subscribed", T0 + HOUR, batch=batch)
    world.tick(T0 + HOUR)
    world.consent(2, "granted", T0 + 2 * HOUR)
    world.live(T0 + 4 * HOUR)
    assert [row[0] for row in world.enrolments()] == [1]


def test_entry_where_compares_properties(world: World) -> None:
    """`where` takes values, lists and comparisons of the event's properties."""
    world.contact(1, 2, 3)
    world.campaign(
        "only",
        """
        entry: {event: cart_updated, where: {amount: {gte: 50}, kind: [gift, toy]}}
        steps:
          - {id: mail, send: {via: smtp_journey, template: t_mail}}
        """,
    )
    world.event(1, "cart_updated", T0 + HOUR, amount=50, kind="toy")
    world.event(2, "cart_updated", T0 + HOUR, amount=49, kind="toy")
    world.event(3, "cart_updated", T0 + HOUR, amount=500, kind="food")
    world.tick(T0 + HOUR)
    assert [row[0] for row in steps(world)] == [1]


def test_wait_until_a_local_time_on_a_weekday(world: World) -> None:
    """`until` is the next such instant in the contact's zone, on an allowed day."""
    world.contact(1, time_zone="America/New_York")
    world.contact(2, time_zone="Asia/Tokyo")
    world.campaign(
        "morning",
        """
        entry: {event: subscribed}
        steps:
          - {id: morning, wait: {until: "09:00", weekdays: [tue], timezone: contact}}
          - {id: mail, send: {via: smtp_journey, template: t_mail}}
        """,
    )
    for number in (1, 2):
        world.event(number, "subscribed", T0 + HOUR)
    world.live(T0 + 2 * DAY)
    # Tuesday 09:00 in Tokyo is Tuesday 00:00 UTC, in New York 14:00 UTC
    assert world.sends("s.contact_id", "s.claimed_at") == [
        (2, T0 + 12 * HOUR),
        (1, T0 + 26 * HOUR),
    ]


def test_wait_until_after_a_send_counts_from_the_decision(world: World) -> None:
    """A duration after a send begins when the send was decided, not when it was due."""
    world.contact(1)
    world.campaign(
        "two",
        """
        entry: {event: subscribed}
        steps:
          - {id: one, send: {via: smtp_journey, template: t_one}}
          - {id: gap, wait: 2h}
          - {id: two, send: {via: smtp_journey, template: t_two}}
        """,
    )
    world.event(1, "subscribed", T0 + HOUR)
    world.tick(T0 + 5 * HOUR)
    world.tick(T0 + 7 * HOUR - timedelta(seconds=1))
    assert len(steps(world)) == 1
    world.tick(T0 + 7 * HOUR)
    assert [row[1] for row in steps(world)] == ["one", "two"]


def test_exit_step_ends_with_its_reason(world: World) -> None:
    """An `exit` step ends the enrolment; the steps after it are for the others."""
    world.contact(1)
    world.campaign(
        "out",
        """
        entry: {event: subscribed}
        steps:
          - id: known
            if: {event: subscribed}
            then: [{id: out, exit: known_already}]
          - {id: mail, send: {via: smtp_journey, template: t_mail}}
        """,
    )
    world.event(1, "subscribed", T0 + HOUR)
    world.tick(T0 + HOUR)
    assert world.enrolments()[0][2:] == ("exited", "known_already")
    assert steps(world) == []


def test_one_log_row_per_movement(world: World) -> None:
    """Steps passed in an instant are folded into the movement before them."""
    world.contact(1)
    world.campaign(
        "cart",
        """
        entry: {event: cart_updated, key: cart_id}
        steps:
          - {id: pause, wait: 4h}
          - id: big
            if: {entry: amount, gte: 10}
            then: [{id: mail, send: {via: smtp_journey, template: t_mail}}]
          - {id: rest, wait: 1d}
        """,
    )
    world.event(1, "cart_updated", T0 + HOUR, cart_id=7, amount=50)
    world.live(T0 + 2 * DAY, timedelta(minutes=30))
    moves = [row[5:] for row in world.ledger() if row[0] == "move"]
    assert sorted(moves, key=str) == sorted(
        [
            ("entered", None, "pause"),
            ("waited", "pause", "mail"),
            ("claimed", "mail", "rest"),
            ("waited", "rest", None),
        ],
        key=str,
    )


def test_send_row_carries_what_delivery_needs(world: World) -> None:
    """The ledger row names template, entry and arm, and its number begins with its month."""
    world.contact(1)
    world.campaign("now", SEND_NOW)
    event_id = world.event(1, "subscribed", T0 + HOUR, amount=3)
    world.tick(T0 + HOUR)
    ((send_id, ctx, channel, via, shard),) = world.sends(
        "s.send_id", "s.ctx", "s.channel", "s.via", "s.shard"
    )
    assert send_id // 10**12 == 202603
    assert (channel, via, shard) == ("email", "smtp_journey", 1)
    assert ctx["template"] == "t_now"
    assert ctx["step"] == "mail"
    assert ctx["entry"]["event_id"].replace("-", "") == event_id
    assert ctx["late_seconds"] == 86400
    assert ctx["transactional"] is False
