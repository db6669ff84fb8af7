"""How far a vendor's clock is from ours, by the Date header of an answer."""

from __future__ import annotations

from marketing_ops import clock
from marketing_ops.sources.answer import Answer, seconds_ahead
from marketing_ops.sources.base import Finding

TOLERATED_SECONDS = 60.0
"""More than this eats into the overlap by which cursors are moved back."""


def clock_finding(answer: Answer) -> Finding:
    """Whether the vendor's clock and ours agree to within a minute."""
    if clock.held_at() is not None:
        return Finding("clock", True, "not compared: ours is held by MARKETING_OPS_CLOCK_FILE")
    ahead = seconds_ahead(answer)
    if ahead is None:
        return Finding("clock", True, "not compared: the vendor's answers carry no date")
    if abs(ahead) > TOLERATED_SECONDS:
        direction = "behind" if ahead > 0 else "ahead of"
        return Finding(
            "clock",
            False,
            f"the vendor is {abs(ahead):,.0f} s {direction} us: set this machine's clock by NTP",
        )
    return Finding("clock", True, "within a minute of the vendor's")
