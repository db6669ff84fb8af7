"""The shop's GraphQL API over real HTTP: paging, search strings, limits, errors, two executors."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from graphql import execute, parse

from sandbox.faults import Faults
from sandbox.shopify import bulk, endpoint
from sandbox.shopify.render import kind_of, resolve
from sandbox.shopify.world import Run, World
from sandbox.zones import iso
from tests.sandbox.test_schema import product_queries
from tests.sandbox_fixtures import CACHE, SandboxServer

assert endpoint  # registers the fields of the schema


def pages(server: SandboxServer, root: str, arguments: str, nodes: str, size: int) -> list[Any]:
    """Every node of a connection, page by page."""
    text = (
        f"query($n:Int!,$after:String){{{root}(first:$n,after:$after,{arguments})"
        f"{{pageInfo{{hasNextPage endCursor}} nodes{{{nodes}}}}}}}"
    )
    found: list[Any] = []
    after = None
    while True:
        answer = server.graphql(text, {"n": size, "after": after})
        page = answer["data"][root]
        found += page["nodes"]
        if not page["pageInfo"]["hasNextPage"]:
            return found
        after = page["pageInfo"]["endCursor"]


def test_paging_shows_everything_once(sandbox_at: SandboxServer) -> None:
    """All orders, in order of change, each once, whatever the page size."""
    sandbox_at.configure(bucket=1e9, restore_rate=1e9)
    found = pages(sandbox_at, "orders", "sortKey:UPDATED_AT", "legacyResourceId updatedAt", 97)
    truth = {one["id"]: one["updated_at"] for one in sandbox_at.truth("orders")}
    assert {one["legacyResourceId"]: one["updatedAt"] for one in found} == truth
    assert len(found) == len(truth) > 300
    assert [one["updatedAt"] for one in found] == sorted(one["updatedAt"] for one in found)


def test_reverse_is_the_same_list_backwards(sandbox_at: SandboxServer) -> None:
    """`reverse` turns the order round, ties included."""
    sandbox_at.configure(bucket=1e9, restore_rate=1e9)
    there = pages(sandbox_at, "orders", "sortKey:UPDATED_AT", "id", 200)
    back = pages(sandbox_at, "orders", "sortKey:UPDATED_AT,reverse:true", "id", 33)
    assert there == back[::-1]


def test_nested_lines_are_paged(sandbox_at: SandboxServer) -> None:
    """An order's lines come page by page through `node`, all of them and in order."""
    longest = max(sandbox_at.truth("orders"), key=lambda one: int(one["lines"]))
    text = (
        "query($id:ID!,$after:String){node(id:$id){... on Order{lineItems(first:7,after:$after)"
        "{pageInfo{hasNextPage endCursor} nodes{id}}}}}"
    )
    found: list[str] = []
    variables: dict[str, Any] = {"id": f"gid://shopify/Order/{longest['id']}", "after": None}
    while True:
        page = sandbox_at.graphql(text, variables)["data"]["node"]["lineItems"]
        found += [node["id"] for node in page["nodes"]]
        if not page["pageInfo"]["hasNextPage"]:
            break
        variables["after"] = page["pageInfo"]["endCursor"]
    assert len(set(found)) == len(found) == longest["lines"] > 7


@pytest.mark.parametrize("first", [0, 251])
def test_page_size_has_bounds(sandbox_at: SandboxServer, first: int) -> None:
    """`first` is 1 to 250; anything else is an error and no data."""
    answer = sandbox_at.graphql(f"{{orders(first:{first}){{nodes{{id}}}}}}")
    assert answer["errors"] and not answer["data"]


def test_checkouts_have_no_updated_at_sort_key(sandbox_at: SandboxServer) -> None:
    """`abandonedCheckouts(sortKey: UPDATED_AT)` is refused, as by Shopify."""
    answer = sandbox_at.graphql("{abandonedCheckouts(first:1,sortKey:UPDATED_AT){nodes{id}}}")
    assert "UPDATED_AT" in answer["errors"][0]["message"]


