from __future__ import annotations

from datetime import timedelta
from email.utils import format_datetime

import pytest

from marketing_ops import clock
from marketing_ops.sources.httpclient import Answer
from marketing_ops.sources.skew import clock_finding
from tests.conftest import FrozenClock


def _answer(date: str) -> Answer:
    return Answer(200, b"", {"Date": date})


@pytest.mark.parametrize(
    ("seconds", "is_ok", "says"),
    [(0, True, "within a minute"), (600, False, "ahead of us"), (-600, False, "behind us")],
)
def test_a_vendors_clock_far_from_ours_is_a_finding(
    monkeypatch: pytest.MonkeyPatch, seconds: int, is_ok: bool, says: str
) -> None:
    """Ten minutes are more than cursors are moved back: rows would be missed."""
    monkeypatch.delenv(clock.CLOCK_FILE_VARIABLE, raising=False)
    theirs = clock.now() + timedelta(seconds=seconds)
    found = clock_finding(_answer(format_datetime(theirs, usegmt=True)))
    assert found.is_ok is is_ok
    assert says in found.says


@pytest.mark.parametrize("date", ["", "yesterday", "Mon, 02 Mar 2026 12:00:00"])
def test_an_answer_without_a_usable_date_is_not_judged(
    monkeypatch: pytest.MonkeyPatch, date: str
) -> None:
    """Unknown is said to be unknown."""
    monkeypatch.delenv(clock.CLOCK_FILE_VARIABLE, raising=False)
    assert "not compared" in clock_finding(_answer(date)).says


def test_a_held_clock_is_not_compared(frozen_clock: FrozenClock) -> None:
    """The demo's clock is elsewhere on purpose."""
    assert "held by MARKETING_OPS_CLOCK_FILE" in clock_finding(_answer("")).says
