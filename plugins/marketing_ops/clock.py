"""The only clock. It follows a setting, so that the demo, the sandbox and the tests agree."""

from __future__ import annotations

import os
from datetime import UTC, datetime
from pathlib import Path

CLOCK_FILE_VARIABLE = "MARKETING_OPS_CLOCK_FILE"


def now() -> datetime:
    """The current instant, UTC and aware.

    When the environment variable `MARKETING_OPS_CLOCK_FILE` names a file with an ISO 8601 instant
    in it, that instant; else (no variable, no file, an empty file) the machine's clock.
    """
    held = held_at()
    return datetime.now(UTC) if held is None else held


def held_at() -> datetime | None:
    """The instant at which the setting holds the clock; None while it runs free."""
    name = os.environ.get(CLOCK_FILE_VARIABLE)
    if not name:
        return None
    try:
        text = Path(name).read_text(encoding="ascii").strip()
    except FileNotFoundError:
        return None
    return datetime.fromisoformat(text).astimezone(UTC) if text else None


def freeze(path: Path, instant: datetime | None) -> None:
    """Make every process that reads `path` see `instant`; None gives the machine's clock back.

    The file is replaced in one step, so that no reader sees half an instant.
    """
    draft = path.with_name(f"{path.name}.{os.getpid()}")
    draft.write_text(instant.astimezone(UTC).isoformat() if instant else "", encoding="ascii")
    draft.replace(path)
