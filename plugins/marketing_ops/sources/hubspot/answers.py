"""The one place that says what an answer of HubSpot means. Messages never show its own texts.

Source: developers.hubspot.com, "Error handling" and "API usage guidelines" (2026-09).
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import orjson

from marketing_ops.errors import (
    FatalError,
    MarketingOpsError,
    QuotaExhaustedError,
    RetryableError,
    TokenRefusedError,
)
from marketing_ops.sources.httpclient import Answer, ThrottledError

_WORD = re.compile(r"[\w.:-]{1,100}")
_WAITS = {"SECONDLY": 1.0, "TEN_SECONDLY_ROLLING": 10.0}
_LOCKED_SECONDS = 2.0


class MissingError(FatalError):
    """What was asked for is not there (404)."""


class RefusedError(FatalError):
    """The request is refused for what it says.

    Attributes:
        codes: HubSpot's own words for why, the general one first.
    """

    def __init__(self, message: str, codes: tuple[str, ...]) -> None:
        super().__init__(message)
        self.codes = codes


def check(name: str, answer: Answer, reset_seconds: float) -> None:
    """Raise for what is no success; a 207 is one in parts and left to whoever wrote the batch.

    Args:
        name: the connection's id.
        answer: what HubSpot said.
        reset_seconds: until the daily quota starts again.

    Raises:
        TokenRefusedError, RefusedError, MissingError, FatalError: nothing to be had.
        ThrottledError, RetryableError: later.
        QuotaExhaustedError: tomorrow.
    """
    if answer.status < 300 and not answer.body.startswith(b'{"status":"error"'):
        return
    body = _body(answer)
    where = f"`{name}` answers {answer.status} (correlationId {_correlation(answer, body)})"
    raise _error(where, answer, body, reset_seconds)


def _error(
    where: str, answer: Answer, body: dict[str, Any], reset_seconds: float
) -> MarketingOpsError:
    status, wait = answer.status, answer.retry_after()
    if status == 401:
        return TokenRefusedError(
            f"{where}: the access token is refused: create a new one (Settings > Integrations >"
            " Service keys) and put it into the connection's password"
        )
    if status == 403:
        return _forbidden(where, body, is_json=bool(body))
    if status == 404:
        return MissingError(f"{where}: there is no such record or API version")
    if status == 423:
        wait = max(wait or 0.0, _LOCKED_SECONDS)
        return ThrottledError(f"{where}: HubSpot has locked it for now", retry_after=wait)
    if status == 429:
        return _throttled(where, body, wait, reset_seconds)
    if status == 477:
        return ThrottledError(f"{where}: the account moves to another region", retry_after=wait)
    if status >= 500:
        return RetryableError(f"{where}: it fails on its side", retry_after=wait)
    codes = tuple(dict.fromkeys(_codes(body)))
    return RefusedError(f"{where}: the request is refused: {', '.join(codes) or 'no code'}", codes)


def _forbidden(where: str, body: dict[str, Any], *, is_json: bool) -> MarketingOpsError:
    if not is_json:
        return RetryableError(f"{where}: turned away before it reached the API")
    if body.get("category") == "MISSING_SCOPES":
        scopes = ", ".join(sorted(set(_scopes(body)))) or "those the stream needs"
        return FatalError(f"{where}: the app lacks a scope: grant it {scopes}")
    return FatalError(f"{where}: the app may not do this: check its scopes and the account's plan")


def _throttled(
    where: str, body: dict[str, Any], wait: float | None, reset_seconds: float
) -> MarketingOpsError:
    policy = str(body.get("policyName") or "")
    if policy == "DAILY":
        return QuotaExhaustedError(
            f"{where}: the account's calls of today are used up", reset_seconds=reset_seconds
        )
    # Without a policy it may be either of the short ones.
    asked = _WAITS.get(policy, _WAITS["TEN_SECONDLY_ROLLING"]) if wait is None else wait
    return ThrottledError(f"{where}: throttled ({_word(policy) or 'no policy'})", retry_after=asked)


def _scopes(body: dict[str, Any]) -> Iterator[str]:
    for item in (body, *_list(body.get("errors"))):
        context = item.get("context") if isinstance(item, dict) else None
        for name in ("requiredGranularScopes", "requiredScopes"):
            yield from filter(None, map(_word, _list((context or {}).get(name))))


def _codes(body: dict[str, Any]) -> Iterator[str]:
    """HubSpot's codes, and the properties they are about."""
    yield _word(body.get("category"))
    for item in _list(body.get("errors")):
        if not isinstance(item, dict):
            continue
        yield _word(item.get("code"))
        context = item.get("context")
        names = context.get("propertyName") if isinstance(context, dict) else None
        yield from filter(None, map(_word, _list(names)))


def _body(answer: Answer) -> dict[str, Any]:
    try:
        body = orjson.loads(answer.body)
    except orjson.JSONDecodeError:
        return {}
    return body if isinstance(body, dict) else {}


def _correlation(answer: Answer, body: dict[str, Any]) -> str:
    known = body.get("correlationId") or answer.header("X-HubSpot-Correlation-Id")
    return _word(known) or "none"


def _word(value: Any) -> str:
    """A code, a name or an id; "" for what could be a sentence with somebody's data in it."""
    return value if isinstance(value, str) and _WORD.fullmatch(value) else ""


def _list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []
