"""CRM objects: read by search, listed and fetched by id."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from marketing_ops.errors import FatalError, RetryableError
from marketing_ops.sources.base import Key, Page, ReadRequest, Stream
from marketing_ops.sources.hubspot import search
from marketing_ops.sources.hubspot.client import HubSpotClient
from marketing_ops.sources.hubspot.records import Record, flat, names_of, path_of
from marketing_ops.sources.paging import by_cursor

READ_AT_A_TIME = 100
_LISTED = 100


def read(hubspot: HubSpotClient, stream: Stream, request: ReadRequest) -> Iterator[Page]:
    """A window by time of change, or everything (or a part of it) by id."""
    if request.is_full:
        found = search.by_id(hubspot, stream, request)
    else:
        found = search.by_change(hubspot, stream, request)
    for records, state in found:
        records = [flat(stream, record) for record in records]
        yield Page(records=records, state=state, has_more=state is not None)


def keys(
    hubspot: HubSpotClient, stream: Stream, part: Mapping[str, Any] | None
) -> Iterator[list[Key]]:
    """The keys of every record, from the list, which knows nothing of search and its delay.

    The list cannot be cut by id: the first part stands for all.
    """
    if part is not None and part["from"] is not None:
        return
    modified = stream.api["modified"]
    for records in listed(hubspot, path_of(stream), {"properties": modified}, stream.name):
        yield [
            (str(record["id"]), str((record.get("properties") or {}).get(modified) or ""))
            for record in records
        ]


def listed(
    hubspot: HubSpotClient, path: str, params: Mapping[str, Any], name: str, size: int = _LISTED
) -> Iterator[list[Record]]:
    """The pages of a list, each naming the next one."""

    def call(after: str | None) -> tuple[list[Any], str | None]:
        more = {"after": after} if after else {}
        answer = hubspot.get(path, {"limit": size, **params, **more})
        following = ((answer.get("paging") or {}).get("next") or {}).get("after")
        records = results_of(hubspot, answer, name)
        if following and not records:
            raise RetryableError(f"`{hubspot.name}` shows an empty page of {name} and more behind")
        return records, following

    for records, _ in by_cursor(call, name=name):
        yield records


def results_of(hubspot: HubSpotClient, answer: Mapping[str, Any], name: str) -> list[Any]:
    """The `results` of an answer; a batch has to be complete.

    Raises:
        RetryableError: it is not. FatalError: there are none.
    """
    results, status = answer.get("results"), answer.get("status", "COMPLETE")
    if status != "COMPLETE":
        raise RetryableError(f"`{hubspot.name}` has not finished a batch of {name}")
    for error in answer.get("errors") or ():
        if not isinstance(error, dict) or error.get("category") != "OBJECT_NOT_FOUND":
            raise RetryableError(f"`{hubspot.name}` could not show a part of a batch of {name}")
    if not isinstance(results, list):
        raise FatalError(f"`{hubspot.name}` answers without {name}: its contract is broken")
    return results


def fetch(hubspot: HubSpotClient, stream: Stream, ids: list[str]) -> list[Record]:
    """The records with these ids; what is gone is left out."""
    found: list[Record] = []
    for start in range(0, len(ids), READ_AT_A_TIME):
        some = ids[start : start + READ_AT_A_TIME]
        body = {
            "properties": names_of(stream),
            "propertiesWithHistory": [],
            "inputs": [{"id": key} for key in some],
        }
        answer = hubspot.ask(f"{path_of(stream)}/batch/read", body)
        found += [flat(stream, one) for one in results_of(hubspot, answer, stream.name)]
    return found
