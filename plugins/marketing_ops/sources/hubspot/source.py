"""What the product knows of HubSpot: its connection form, client, readers, writers and streams."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

from marketing_ops.sources.base import ConnectionForm, FormField, Page, ReadRequest, Source, Stream
from marketing_ops.sources.hubspot import (
    check,
    client,
    deals,
    events,
    listing,
    objects,
    search,
    write,
)
from marketing_ops.sources.hubspot.streams import STREAMS

_READERS: dict[str, Callable[[Any, Stream, ReadRequest], Iterator[Page]]] = {
    "objects": objects.read,
    "deals": deals.read,
    "archived": listing.archived,
    "pipelines": listing.pipelines,
    "owners": listing.owners,
    "lists": listing.lists,
    "members": listing.members,
    "consents": listing.consents,
    "events": events.read,
}
_SEARCHED = ("objects", "deals")


def read(hubspot: Any, stream: Stream, request: ReadRequest) -> Iterator[Page]:
    """Read a stream by the reader it names."""
    return _READERS[stream.api["read"]](hubspot, stream, request)


def count(hubspot: Any, stream: Stream, part: Mapping[str, Any] | None) -> int | None:
    """How many there are by search; None for what only a list or the events API shows."""
    return search.count(hubspot, stream, part) if stream.api["read"] in _SEARCHED else None


def fetch(hubspot: Any, stream: Stream, ids: list[str]) -> list[dict[str, Any]]:
    """Records by id, as a page has them."""
    by_id = deals.fetch if stream.api["read"] == "deals" else objects.fetch
    return by_id(hubspot, stream, ids)


HUBSPOT = Source(
    system="hubspot",
    form=ConnectionForm(
        conn_type="marketing_ops_hubspot",
        hook_name="Marketing Ops: HubSpot",
        hook_class="marketing_ops.sources.hubspot.hook.HubSpotHook",
        hidden=("schema", "port", "extra"),
        relabeling={
            "host": "API (empty: api.hubapi.com)",
            "login": "Client id (empty with an access token)",
            "password": "Access token or client secret",
        },
        placeholders={"host": client.HOST, "password": "pat-..."},
        fields={
            "refresh_token": FormField(
                "Refresh token",
                "of the app's installation; only beside a client id",
                is_secret=True,
            ),
            "searches_per_second": FormField(
                "Searches a second",
                "what the account may do; HubSpot says 5 and shows it nowhere",
                "number",
                client.SEARCHES_PER_SECOND,
            ),
        },
    ),
    client=client.build,
    read=read,
    streams=STREAMS,
    count=count,
    slices=search.slices,
    keys=objects.keys,
    fetch=fetch,
    quota=check.quota,
    check=check.check,
    writers={
        "task": write.tasks,
        "list_members": write.list_members,
        "contacts": write.contacts,
    },
    has_webhooks=True,
)
