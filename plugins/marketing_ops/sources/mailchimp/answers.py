"""The one place that says what an answer of Mailchimp means (Marketing API 3.0, 2026-11)."""

from __future__ import annotations

from typing import Any

import orjson

from marketing_ops.errors import FatalError, RetryableError
from marketing_ops.sources.answer import Answer, ThrottledError, raise_for_status

_MEANINGS = {
    401: (
        "the API key is refused: create one in Mailchimp (Account > Extras > API keys) and put it"
        " into the connection's password; its suffix has to be the account's data center"
    ),
    403: "the key's user may not do this: give it a role that may read audiences and reports",
}

_REFUSALS = {
    "compliance state": "compliance_state",
    "forgotten email": "forgotten_email",
    "permanently deleted": "forgotten_email",
    "lot of lists": "recent_signups",
    "not in this segment": "not_in_segment",
    "not a member": "not_found",
    "not subscribed": "not_subscribed",
    "does not exist": "not_found",
    "not found": "not_found",
    "fake or invalid": "invalid_address",
    "valid email": "invalid_address",
    "already a list member": "exists",
    "invalid resource": "invalid",
}
"""Words in what Mailchimp says about one recipient, and ours for it."""

_RECENT_SIGNUPS = "signed up to a lot of lists very recently"


class GoneError(FatalError):
    """What was asked for is not there (404)."""


class RecipientRefusedError(FatalError):
    """Mailchimp takes nothing for this recipient, now or later; `code` is our word for why."""

    def __init__(self, message: str, *, code: str) -> None:
        super().__init__(message)
        self.code = code


class RecipientBusyError(RetryableError):
    """Mailchimp takes nothing for this recipient for some hours, and anything for others."""


def check(name: str, answer: Answer) -> None:
    """Raise for a status that is no success; messages show the request's id and no text of it.

    Raises:
        ThrottledError: more than ten connections at once (no Retry-After is sent), or the edge in
            front of the API answers 403 or 429 with a web page.
        RecipientRefusedError, RecipientBusyError: what a 400 says about one recipient.
        GoneError: 404. TokenRefusedError: 401. FatalError: refused. RetryableError: 5xx.
    """
    status = answer.status
    if status < 300:
        return
    who = f"{name}, request {answer.header('X-Request-Id') or 'without id'}"
    is_json = "json" in answer.header("Content-Type")
    if status == 429 or (status == 403 and not is_json):
        place = "" if is_json else " at its edge"
        raise ThrottledError(
            f"`{who}` is throttled{place} ({status}): Mailchimp allows ten connections at once",
            retry_after=answer.retry_after(),
        )
    if status == 404:
        raise GoneError(f"`{who}` answers 404: there is no such audience, campaign or member")
    if status == 400 and is_json:
        _check_recipient(who, _problem(answer))
    raise_for_status(who, answer, _MEANINGS)


def refusal_of(text: Any) -> str:
    """Our word for what Mailchimp says about one recipient; its own text may hold the address."""
    said = str(text or "").lower()
    return next((code for words, code in _REFUSALS.items() if words in said), "refused")


def _check_recipient(who: str, problem: dict[str, Any]) -> None:
    title, detail = str(problem.get("title") or ""), str(problem.get("detail") or "")
    if _RECENT_SIGNUPS in detail.lower():
        raise RecipientBusyError(
            f"`{who}` takes this recipient later (400: signed up to a lot of lists very recently)",
            retry_after=3600.0,
        )
    code = refusal_of(f"{title} {detail}")
    if code != "refused":
        raise RecipientRefusedError(f"`{who}` refuses this for good (400, {code})", code=code)


def _problem(answer: Answer) -> dict[str, Any]:
    try:
        problem = orjson.loads(answer.body)
    except orjson.JSONDecodeError:
        return {}
    return problem if isinstance(problem, dict) else {}
