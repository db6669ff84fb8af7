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
