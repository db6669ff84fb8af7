"""Spans of time and shares as users write them: `30m`, `4h`, `7d`, `2w`, `10%`."""

from __future__ import annotations

import re
from datetime import timedelta
from typing import Annotated, Any

from pydantic import BeforeValidator

_UNITS = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days", "w": "weeks"}


def parse_duration(text: Any) -> timedelta:
    """`4h` as a timedelta. Raises ValueError with an example for anything else."""
    if isinstance(text, timedelta):
        return text
    match = re.fullmatch(r"(\d+)\s*([smhdw])", str(text).strip())
    if match is None:
        raise ValueError(f"`{text}` is not a duration: write 30m, 4h, 7d or 2w")
    return timedelta(**{_UNITS[match.group(2)]: int(match.group(1))})


def parse_share(text: Any) -> float:
    """`10%` as 0.1. Raises ValueError for anything but 0% to 100%."""
    if isinstance(text, float) and 0 <= text <= 1:
        return text
    match = re.fullmatch(r"(\d+(?:\.\d+)?)\s*%", str(text).strip())
    if match is None or float(match.group(1)) > 100:
        raise ValueError(f"`{text}` is not a share: write 5% or 12.5%")
    return float(match.group(1)) / 100


Duration = Annotated[timedelta, BeforeValidator(parse_duration)]
Share = Annotated[float, BeforeValidator(parse_share)]
