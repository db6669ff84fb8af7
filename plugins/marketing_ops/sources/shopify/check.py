"""What `marketing-ops doctor` looks at in a shop."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from marketing_ops.errors import FatalError
from marketing_ops.sources.base import Finding
from marketing_ops.sources.httpclient import Answer
from marketing_ops.sources.shopify import answers
from marketing_ops.sources.shopify.client import API_VERSION, PATH, ShopifyClient
from marketing_ops.sources.shopify.pages import page_query, search
from marketing_ops.sources.shopify.streams import STREAMS
from marketing_ops.sources.skew import clock_finding

_QUERY = b'{"query": "{shop{name}}"}'


def check(shop: ShopifyClient) -> Iterator[Finding]:
    """Login, API version, clock, what may be read, and the bucket of query cost.

    Raises:
        FatalError, RetryableError: the shop does not answer as it should.
    """
    answer = shop.http.call("POST", PATH, body=_QUERY, is_read=True)
    data, cost = answers.data_of(shop.name, answer)
    yield Finding("login", True, f"reaches the shop {(data.get('shop') or {}).get('name')}")
    yield _version(answer)
    yield clock_finding(answer)
    yield from _scopes(shop)
    yield _quota(cost)


def _version(answer: Answer) -> Finding:
    """Shopify answers with its oldest version when the one asked for is no longer served."""
    served = answer.header("X-Shopify-API-Version")
    if served in ("", API_VERSION):
        return Finding("version", True, f"API {API_VERSION}")
    return Finding(
        "version",
        False,
        f"the shop serves API {served} instead of {API_VERSION}: upgrade this package",
    )


def _scopes(shop: ShopifyClient) -> Iterator[Finding]:
    """Each stream's own query for one record: a list of scopes would not show what is refused.

    `read_all_orders` cannot be seen this way: without it older orders are left out silently.
    """
    readable = []
    for stream in STREAMS:
        text = search(stream, None, None) or None
        try:
            shop.query(page_query(stream), {"n": 1, "after": None, "q": text})
        except FatalError as error:
            yield Finding("scopes", False, f"{stream.name}: {error}")
        else:
            readable.append(stream.name)
    if readable:
        yield Finding("scopes", True, f"may read {', '.join(readable)}")


def _quota(cost: dict[str, Any]) -> Finding:
    status = cost.get("throttleStatus") or {}
    if not status:
        return Finding("quota", True, "unknown: the shop does not say")
    left, most = (float(status.get(key) or 0) for key in ("currentlyAvailable", "maximumAvailable"))
    rate = float(status.get("restoreRate") or 0)
    return Finding(
        "quota", True, f"{left:,.0f} of {most:,.0f} points left, {rate:,.0f} more each second"
    )