def updated(server: SandboxServer, root: str, query: str) -> set[str]:
    """The ids a search finds."""
    found = pages(server, root, f"query:{json.dumps(query)},sortKey:ID", "legacyResourceId", 250)
    return {one["legacyResourceId"] for one in found}


def test_quoted_time_is_exact(sandbox_at: SandboxServer) -> None:
    """With quotes the bounds hold to the second, `>=` inclusive and `<` exclusive."""
    sandbox_at.configure(bucket=1e9, restore_rate=1e9)
    rows = sorted(sandbox_at.truth("orders"), key=lambda one: str(one["updated_at"]))
    low, high = rows[100]["updated_at"], rows[200]["updated_at"]
    found = updated(sandbox_at, "orders", f"updated_at:>='{low}' updated_at:<'{high}'")
    assert found == {one["id"] for one in rows if low <= one["updated_at"] < high}


def test_unquoted_time_loses_its_hours(sandbox_at: SandboxServer) -> None:
    """Without quotes only the date counts, in the shop's zone: more is found than was asked."""
    sandbox_at.configure(bucket=1e9, restore_rate=1e9)
    rows = sorted(sandbox_at.truth("orders"), key=lambda one: str(one["updated_at"]))
    middle = datetime.fromisoformat(rows[300]["updated_at"])
    noon = iso(int(middle.replace(hour=18, minute=0).timestamp()))
    exact = updated(sandbox_at, "orders", f"updated_at:>='{noon}'")
    loose = updated(sandbox_at, "orders", f"updated_at:>={noon}")
    assert exact < loose
    # The shop's midnight is 4 or 5 in UTC.
    assert all(one["updated_at"] >= noon[:11] + "04:00:00Z" for one in rows if one["id"] in loose)


