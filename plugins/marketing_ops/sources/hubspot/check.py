"""What `marketing-ops doctor` looks at in a HubSpot account, and what its limits are."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import UTC, datetime

from marketing_ops import clock
from marketing_ops.errors import FatalError
from marketing_ops.sources.base import Finding, Quota, Stream
from marketing_ops.sources.hubspot.client import (
    API_VERSION,
    HubSpotClient,
)
from marketing_ops.sources.hubspot.streams import STREAMS
from marketing_ops.sources.skew import clock_finding

SUPPORT_ENDS = datetime(2028, 3, 8, tzinfo=UTC)
"""Eighteen months after the version came out on 2026-09-08."""

_SEARCHED = ("objects", "deals")
_CALLS_A_PAGE = {"deals": 5, "consents": 2}
_DETAILS = f"/account-info/{API_VERSION}/details"
_PREFERENCES = f"/communication-preferences/{API_VERSION}/definitions"


def check(hubspot: HubSpotClient) -> Iterator[Finding]:
    """Login, API version, clock, what may be read, and the day's calls.

    Raises:
        FatalError, RetryableError: the account does not answer as it should.
    """
    answer = hubspot.http.call("GET", _DETAILS, is_read=True)
    yield Finding("login", True, f"reaches the account {hubspot.details().portal_id}")
    yield _version()
    yield clock_finding(answer)
    yield from _scopes(hubspot)
    yield _daily(hubspot)


def quota(hubspot: HubSpotClient, stream: Stream) -> Quota:
    """Pages a second that the account's limit allows, and its calls of a day.

    The day's are known after a first answer, and not at all under OAuth.
    """
    read = stream.api["read"]
    pace = hubspot.calls_per_second() / _CALLS_A_PAGE.get(read, 1)
    if read in _SEARCHED:
        pace = min(pace, hubspot.searches_per_second)
    return Quota(pace, hubspot.daily.limit, hubspot.daily.left)


def _version() -> Finding:
    is_ok = clock.now() < SUPPORT_ENDS
    says = f"API {API_VERSION}, supported until {SUPPORT_ENDS:%Y-%m}"
    return Finding("version", is_ok, says if is_ok else f"{says}: upgrade this package")


def _scopes(hubspot: HubSpotClient) -> Iterator[Finding]:
    """Each kind of record is asked for once: a list of scopes would not show what is refused."""
    readable = []
    for stream in STREAMS:
        try:
            _PROBES[stream.api["read"]](hubspot, stream)
        except FatalError as error:
            yield Finding("scopes", False, f"{stream.name}: {error}")
        else:
            readable.append(stream.name)
    if readable:
        yield Finding("scopes", True, f"may read {', '.join(readable)}")


def _object(hubspot: HubSpotClient, stream: Stream) -> None:
    params = {"limit": 1, "archived": str(bool(stream.deletes)).lower()}
    hubspot.get(f"/crm/objects/{API_VERSION}/{stream.api['object']}", params)


def _lists(hubspot: HubSpotClient, _stream: Stream) -> None:
    body = {"listIds": [], "processingTypes": [], "offset": 0, "count": 1}
    hubspot.ask(f"/crm/lists/{API_VERSION}/search", body)


def _path(path: str) -> Callable[[HubSpotClient, Stream], None]:
    def probe(hubspot: HubSpotClient, _stream: Stream) -> None:
        hubspot.get(path)

    return probe


_PROBES: dict[str, Callable[[HubSpotClient, Stream], None]] = {
    "objects": _object,
    "deals": _object,
    "archived": _object,
    "pipelines": _path(f"/crm/pipelines/{API_VERSION}/deals"),
    "owners": _path(f"/crm/owners/{API_VERSION}?limit=1"),
    "lists": _lists,
    "members": _lists,
    "consents": _path(_PREFERENCES),
    "events": _path("/email/public/v1/events?limit=1"),
}


def _daily(hubspot: HubSpotClient) -> Finding:
    limit, left = hubspot.daily.limit, hubspot.daily.left
    if limit is None or left is None:
        return Finding("quota", True, "calls of today unknown: HubSpot does not say under OAuth")
    says = f"{left:,} of {limit:,} calls left today"
    if hubspot.is_spent():
        return Finding("quota", False, f"{says}: our share is used up until the account's midnight")
    return Finding("quota", True, says)
