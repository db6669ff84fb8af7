"""Ids, hashes and times as Mailchimp writes them."""

from __future__ import annotations

from datetime import UTC, datetime
from functools import lru_cache
from hashlib import md5

from marketing_ops.errors import FatalError

LIST = "a1b2c3d4e5"
"""The audience that the seed makes."""


def members(audience: str) -> str:
    """The kind of an audience's members among the records."""
    return f"member:{audience}"


def key_of(address: str) -> str:
    """A member's hash: MD5 of the address in lower case."""
    return md5(address.lower().encode(), usedforsecurity=False).hexdigest()


def contact_id(number: int) -> str:
    """What stays the same when the address changes, in every audience."""
    return key_of(f"contact:{number}")


def unique_email_id(number: int) -> str:
    """The same for one audience, as links in mails carry it."""
    return key_of(f"unique:{number}")[:10]


@lru_cache(50_000)
def _iso(seconds: int) -> str:
    return f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%dT%H:%M:%S+00:00}"


def iso(at: int | None) -> str:
    """An instant (epoch ms) with the precision of a second; "" for none."""
    return "" if at is None else _iso(at // 1000)


def instant(text: str) -> int:
    """Epoch ms of an ISO 8601 instant; UTC without an offset.

    Raises:
        FatalError: it is none.
    """
    try:
        # A plus that nobody encoded arrives as a space.
        value = datetime.fromisoformat(text.strip().replace(" ", "+" if "T" in text else "T"))
    except ValueError as error:
        raise FatalError(f"`{text[:40]}` is not an ISO 8601 instant") from error
    return int((value if value.tzinfo else value.replace(tzinfo=UTC)).timestamp() * 1000)