def test_customers_match_whole_days(sandbox_at: SandboxServer) -> None:
    """Customers' `updated_at` over-returns: everything of the local day that holds the instant."""
    rows = sorted(sandbox_at.truth("customers"), key=lambda one: str(one["updated_at"]))
    at = rows[len(rows) // 2]["updated_at"]
    found = updated(sandbox_at, "customers", f"updated_at:>='{at}'")
    wanted = {one["id"] for one in rows if one["updated_at"] >= at}
    earlier = found - wanted
    assert wanted < found
    by_id = {one["id"]: one["updated_at"] for one in rows}
    limit = iso(int((datetime.fromisoformat(at) - timedelta(days=1)).timestamp()))
    assert all(by_id[one] > limit for one in earlier)


def test_unknown_search_field_is_ignored(sandbox_at: SandboxServer) -> None:
    """A misspelt field filters nothing; only `extensions.search` tells."""
    answer = sandbox_at.graphql("{orders(first:1,query:\"updated:>'2999-01-01'\"){nodes{id}}}")
    assert answer["data"]["orders"]["nodes"]
    assert answer["extensions"]["search"][0]["warnings"][0]["code"] == "invalid_field"


def test_search_connectives(sandbox_at: SandboxServer) -> None:
    """OR, NOT, parentheses and juxtaposition combine as in Shopify's search syntax."""
    ids = [one["id"] for one in sandbox_at.truth("orders")][:3]
    one, two, three = ids
    found = updated(sandbox_at, "orders", f"(id:{one} OR id:{two}) AND NOT id:{two}")
    assert found == {one}
    assert updated(sandbox_at, "orders", f"id:>={one} id:<={three} -id:{two}") == {one, three}


def test_counts(sandbox_at: SandboxServer) -> None:
    """A count is exact up to its limit and says when it is not."""
    total = sandbox_at.state()["shopify"]["streams"]["orders"]["count"]
    answer = sandbox_at.graphql(
        "{a:ordersCount{count precision} b:ordersCount(limit:10){count precision}}"
    )
    assert answer["data"]["a"] == {"count": total, "precision": "EXACT"}
    assert answer["data"]["b"] == {"count": 10, "precision": "AT_LEAST"}


def test_numbers_are_strings(sandbox_at: SandboxServer) -> None:
    """Counts of 64 bits and amounts are strings."""
    text = "{customers(first:1){nodes{numberOfOrders amountSpent{amount} legacyResourceId}}}"
    (node,) = sandbox_at.graphql(text)["data"]["customers"]["nodes"]
    assert isinstance(node["numberOfOrders"], str)
    assert isinstance(node["amountSpent"]["amount"], str)


def test_wrong_token_is_refused(sandbox_at: SandboxServer) -> None:
    """A wrong token is 401, whatever was asked."""
    response = sandbox_at.http.request(
        "POST",
        sandbox_at.graphql_url,
        json={"query": "{shop{name}}"},
        headers={"X-Shopify-Access-Token": "shpat_wrong"},
    )
    assert response.status == 401


def test_client_credentials(sandbox_at: SandboxServer) -> None:
    """The grant gives a token for 86,399 seconds of the product's clock, and not to everybody."""
    url = f"{sandbox_at.shop_url}/admin/oauth/access_token"
    body = {"client_id": "sandbox-client", "client_secret": "sandbox-secret"}
    body["grant_type"] = "client_credentials"
    granted = sandbox_at.http.request("POST", url, json=body).json()
    assert granted["expires_in"] == 86_399
    header = {"X-Shopify-Access-Token": granted["access_token"]}
    assert sandbox_at.graphql("{shop{name}}", **header)["data"]
    sandbox_at.set_clock(datetime.now(UTC) + timedelta(days=3))
    response = sandbox_at.http.request(
        "POST", sandbox_at.graphql_url, json={"query": "{shop{name}}"}, headers=header
    )
    assert response.status == 401
    wrong = {**body, "client_secret": "guess"}
    assert sandbox_at.http.request("POST", url, json=wrong).status == 401


def test_throttling_answers_200(sandbox_at: SandboxServer) -> None:
    """An empty bucket: HTTP 200, THROTTLED, no data, the bucket's state; time refills it."""
    sandbox_at.configure(bucket=60, restore_rate=10)
    text = "{orders(first:50){nodes{id customer{id} totalPriceSet{shopMoney{amount}}}}}"
    answers = [sandbox_at.graphql(text) for _ in range(3)]
    last = answers[-1]
    assert last["errors"][0]["extensions"]["code"] == "THROTTLED"
    assert "data" not in last
    cost = last["extensions"]["cost"]
    assert cost["actualQueryCost"] is None and cost["throttleStatus"]["restoreRate"] == 10
    moved = datetime.fromisoformat(sandbox_at.state()["now"]) + timedelta(minutes=1)
    sandbox_at.set_clock(moved)
    assert "data" in sandbox_at.graphql(text)


def test_too_expensive_query_is_refused(sandbox_at: SandboxServer) -> None:
    """One query may cost 1,000 points; more is MAX_COST_EXCEEDED before anything runs."""
    text = (
        "{orders(first:250){nodes{id lineItems(first:250){nodes{id variant{id} product{id}"
        " discountAllocations{allocatedAmountSet{shopMoney{amount} presentmentMoney{amount}}}"
        " originalTotalSet{shopMoney{amount}}}} refunds{id totalRefundedSet{shopMoney{amount}}}}}}"
    )
    error = sandbox_at.graphql(text)["errors"][0]
    assert error["extensions"]["code"] == "MAX_COST_EXCEEDED"


def test_unused_cost_is_given_back(sandbox_at: SandboxServer) -> None:
    """A page that holds little costs little: the rest of its requested cost returns."""
    text = '{orders(first:250,query:"id:1"){nodes{id customer{id}}}}'
    cost = sandbox_at.graphql(text)["extensions"]["cost"]
    assert cost["actualQueryCost"] < cost["requestedQueryCost"]


def test_paging_stops_at_25000(sandbox_at: SandboxServer, monkeypatch: pytest.MonkeyPatch) -> None:
    """Beyond 25,000 objects paging ends without a word: hasNextPage is false."""
    from sandbox.shopify import paging

    assert paging.MAX_PAGED == 25_000
    text = "query($a:String){orders(first:250,after:$a){nodes{id} pageInfo{hasNextPage}}}"
    near = paging.encode(0, 0, 24_990)
    page = sandbox_at.graphql(text, {"a": near})["data"]["orders"]
    assert len(page["nodes"]) == 10
    assert page["pageInfo"]["hasNextPage"] is False


@pytest.fixture(scope="module")
def world(
    sandbox_server: SandboxServer, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[World]:
    """The same shop within this process."""
    folder = tmp_path_factory.mktemp("world")
    assert sandbox_server.base_url
    for path in CACHE.glob("shop.sqlite*"):
        shutil.copy(path, folder)
    yield World(folder / "shop.sqlite", lambda: "http://127.0.0.1:1", Faults())


QUERIES = {
    # A bulk query has no page sizes: only the bulk machinery can run it.
    **{k: v for k, v in product_queries().items() if v.startswith("query")},
    "fragments": (
        "query{a:orders(first:3){edges{cursor node{...O ... on Node{id}}}}"
        ' nodes(ids:["gid://shopify/Order/1"]){__typename id}'
        " products(first:2){nodes{featuredMedia{__typename alt preview{image{url}}}}}}"
        " fragment O on Order{name customer{id displayName} lineItems(first:2){nodes{id title"
        " product{title} originalUnitPriceSet{shopMoney{amount currencyCode}}}}}"
    ),
    "events": (
        '{events(first:5,query:"action:destroy"){nodes{id action createdAt'
        " ... on BasicEvent{subjectId subjectType}}}}"
    ),
    "stock": (
        "{locations(first:1){nodes{inventoryLevels(first:3){nodes{item{sku} quantities(names:"
        '["available","on_hand"]){name quantity}}}}}}'
    ),
}


@pytest.mark.parametrize("name", sorted(QUERIES))
def test_both_executors_agree(world: World, name: str) -> None:
    """A compiled query says exactly what graphql-core's own executor says."""
    text = QUERIES[name]
    document = bulk.LIBRARY.get(text)
    assert document.errors == []
    operation = document.operation(None)
    order = world.reader.execute("select max(id) from orders").fetchone()[0]
    given = {"n": 40, "id": f"gid://shopify/Order/{order}", "after": None, "q": None}
    names = {one.variable.name.value for one in operation.variable_definitions or ()}
    given = {key: value for key, value in given.items() if key in names}
    variables = bulk.LIBRARY.variables(operation, given)
    write = bulk.LIBRARY.compiled(document, operation)
    assert write is not None
    now = world.now()
    compiled = json.loads(write(None, Run(world, now, variables)))
    run = Run(world, now, variables)
    result = execute(
        bulk.SCHEMA,
        parse(text),
        None,
        run,
        given,
        field_resolver=lambda value, info, **arguments: resolve(
            info.parent_type.name, info.field_name, value, run, arguments
        ),
        type_resolver=lambda value, _info, abstract: kind_of(value, abstract.name),
    )
    assert result.errors is None  # type: ignore[union-attr]
    assert compiled == result.data  # type: ignore[union-attr]


def test_incremental_page_is_fast(world: World) -> None:
    """A page with a few new records is answered without looking at the rest: no full scan."""
    plan = world.reader.execute(
        "explain query plan select v.id from order_versions v join orders o on o.id = v.id"
        " where v.at <= ? and v.until > ? and v.at >= ? order by v.at, v.id limit 26",
        (2_000_000_000, 2_000_000_000, 1_900_000_000),
    ).fetchall()
    text = " ".join(row[3] for row in plan)
    assert "order_versions_at" in text and "SCAN" not in text and "TEMP B-TREE" not in text


def test_a_field_for_one_kind_answers_null_for_others(sandbox_at: SandboxServer) -> None:
    """`bulkOperation(id:)` with an order's id finds nothing; a malformed id is an error."""
    order = sandbox_at.truth("orders")[0]["id"]
    text = "query($id:ID!){bulkOperation(id:$id){id status}}"
    answer = sandbox_at.graphql(text, {"id": f"gid://shopify/Order/{order}"})
    assert answer["data"] == {"bulkOperation": None}
    assert sandbox_at.graphql(text, {"id": "7"})["errors"]


def test_world_is_read_at_its_path(world: World) -> None:
    """The in-process shop is a copy: what tests change over HTTP does not show here."""
    assert Path(world.path).parent != CACHE
