"""Deals: search names them, three more calls a page show them with history and associations."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from marketing_ops.errors import FatalError
from marketing_ops.sources.base import Page, ReadRequest, Stream
from marketing_ops.sources.hubspot import objects, records, search
from marketing_ops.sources.hubspot.client import API_VERSION, HubSpotClient
from marketing_ops.sources.hubspot.records import Record

HISTORIES_AT_A_TIME = 50
PRIMARY_COMPANY = 5
"""The association type of a deal's primary company, as HubSpot defines it (2026-09)."""


def read(hubspot: HubSpotClient, stream: Stream, request: ReadRequest) -> Iterator[Page]:
    """A window by time of change, or everything (or a part of it) by id, each deal as it is now."""
    pages = search.by_id if request.is_full else search.by_change
    for found, state in pages(hubspot, stream, request):
        damaged = [one for one in found if records.id_of(one) is None]
        ids = [str(one["id"]) for one in found if records.id_of(one) is not None]
        whole = [records.flat(stream, one) for one in damaged] + fetch(hubspot, stream, ids)
        yield Page(records=whole, state=state, has_more=state is not None)


def fetch(hubspot: HubSpotClient, stream: Stream, ids: list[str]) -> list[Record]:
    """The deals with these ids, each with stage history, contacts and company."""
    found: list[Record] = []
    for start in range(0, len(ids), objects.READ_AT_A_TIME):
        some = ids[start : start + objects.READ_AT_A_TIME]
        contacts = associated(hubspot, "deals", "contacts", some)
        companies = associated(hubspot, "deals", "companies", some)
        for deal in _with_history(hubspot, stream, some):
            key = str(deal.get("id"))
            deal["contact_ids"] = [target for target, _ in contacts.get(key, ())]
            linked = sorted(companies.get(key, ()), key=lambda one: PRIMARY_COMPANY not in one[1])
            deal["company_id"] = linked[0][0] if linked else None
            if not deal.get("deal_currency_code"):
                # An account with one currency names it on no deal.
                deal["deal_currency_code"] = hubspot.details().currency
            found.append(deal)
    return found


def _with_history(hubspot: HubSpotClient, stream: Stream, ids: list[str]) -> Iterator[Record]:
    for start in range(0, len(ids), HISTORIES_AT_A_TIME):
        body = {
            "properties": records.names_of(stream),
            "propertiesWithHistory": ["dealstage"],
            "inputs": [{"id": key} for key in ids[start : start + HISTORIES_AT_A_TIME]],
        }
        answer = hubspot.ask(f"{records.path_of(stream)}/batch/read", body)
        for record in objects.results_of(hubspot, answer, stream.name):
            deal = records.flat(stream, record)
            if isinstance(deal, dict):
                histories = record.get("propertiesWithHistory")
                if isinstance(histories, dict) and "dealstage" in histories:
                    deal["stages"] = list(_entries(str(deal.get("id")), histories["dealstage"]))
            yield deal


def _entries(deal: str, history: Any) -> Iterator[Record]:
    """What the stage was and since when, newest first; when it was emptied is no entry."""
    for entry in history if isinstance(history, list) else ():
        stage, entered_at = entry.get("value"), entry.get("timestamp")
        if stage and entered_at:
            yield {
                "id": f"{deal}:{records.ms_of(entered_at)}:{stage}",
                "stage_id": stage,
                "entered_at": records.instant(entered_at),
            }


def associated(
    hubspot: HubSpotClient, kind: str, other: str, ids: list[str]
) -> dict[str, list[tuple[str, set[int]]]]:
    """What is associated with each of these objects: ids in HubSpot's order, and how (type ids)."""
    found: dict[str, list[tuple[str, set[int]]]] = {}
    path = f"/crm/associations/{API_VERSION}/{kind}/{other}/batch/read"
    inputs: list[dict[str, str]] = [{"id": key} for key in ids]
    while inputs:
        answer = hubspot.ask(path, {"inputs": inputs})
        inputs = []
        for result in objects.results_of(hubspot, answer, f"{other} of {kind}"):
            key = str(result["from"]["id"])
            targets = found.setdefault(key, [])
            known = {target for target, _ in targets}
            for one in result["to"]:
                target = str(one["toObjectId"])
                if target not in known:
                    types = {int(item["typeId"]) for item in one.get("associationTypes") or ()}
                    targets.append((target, types))
            after = ((result.get("paging") or {}).get("next") or {}).get("after")
            if after and len(targets) == len(known):
                raise FatalError(f"`{hubspot.name}` repeats a page of {other}: it would not end")
            if after:
                inputs.append({"id": key, "after": str(after)})
    return found
