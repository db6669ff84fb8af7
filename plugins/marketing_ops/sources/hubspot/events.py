"""What became of each copy of a marketing e-mail, from the legacy events API: none other tells."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from marketing_ops.errors import FatalError, RetryableError
from marketing_ops.sources.base import Page, ReadRequest, Stream
from marketing_ops.sources.hubspot.client import HubSpotClient
from marketing_ops.sources.hubspot.records import iso, to_ms
from marketing_ops.sources.paging import by_token

PATH = "/email/public/v1/events"
_KEPT_OUT = frozenset(
    {"id", "created", "portalId", "appId", "smtpId", "hmid", "browser", "location", "ipAddress"}
    | {"from", "replyTo", "cc", "bcc", "requestedBy"}
)
"""Of no use, or personal data that no KPI needs."""


def read(hubspot: HubSpotClient, stream: Stream, request: ReadRequest) -> Iterator[Page]:
    """The events of a window, newest first; `state` names the next page of the same window."""
    resume = request.resume or {}
    until = int(resume.get("until", to_ms(request.until)))
    start = 0 if request.since is None else to_ms(request.since)
    window = {"startTimestamp": start, "endTimestamp": until, "limit": stream.page_size}

    def call(offset: str | None) -> tuple[list[Any], str | None]:
        answer = hubspot.get(PATH, {**window, **({"offset": offset} if offset else {})})
        events = answer.get("events")
        if not isinstance(events, list):
            raise FatalError(f"`{hubspot.name}` answers without events: its contract is broken")
        following = str(answer.get("offset") or "") if answer.get("hasMore") else None
        if following == "":
            raise RetryableError(f"`{hubspot.name}` has more events and does not say where")
        return events, following

    for events, offset in by_token(call, name=stream.name, token=resume.get("offset")):
        yield Page(
            records=[_record(one) for one in events],
            state={"offset": offset, "until": until} if offset else None,
            has_more=offset is not None,
        )


def _record(event: Any) -> Any:
    """An event under its key: HubSpot says that only time and id together are unique."""
    if not isinstance(event, dict):
        return event
    created = event.get("created")
    kept = {name: value for name, value in event.items() if name not in _KEPT_OUT}
    return {
        **kept,
        "id": f"{created}:{event['id']}" if event.get("id") else None,
        "created": iso(created) if type(created) is int else created,
    }
