"""The one place that says what an answer of Shopify means. HTTP 200 is not success."""

from __future__ import annotations

from typing import Any

from marketing_ops.errors import FatalError, RetryableError
from marketing_ops.sources.httpclient import Answer, ThrottledError, json_of, raise_for_status

_MEANINGS = {
    400: "the request was refused as malformed",
    401: (
        "the access token is refused: create a new one in the shop's admin (Settings > Apps >"
        " Develop apps) and put it into the connection's password"
    ),
    402: "the shop is frozen for an unpaid bill: its owner has to settle it",
    403: "the app lacks a scope: grant read_customers, read_orders and read_products to it",
    404: "no such shop or API version: check the connection's host (example.myshopify.com)",
    423: "the shop is locked: its owner has to ask Shopify's support",
    430: "Shopify's security rejects the request: see whether this machine's address is blocked",
}


class BucketEmptyError(ThrottledError):
    """The bucket is too empty for the query; `retry_after` is when it is full enough."""


class TooCostlyError(FatalError):
    """A single query costs more than Shopify ever allows: ask for fewer records at a time."""


def check_status(name: str, answer: Answer) -> None:
    """Raise for an HTTP status that is no success (Shopify response codes, 2026-10)."""
    raise_for_status(name, answer, _MEANINGS)


def data_of(name: str, answer: Answer) -> tuple[dict[str, Any], dict[str, Any]]:
    """The `data` and `extensions.cost` of a GraphQL answer that succeeded.

    Raises:
        BucketEmptyError, TooCostlyError, RetryableError, FatalError: by `errors[].extensions.code`.
    """
    body = json_of(name, answer)
    if not isinstance(body, dict):
        raise FatalError(f"`{name}` answers something that is no GraphQL answer")
    cost = (body.get("extensions") or {}).get("cost") or {}
    if body.get("errors"):
        raise error_of(name, body["errors"], cost)
    data = body.get("data")
    if not isinstance(data, dict):
        raise FatalError(f"`{name}` answers without data and without errors")
    return data, cost


def error_of(name: str, errors: Any, cost: dict[str, Any]) -> FatalError | RetryableError:
    """The error that a GraphQL `errors` list stands for; shows its codes, never its messages."""
    listed = errors if isinstance(errors, list) else [errors]
    codes = [_code(item) for item in listed]
    if "THROTTLED" in codes:
        return BucketEmptyError(f"`{name}` is throttled", retry_after=_refill_seconds(cost))
    if "MAX_COST_EXCEEDED" in codes:
        return TooCostlyError(f"`{name}`: one query costs more than Shopify allows")
    if any(code in ("INTERNAL_SERVER_ERROR", "TIMEOUT") for code in codes):
        return RetryableError(f"`{name}` fails on its side ({codes[0]})")
    if "ACCESS_DENIED" in codes:
        fields = sorted({_path(item) for item in listed} - {""})
        return FatalError(
            f"`{name}`: the app may not read {', '.join(fields) or 'this'}: grant it the scope in"
            " the shop's admin (Settings > Apps > Develop apps)"
        )
    return FatalError(f"`{name}` refuses the query ({', '.join(sorted(set(codes)))})")


def check_user_errors(name: str, payload: dict[str, Any]) -> None:
    """Raise for a mutation's `userErrors`: such a request is rejected although it answers 200."""
    errors = payload.get("userErrors") or []
    if not errors:
        return
    codes = sorted({str(item.get("code") or "INVALID") for item in errors})
    if set(codes) <= {"OPERATION_IN_PROGRESS", "LIMIT_REACHED"}:
        raise RetryableError(
            f"`{name}` runs as many bulk operations as it may ({', '.join(codes)})",
            retry_after=60.0,
        )
    raise FatalError(f"`{name}` rejects the request ({', '.join(codes)})")


def _code(item: Any) -> str:
    extensions = item.get("extensions") if isinstance(item, dict) else None
    return str((extensions or {}).get("code") or "UNKNOWN")


def _path(item: Any) -> str:
    path = item.get("path") if isinstance(item, dict) else None
    return ".".join(str(part) for part in path) if path else ""


def _refill_seconds(cost: dict[str, Any]) -> float:
    status = cost.get("throttleStatus") or {}
    missing = float(cost.get("requestedQueryCost") or 0) - float(
        status.get("currentlyAvailable") or 0
    )
    return max(missing / float(status.get("restoreRate") or 50.0), 0.1)
