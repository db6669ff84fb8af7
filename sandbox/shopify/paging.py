"""Connections: filter, sort and page through records with Shopify's limits."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from graphql import GraphQLError

from sandbox.shopify import records
from sandbox.shopify.search import Condition, Filter, Search
from sandbox.shopify.world import Run

MAX_PAGE = 250
MAX_PAGED = 25_000
"""Paging stops here without a word: hasNextPage turns false (limits page, 2026-10)."""


@dataclass
class Page:
    """One page: items, what their cursors hold, and whether more follow."""

    items: Sequence[Any]
    keys: Sequence[tuple[Any, int, int]]
    has_next: bool
    has_previous: bool

    def cursor(self, index: int) -> str | None:
        """The cursor of one of the items; None on an empty page."""
        return encode(*self.keys[index]) if self.keys else None


@dataclass(frozen=True)
class Stream:
    """What a root connection reads and by what it may be sorted and searched."""

    kind: str
    make: Callable[..., records.Record]
    sorts: dict[str, str]
    filters: dict[str, Filter]
    default_sort: str = "ID"


CUSTOMERS = Stream(
    "customer",
    records.Customer,
    {"UPDATED_AT": "v.at", "ID": "v.id", "CREATED_AT": "v.id", "RELEVANCE": "v.id"},
    {
        "default": Filter("text", "(select document from people where people.id = v.id)"),
        "id": Filter("id", "v.id"),
        "updated_at": Filter("day", "v.at"),
        "customer_date": Filter(
            "time", "(select min(f.at) from customer_versions f where f.id = v.id)"
        ),
        "orders_count": Filter("id", "v.orders"),
        "email": Filter("text", "(select document ->> 'email' from people where people.id = v.id)"),
        "tag": Filter(
            "tag",
            "coalesce(v.patch ->> 'tags', (select document ->> 'tags' from people"
            " where people.id = v.id))",
        ),
    },
)
ORDERS = Stream(
    "order",
    records.Order,
    {
        "UPDATED_AT": "v.at",
        "PROCESSED_AT": "o.at",
        "CREATED_AT": "o.at",
        "ID": "v.id",
        "ORDER_NUMBER": "o.number",
        "TOTAL_PRICE": "o.net",
    },
    {
        "default": Filter("text", "o.name"),
        "id": Filter("id", "v.id"),
        "updated_at": Filter("time", "v.at"),
        "created_at": Filter("time", "o.at"),
        "processed_at": Filter("time", "o.at"),
        "customer_id": Filter("id", "(o.person * o.is_registered)"),
        "name": Filter("text", "o.name"),
        "test": Filter("flag", "coalesce(v.patch ->> 'test', 0)"),
        "tag": Filter("tag", "('\"' || o.label || '\"')"),
        "discount_code": Filter("tag", "o.codes"),
    },
    "PROCESSED_AT",
)
PRODUCTS = Stream(
    "product",
    records.Product,
    {"UPDATED_AT": "v.at", "CREATED_AT": "p.at", "ID": "v.id", "INVENTORY_TOTAL": "v.stock"},
    {
        "default": Filter("text", "(p.document ->> 'title')"),
        "id": Filter("id", "v.id"),
        "updated_at": Filter("time", "v.at"),
        "created_at": Filter("time", "p.at"),
        "inventory_total": Filter("id", "v.stock"),
        "status": Filter("text", "coalesce(v.patch ->> 'status', 'active')"),
        "sku": Filter("text", "(p.document ->> 'sku')"),
        "product_type": Filter("text", "(p.document ->> 'category')"),
        "vendor": Filter("text", "(p.document ->> 'vendor')"),
        "title": Filter("text", "(p.document ->> 'title')"),
    },
)
INVENTORY_ITEMS = Stream(
    "product",
    records.Stock,
    {"ID": "v.id"},
    {
        "default": Filter("text", "(p.document ->> 'sku')"),
        "id": Filter("id", "v.id"),
        "updated_at": Filter("time", "v.at"),
        "created_at": Filter("time", "p.at"),
        "sku": Filter("text", "(p.document ->> 'sku')"),
    },
)
LEVELS = Stream("product", records.Level, {"ID": "v.id"}, PRODUCTS.filters)
CHECKOUTS = Stream(
    "checkout",
    records.Checkout,
    {"CREATED_AT": "c.at", "ID": "v.id"},
    {
        "default": Filter("text", "('#C' || c.number)"),
        "id": Filter("id", "v.id"),
        "created_at": Filter("time", "c.at"),
        "updated_at": Filter("time", "v.at"),
        "status": Filter("text", "iif(v.completed_at is null, 'open', 'closed')"),
        "recovery_state": Filter(
            "text", "iif(v.completed_at is null, 'not_recovered', 'recovered')"
        ),
    },
)


def page(
    run: Run,
    stream: Stream,
    *,
    first: int | None = None,
    after: str | None = None,
    query: str | None = None,
    reverse: bool | None = False,
    sortKey: str | None = None,  # noqa: N803 - Shopify's name
    only: Condition | None = None,
) -> Page:
    """The next page of a stream as it is at the request's instant.

    Raises:
        GraphQLError: `first` is missing or too large, the cursor or the sort key is unknown.
    """
    size = page_size(first)
    column = stream.sorts.get(sortKey or stream.default_sort)
    if column is None:
        raise GraphQLError(f"sort key {sortKey} is not served by the sandbox")
    where = _where(run, stream, query, only, column)
    position = 0
    sign, direction = ("<", "desc") if reverse else (">", "asc")
    if after is not None:
        value, key, position = decode(after)
        where.sql += f" and ({column}, v.id) {sign} (?, ?)"
        where.parameters += [value, key]
    limit = max(min(size + 1, MAX_PAGED + 1 - position), 0)
    rows = run.rows(
        f"select {column}, {records.COLUMNS[stream.kind]}"  # noqa: S608 - constants, parameters
        f" from {records.FROM[stream.kind]} where {where.sql}"
        f" order by {column} {direction}, v.id {direction} limit {limit}",
        where.parameters,
    )
    kept = rows[: min(size, MAX_PAGED - position)]
    found = Page(
        [stream.make(run, row[1], row[1:]) for row in kept],
        [(row[0], row[1], position + index) for index, row in enumerate(kept, 1)],
        len(rows) > len(kept) and position + len(kept) < MAX_PAGED,
        position > 0,
    )
    run.pages.append(found)
    return found


def count(run: Run, stream: Stream, query: str | None, limit: int | None) -> dict[str, Any]:
    """How many records match: exact up to `limit`, else at least that; null is no limit."""
    bound = -1 if limit is None else limit
    where = _where(run, stream, query, None)
    ((found,),) = run.rows(
        f"select count(*) from (select 1 from {records.FROM[stream.kind]}"  # noqa: S608
        f" where {where.sql} limit {bound})",
        where.parameters,
    )
    return {"count": found, "precision": "AT_LEAST" if found == bound else "EXACT"}


def select_all(run: Run, stream: Stream, query: str | None, sort: str) -> tuple[str, list[Any]]:
    """The statement and parameters that read a whole stream, for a bulk operation."""
    where = _where(run, stream, query, None)
    column = stream.sorts.get(sort, "v.id")
    statement = (
        f"select {records.COLUMNS[stream.kind]} from {records.FROM[stream.kind]}"  # noqa: S608
        f" where {where.sql} order by {column}, v.id"
    )
    return statement, where.parameters


def page_size(first: int | None) -> int:
    """The checked page size of a connection."""
    if first is None:
        raise GraphQLError("you must provide one of first or last")
    if not 0 < first <= MAX_PAGE:
        raise GraphQLError(f"first must be between 1 and {MAX_PAGE}")
    return first


def cut(items: Sequence[Any], first: int | None, after: str | None) -> Page:
    """A page of a list that is already in memory."""
    size = page_size(first)
    start = decode(after)[2] if after else 0
    kept = items[start : start + size]
    keys = [(0, 0, start + index) for index in range(1, len(kept) + 1)]
    return Page(kept, keys, start + size < len(items), start > 0)


def encode(value: int | str, key: int, position: int) -> str:
    """A cursor: where the page ended, and how far into the list that was."""
    text = json.dumps([value, key, position])
    return base64.urlsafe_b64encode(text.encode()).decode()


def decode(cursor: str) -> tuple[Any, int, int]:
    """What `encode` wrote."""
    try:
        value, key, position = json.loads(base64.urlsafe_b64decode(cursor))
    except ValueError as error:
        raise GraphQLError("Invalid cursor for current pagination sort.") from error
    return value, int(key), int(position)


def _where(
    run: Run, stream: Stream, query: str | None, only: Condition | None, column: str = "v.at"
) -> Condition:
    # The plus keeps SQLite from taking the index on `at` where another order is asked for.
    plus = "" if column == "v.at" else "+"
    where = Condition(f"{plus}v.at <= ? and v.until > ?", [run.now, run.now])
    if query and query.strip():
        search = Search(stream.filters, run.world.local)
        found = search.condition(query)
        where.sql += f" and {found.sql}"
        where.parameters += found.parameters
        if search.warnings:
            run.search.append({"query": query, "warnings": search.warnings})
    if only is not None:
        where.sql += f" and {only.sql}"
        where.parameters += only.parameters
    return where
