"""Memberships as of the end of past days."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta

from marketing_ops.segments.runner import history
from tests.conftest import FrozenClock
from tests.segments.conftest import Files, World

MIDNIGHT = datetime(2026, 2, 28, 5, tzinfo=UTC)
"""The end of 27 February in New York, the reporting zone."""


def rows(world: World) -> list[tuple[str, date, int]]:
    found = world.db.execute(
        "select segment, date, contact_id from mkt_engage.segment_history order by 1, 2, 3"
    )
    return [tuple(row) for row in found]


def test_history_of_days(world: World, files: Files, frozen_clock: FrozenClock) -> None:
    """An event at midnight belongs to the day that begins; a rerun and late facts replace the
    day; the day that is not over is left out."""
    files.write("buyers", "event: order_placed")
    with world.batch():
        for number in (1, 2, 3):
            world.contact(number)
        world.event(1, "order_placed", MIDNIGHT - timedelta(microseconds=1))
        world.event(2, "order_placed", MIDNIGHT)
    days = [date(2026, 2, 27), date(2026, 2, 28), date(2026, 3, 2)]
    lines: list[str] = []
    assert history(world.db, days, report=lines.append) == {days[0]: 1, days[1]: 2}
    assert "2026-03-02 is not over yet: left out" in lines
    expected = [("buyers", days[0], 1), ("buyers", days[1], 1), ("buyers", days[1], 2)]
    assert rows(world) == expected
    history(world.db, days)
    assert rows(world) == expected
    with world.batch():
        world.event(3, "order_placed", MIDNIGHT - timedelta(days=1))
        world.db.execute("delete from mkt_core.events where contact_id = 1")
    history(world.db, [days[0]])
    assert rows(world) == [("buyers", days[0], 3), *expected[1:]]


def test_history_of_nothing(world: World, files: Files, frozen_clock: FrozenClock) -> None:
    """No days, no segments: nothing is written and nothing fails."""
    assert history(world.db, []) == {}
    assert history(world.db, [date(2026, 2, 1)]) == {}
    files.write("buyers", "event: order_placed")
    assert history(world.db, [date(2026, 2, 1)]) == {date(2026, 2, 1): 0}
    assert rows(world) == []


def test_history_removes_what_a_segment_lost(
    world: World, files: Files, frozen_clock: FrozenClock
) -> None:
    """A day written under an old definition is replaced whole, of this segment only."""
    files.write("buyers", "event: order_placed")
    files.write("carts", "event: cart_updated")
    with world.batch():
        world.contact(1)
        world.event(1, "order_placed", MIDNIGHT - timedelta(days=1))
        world.event(1, "cart_updated", MIDNIGHT - timedelta(days=1))
    day = date(2026, 2, 27)
    history(world.db, [day])
    files.write("buyers", "event: order_placed\nwithin: 1h")
    files.remove("carts")
    history(world.db, [day])
    assert rows(world) == [("carts", day, 1)]
