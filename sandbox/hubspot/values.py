"""Property values: always text, instants in ISO 8601 or in milliseconds."""

from __future__ import annotations

from datetime import UTC, datetime
from functools import lru_cache
from typing import Any


def text(value: Any) -> str:
    """A property's value as HubSpot keeps it: always text."""
    if isinstance(value, bool):
        return str(value).lower()
    return str(value)


@lru_cache(100_000)
def iso(ms: int) -> str:
    """An instant as HubSpot writes it: `2026-10-01T12:00:00.000Z`."""
    whole, rest = divmod(ms, 1000)
    return f"{datetime.fromtimestamp(whole, UTC):%Y-%m-%dT%H:%M:%S}.{rest:03d}Z"


@lru_cache(100_000)
def instant(value: str) -> int:
    """Epoch ms of a time as HubSpot takes it: ISO 8601, a date, or ms as digits.

    Raises:
        ValueError: It is none of these.
    """
    if value.lstrip("-").isdigit():
        return int(value)
    at = datetime.fromisoformat(value)
    whole = at if at.tzinfo else at.replace(tzinfo=UTC)
    return round(whole.timestamp() * 1000)
