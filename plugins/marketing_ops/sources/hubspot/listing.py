"""What HubSpot lists as a whole: archived records, pipelines, owners, lists, members, consents."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from marketing_ops.errors import FatalError, RetryableError
from marketing_ops.sources.base import Page, ReadRequest, Stream
from marketing_ops.sources.hubspot import objects
from marketing_ops.sources.hubspot.answers import MissingError, RefusedError
from marketing_ops.sources.hubspot.client import API_VERSION, HubSpotClient
from marketing_ops.sources.hubspot.records import path_of
from marketing_ops.sources.paging import by_offset

STATIC = ("MANUAL", "SNAPSHOT")
CONTACTS_TYPE = "0-1"
_LISTS_PATH = f"/crm/lists/{API_VERSION}"
_STATUSES_PATH = f"/communication-preferences/{API_VERSION}/statuses/batch/read?channel=EMAIL"

Pages = Iterator[Page]
Said = dict[str, list[dict[str, Any]]]
"""Statuses by address in lower case."""


def archived(hubspot: HubSpotClient, stream: Stream, _request: ReadRequest) -> Pages:
    """All that was archived in the last 90 days, by id, whatever the window: it is no feed."""
    params = {"archived": "true"}
    for records in objects.listed(hubspot, path_of(stream), params, stream.name):
        found = [{key: one.get(key) for key in ("id", "archivedAt")} for one in records]
        yield Page(records=found, has_more=True)
    yield Page()


def pipelines(hubspot: HubSpotClient, stream: Stream, _request: ReadRequest) -> Pages:
    """The pipelines of deals, each with its stages."""
    answer = hubspot.get(f"/crm/pipelines/{API_VERSION}/deals")
    records = objects.results_of(hubspot, answer, stream.name)
    yield Page(records=[_pipeline(one) for one in records])


def _pipeline(record: dict[str, Any]) -> dict[str, Any]:
    stages = [_stage(one) for one in record.get("stages") or ()]
    return {**_without(record, "archived"), "stages": stages}


def _stage(record: dict[str, Any]) -> dict[str, Any]:
    metadata = record.get("metadata") or {}
    is_closed = {"true": True, "false": False}.get(str(metadata.get("isClosed")).lower())
    kept = _without(record, "archived", "metadata", "writePermissions")
    return {**kept, "isClosed": is_closed, "probability": metadata.get("probability")}


def owners(hubspot: HubSpotClient, stream: Stream, _request: ReadRequest) -> Pages:
    """Everybody who owns or owned records: those who left are listed apart."""
    for is_archived in ("false", "true"):
        params = {"archived": is_archived}
        path = f"/crm/owners/{API_VERSION}"
        for records in objects.listed(hubspot, path, params, stream.name):
            found = [_without(one, "userId") for one in records]
            yield Page(records=found, has_more=True)
    yield Page()


def lists(hubspot: HubSpotClient, stream: Stream, _request: ReadRequest) -> Pages:
    """The lists of every kind, with their sizes."""
    for found in _lists(hubspot, stream.page_size):
        records = [{"id": one.get("listId"), **_without(one, "listId")} for one in found]
        yield Page(records=records, has_more=True)
    yield Page()


def _lists(hubspot: HubSpotClient, size: int) -> Iterator[list[dict[str, Any]]]:
    def call(offset: int, count: int) -> tuple[list[Any], int | None]:
        body = {
            "listIds": [],
            "processingTypes": [],
            "offset": offset,
            "count": count,
            "additionalProperties": ["hs_list_size"],
        }
        answer = hubspot.ask(f"{_LISTS_PATH}/search", body)
        found = objects.results_of(hubspot, {"results": answer.get("lists")}, "lists")
        total = answer.get("total")
        if total and not found and total > offset:
            raise RetryableError(f"`{hubspot.name}` counts {total} lists and shows none")
        return found, total

    pages = by_offset(call, name="lists", size=size, overlap=1, key=lambda one: one.get("listId"))
    seen: set[str] = set()
    for records, _ in pages:
        yield [one for one in records if one.get("listId") not in seen]
        seen.update(str(one.get("listId")) for one in records)


def members(hubspot: HubSpotClient, stream: Stream, _request: ReadRequest) -> Pages:
    """Who is on each static list of contacts. A list that is gone meanwhile has nobody on it."""
    for found in list(_lists(hubspot, objects.READ_AT_A_TIME)):
        for one in found:
            is_wanted = one.get("processingType") in STATIC
            if is_wanted and one.get("objectTypeId") == CONTACTS_TYPE:
                yield from _members(hubspot, stream, str(one["listId"]))
    yield Page()


def _members(hubspot: HubSpotClient, stream: Stream, key: str) -> Pages:
    path = f"{_LISTS_PATH}/{key}/memberships/join-order"
    try:
        for records in objects.listed(hubspot, path, {}, stream.name, stream.page_size):
            found = [
                {
                    **one,
                    "id": f"{key}:{one['recordId']}",
                    "listId": key,
                    "recordId": one["recordId"],
                }
                for one in records
            ]
            yield Page(records=found, has_more=True)
    except MissingError:
        return


def consents(hubspot: HubSpotClient, stream: Stream, _request: ReadRequest) -> Pages:
    """What each contact with an address said about each subscription.

    Raises:
        FatalError: not one address is taken: then it is not the addresses.
    """
    path, is_taken = f"/crm/objects/{API_VERSION}/contacts", False
    for contacts in objects.listed(hubspot, path, {"properties": "email"}, stream.name):
        ids = {
            str(email).lower(): str(one["id"])
            for one in contacts
            if (email := (one.get("properties") or {}).get("email"))
        }
        said = _said(hubspot, stream, list(ids)) if ids else {}
        is_taken = is_taken or bool(said)
        if ids and not is_taken:
            raise FatalError(f"`{hubspot.name}` tells the consent of no address: nothing is stored")
        yield Page(records=list(_statuses(ids, said)), has_more=True)
    yield Page()


def _statuses(ids: dict[str, str], said: Said) -> Iterator[dict[str, Any]]:
    """The statuses of these addresses (address -> contact); the row does not keep the address."""
    for address, contact in ids.items():
        for status in said.get(address, ()):
            kept = _without(status, "subscriberIdString", "businessUnitId")
            key = f"{contact}:{status['subscriptionId']}"
            yield {**kept, "id": key, "contact_id": contact}


def _said(hubspot: HubSpotClient, stream: Stream, addresses: list[str]) -> Said:
    """The statuses by address.

    One that HubSpot refuses takes the others of its batch along: the batch is halved until it
    stands alone, and then it says nothing.
    """
    try:
        answer = hubspot.ask(_STATUSES_PATH, {"inputs": addresses})
    except RefusedError:
        if len(addresses) == 1:
            return {}
        middle = len(addresses) // 2
        halves = addresses[:middle], addresses[middle:]
        return _said(hubspot, stream, halves[0]) | _said(hubspot, stream, halves[1])
    results = objects.results_of(hubspot, answer, stream.name)
    found = {str(one["subscriberIdString"]).lower(): one["statuses"] for one in results}
    if not found.keys() >= set(addresses):
        raise RetryableError(f"`{hubspot.name}` answers for fewer addresses than it was asked for")
    return found


def _without(record: dict[str, Any], *names: str) -> dict[str, Any]:
    return {name: value for name, value in record.items() if name not in names}
