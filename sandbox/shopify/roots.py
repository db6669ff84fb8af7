"""The fields a query starts from."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from graphql import GraphQLError

from sandbox.shopify import paging, records
from sandbox.shopify.fields import LOCATION, asked, gid, plain
from sandbox.shopify.paging import Page, Stream
from sandbox.shopify.search import Filter, Search
from sandbox.shopify.world import Bulk, Run
from sandbox.zones import iso

NODES: dict[str, type[records.Record]] = {
    **records.KINDS,
    "ProductVariant": records.Variant,
    "InventoryItem": records.Stock,
}
RESULT_PATH = "/shopify/bulk"
EVENT_FILTERS = {
    "default": Filter("text", "d.subject_type"),
    "id": Filter("id", "d.id"),
    "created_at": Filter("time", "d.at"),
    "action": Filter("text", "'destroy'"),
    "subject_type": Filter("text", "d.subject_type"),
}


def _stream(name: str, stream: Stream) -> None:
    @asked("QueryRoot", name)
    def _page(_root: None, run: Run, **arguments: Any) -> Page:
        return paging.page(run, stream, **arguments)


def _count(name: str, stream: Stream) -> None:
    @asked("QueryRoot", name)
    def _counted(
        _root: None, run: Run, query: str | None = None, limit: int | None = 10_000
    ) -> dict[str, Any]:
        return paging.count(run, stream, query, limit)


for _name, _kind in (
    ("orders", paging.ORDERS),
    ("customers", paging.CUSTOMERS),
    ("products", paging.PRODUCTS),
    ("abandonedCheckouts", paging.CHECKOUTS),
):
    _stream(_name, _kind)
    _count(f"{_name}Count", _kind)
_stream("inventoryItems", paging.INVENTORY_ITEMS)


def key_of(identifier: str) -> tuple[str, int]:
    """Kind and number of a global id.

    Raises:
        GraphQLError: it is not one.
    """
    kind, _, tail = identifier.removeprefix("gid://shopify/").partition("/")
    tail = tail.partition("?")[0]
    if not identifier.startswith("gid://shopify/") or not tail.isdigit():
        raise GraphQLError(f"Invalid global id '{identifier}'")
    return kind, int(tail)


@asked("QueryRoot", "node")
def _node(_root: None, run: Run, id: str) -> Any:  # noqa: A002 - Shopify's name
    kind, key = key_of(id)
    if kind == "BulkOperation":
        return run.world.bulks.get(key)
    make = NODES.get(kind)
    row = records.find(run, make.kind, key) if make else None
    return make(run, key, row) if make and row else None


def _one(name: str, kind: str) -> None:
    @asked("QueryRoot", name)
    def _found(_root: None, run: Run, id: str) -> Any:  # noqa: A002 - Shopify's name
        return _node(None, run, id) if key_of(id)[0] == kind else None


for _name, _kind_name in (
    ("bulkOperation", "BulkOperation"),
    ("customer", "Customer"),
    ("order", "Order"),
    ("product", "Product"),
):
    _one(_name, _kind_name)


@asked("QueryRoot", "nodes")
def _nodes(_root: None, run: Run, ids: list[str]) -> list[Any]:
    if len(ids) > paging.MAX_PAGE:
        raise GraphQLError(f"The input array size of {len(ids)} is greater than the maximum")
    return [_node(None, run, one) for one in ids]


@asked("QueryRoot", "events")
def _events(
    _root: None,
    run: Run,
    first: int | None = None,
    after: str | None = None,
    query: str | None = None,
    reverse: bool | None = False,
    sortKey: str | None = None,  # noqa: N803 - Shopify's name
) -> Page:
    """Deletions: the only events the sandbox keeps."""
    search = Search(EVENT_FILTERS, run.world.local)
    found = search.condition(query or "")
    if search.warnings:
        run.search.append({"query": query, "warnings": search.warnings})
    direction = "desc" if reverse else "asc"
    rows = run.rows(
        "select d.id, d.at, d.subject_type, d.subject from deletions d"  # noqa: S608
        f" where d.at <= ? and {found.sql} order by d.at {direction}, d.id {direction}",
        [run.now, *found.parameters],
    )
    return paging.cut([_event(*row) for row in rows], first, after)


def _event(key: int, at: int, kind: str, subject: int) -> dict[str, Any]:
    name = kind.title()
    return {
        "__typename": "BasicEvent",
        "id": gid("BasicEvent", key),
        "action": "destroy",
        "createdAt": iso(at),
        "subjectId": gid(name, subject),
        "subjectType": kind,
        "message": f"{name} was deleted.",
        "appTitle": None,
        "author": "Sandbox",
        "attributeToApp": False,
        "attributeToUser": True,
        "criticalAlert": False,
        "hasAdditionalContent": False,
    }


@asked("QueryRoot", "locations")
def _locations(
    _root: None, _run: Run, first: int | None = None, after: str | None = None, **_options: Any
) -> Page:
    return paging.cut([LOCATION], first, after)


@asked("QueryRoot", "shop")
def _shop(_root: None, run: Run) -> dict[str, Any]:
    world = run.world
    local = datetime.fromtimestamp(run.now, world.local.zone)
    url = f"{world.base_url()}/shopify"
    return {
        "id": gid("Shop", 1),
        "name": world.name,
        "email": "hello@journey.example.com",
        "contactEmail": "hello@journey.example.com",
        "myshopifyDomain": "journey-market.myshopify.com",
        "currencyCode": world.currency,
        "enabledPresentmentCurrencies": [world.currency],
        "ianaTimezone": world.zone,
        "timezoneAbbreviation": local.tzname(),
        "timezoneOffset": f"{local:%z}",
        "timezoneOffsetMinutes": world.local.offset(run.now) // 60,
        "taxesIncluded": True,
        "url": url,
        "primaryDomain": {
            "id": gid("Domain", 1),
            "host": "journey-market.myshopify.com",
            "url": url,
            "sslEnabled": False,
        },
        "createdAt": iso(1_400_000_000),
        "updatedAt": iso(1_400_000_000),
        "weightUnit": "POUNDS",
        "unitSystem": "IMPERIAL_SYSTEM",
        "plan": {
            "partnerDevelopment": True,
            "shopifyPlus": False,
            "publicDisplayName": "Development",
        },
    }


# -- bulk operations and subscriptions -------------------------------------------------------------


@asked("QueryRoot", "bulkOperations")
def _bulks(
    _root: None, run: Run, first: int | None = None, after: str | None = None, **_options: Any
) -> Page:
    return paging.cut(list(run.world.bulks.values()), first, after)


@asked("QueryRoot", "currentBulkOperation")
def _current(_root: None, run: Run, **_options: Any) -> Bulk | None:
    return next(reversed(run.world.bulks.values()), None)


def result_url(bulk: Bulk, base: str) -> str | None:
    """Where a finished operation's lines can be fetched; None when there are none."""
    if bulk.path is None or not bulk.objects:
        return None
    name = f"bulk-{bulk.key}.jsonl"
    disposition = f"attachment%3B+filename%3D%22{name}%22%3B+filename%2A%3DUTF-8%27%27{name}"
    return (
        f"{base}{RESULT_PATH}/{name}?response-content-disposition={disposition}"
        "&response-content-type=application%2Fjsonl"
    )


