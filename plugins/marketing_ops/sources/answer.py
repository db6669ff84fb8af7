"""What a vendor answered, and the parts of its meaning that vendors share."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from email.utils import parsedate_to_datetime
from typing import Any

import orjson

from marketing_ops import clock
from marketing_ops.errors import FatalError, MarketingOpsError, RetryableError, TokenRefusedError


class ThrottledError(RetryableError):
    """The vendor takes no more calls for now. This one had no effect: even a write is repeated."""


class DownloadGoneError(RetryableError):
    """A file's URL has expired or changed: a later try asks for a new file."""


@dataclass(frozen=True)
class Answer:
    """A vendor's answer. `repr` shows neither body nor headers."""

    status: int
    body: bytes = field(repr=False)
    headers: Mapping[str, str] = field(repr=False)

    def header(self, name: str) -> str:
        """A header's value by name in any case, "" when absent."""
        return str(self.headers.get(name, ""))

    def retry_after(self) -> float | None:
        """The seconds of Retry-After, None when it is absent or makes no sense.

        A date is compared with the answer's own Date, else with our clock.
        """
        text = self.header("Retry-After")
        try:
            seconds = float(text)
        except ValueError:
            at, sent_at = _http_date(text), _http_date(self.header("Date"))
            if at is None:
                return None
            seconds = at - (clock.now().timestamp() if sent_at is None else sent_at)
            return max(seconds, 0.0)
        return seconds if math.isfinite(seconds) and seconds >= 0 else None


def seconds_ahead(answer: Answer) -> float | None:
    """How far our clock is ahead of the vendor's (negative: behind), by the answer's Date header.

    None when it carries none, and while our clock is held somewhere else on purpose.
    """
    sent_at = _http_date(answer.header("Date"))
    if sent_at is None or clock.held_at() is not None:
        return None
    return clock.now().timestamp() - sent_at


ErrorMap = Callable[[Answer], None]
"""Raises one of our errors for an answer that is none; the vendor's one place for that."""


def json_of(name: str, answer: Answer) -> Any:
    """The parsed body; None for an answer that has none by intention (204, 202).

    In an answer that is damaged (NaN, bytes that are no UTF-8) what is wrong becomes a string that
    cannot be encoded, so that the record it stands in, and no other, is rejected where rows are
    made.

    Raises:
        FatalError: it is no JSON at all.
        RetryableError: it is cut.
    """
    try:
        return orjson.loads(answer.body)
    except orjson.JSONDecodeError:
        if not answer.body and answer.status in (202, 204):
            return None
    if "json" not in answer.header("Content-Type"):
        raise FatalError(
            f"`{name}` answers no JSON ({answer.status}): check that the connection's host is the"
            " API's"
        )
    try:
        text = answer.body.decode("utf-8", "surrogateescape")
        return json.loads(text, parse_constant=lambda constant: f"\udcff{constant}")
    except (ValueError, RecursionError) as error:
        raise RetryableError(f"the answer of `{name}` is cut or damaged") from error


def raise_for_status(name: str, answer: Answer, meanings: Mapping[int, str]) -> None:
    """The part of an error map that vendors share: a status that is no success becomes an error.

    Args:
        meanings: for the vendor's fatal statuses, what is wrong and what to do. 401 means that
            the token is refused.
    """
    status = answer.status
    if status < 300:
        return
    error: MarketingOpsError
    if status in meanings:
        kind = TokenRefusedError if status == 401 else FatalError
        error = kind(f"`{name}` answers {status}: {meanings[status]}")
    elif status == 429:
        error = ThrottledError(f"`{name}` is throttled (429)", retry_after=answer.retry_after())
    elif status >= 500:
        error = RetryableError(
            f"`{name}` fails on its side ({status})", retry_after=answer.retry_after()
        )
    else:
        error = FatalError(f"`{name}` answers {status}: the request was refused")
    raise error


def redacted(values: Mapping[str, Any]) -> dict[str, Any]:
    """`values` with what may be a secret masked, for a log line."""
    secret = ("token", "secret", "password", "authorization", "key", "cookie")
    return {
        key: "***" if any(word in key.lower() for word in secret) else value
        for key, value in values.items()
    }


def _http_date(text: str) -> float | None:
    try:
        at = parsedate_to_datetime(text)
        return at.timestamp() if at.tzinfo else None
    except (ValueError, OverflowError):
        return None
