"""The preview shows numbers and masked members, and leaves nothing behind."""

from __future__ import annotations

from datetime import timedelta

import pytest

from marketing_ops.errors import DefinitionError
from marketing_ops.segments import preview
from marketing_ops.segments.runner import refresh
from tests.conftest import FrozenClock
from tests.segments.conftest import NOW, Files, World, days


def test_preview_counts_and_masks(world: World, files: Files, frozen_clock: FrozenClock) -> None:
    """Size, who would enter and leave, ten masked members; no address and no row is left."""
    files.write("buyers", "event: order_placed\nwithin: 2d")
    with world.batch():
        for number in range(1, 13):
            world.contact(number, email=None if number == 3 else f"jane{number}@example.com")
        world.event(1, "order_placed", NOW - days(2) + timedelta(hours=1))
    frozen_clock.move(NOW)
    refresh(world.db, NOW)
    with world.batch():
        for number in range(2, 13):
            world.event(number, "order_placed", NOW)
    frozen_clock.move(NOW + timedelta(hours=2))
    shown = preview.preview(world.db, "buyers")
    assert (shown.size, shown.entering, shown.leaving) == (11, 11, 1)
    assert shown.members[:2] == ["j***@e***", "contact 3, no address"]
    assert len(shown.members) == 10
    text = preview.render(shown)
    assert "11 members (+11 -1 against the live segment)" in text
    assert "and 1 more" in text
    assert "example.com" not in text
    assert 'p1 = "order_placed"' in text
    assert shown.plan == []
    assert world.lived("buyers") == [1]


def test_preview_in_time(world: World, files: Files, frozen_clock: FrozenClock) -> None:
    """--as-of and --known-at answer for their instant; --explain brings the plan."""
    files.write("buyers", "event: order_placed")
    with world.batch(closed_at=NOW - days(5)):
        world.contact(1)
    with world.batch(closed_at=NOW - days(1)):
        world.event(1, "order_placed", NOW - days(3))
    at = NOW - days(2)
    assert preview.preview(world.db, "buyers", as_of=at).size == 1
    assert preview.preview(world.db, "buyers", known_at=at).size == 0
    assert preview.preview(world.db, "buyers", known_at=NOW).size == 1
    explained = preview.preview(world.db, "buyers", as_of=at, explain=True)
    assert "Execution Time" in explained.plan[-1]
    assert explained.plan[-1] in preview.render(explained)
    assert "as of 2026-02-28T12:00:00+00:00" in preview.render(explained)


def test_preview_of_nothing(world: World, files: Files) -> None:
    """An unknown segment names the nearest one; a wrong file shows its problems."""
    files.write("buyers", "event: order_placed")
    files.write("wrong", "event: order_plced")
    with pytest.raises(DefinitionError, match="Did you mean `buyers`"):
        preview.preview(world.db, "byers")
    with pytest.raises(DefinitionError, match=r"wrong.yaml:5: .*order_placed"):
        preview.preview(world.db, "wrong")