plain(
    "BulkOperation",
    id=lambda one: gid("BulkOperation", one.key),
    status=lambda one: one.status,
    type=lambda one: "QUERY",
    query=lambda one: one.query,
    errorCode=lambda one: one.error_code,
    objectCount=lambda one: str(one.objects),
    rootObjectCount=lambda one: str(one.roots),
    createdAt=lambda one: iso(one.created_at),
    completedAt=lambda one: iso(one.completed_at) if one.completed_at else None,
    fileSize=lambda one: (
        str(one.path.stat().st_size) if one.path and one.status == "COMPLETED" else None
    ),
)


@asked("BulkOperation", "url")
def _url(one: Bulk, run: Run) -> str | None:
    return result_url(one, run.world.base_url()) if one.status == "COMPLETED" else None


@asked("BulkOperation", "partialDataUrl")
def _partial_url(one: Bulk, run: Run) -> str | None:
    is_over = one.status in ("FAILED", "CANCELED", "EXPIRED")
    return result_url(one, run.world.base_url()) if is_over and one.partial else None


def subscription(key: int, at: int, topic: str, uri: str) -> dict[str, Any]:
    """A webhook subscription as the API shows it."""
    return {
        "__typename": "WebhookSubscription",
        "id": gid("WebhookSubscription", key),
        "legacyResourceId": str(key),
        "topic": topic,
        "uri": uri,
        "callbackUrl": uri,
        "format": "JSON",
        "filter": "",
        "name": None,
        "includeFields": [],
        "createdAt": iso(at),
        "updatedAt": iso(at),
    }


@asked("QueryRoot", "webhookSubscriptions")
def _subscriptions(
    _root: None, run: Run, first: int | None = None, after: str | None = None, **_options: Any
) -> Page:
    rows = run.rows("select id, at, topic, uri from subscriptions order by id")
    return paging.cut([subscription(*row) for row in rows], first, after)
