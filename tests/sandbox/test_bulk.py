"""Bulk operations over real HTTP: states, lines, limits, ranges, failures."""

from __future__ import annotations

import json
import time
from typing import Any
from urllib.parse import parse_qs, urlsplit

from tests.sandbox_fixtures import SandboxServer

RUN = (
    "mutation($q:String!,$g:Boolean!){bulkOperationRunQuery(query:$q,groupObjects:$g)"
    "{bulkOperation{id status} userErrors{field code message}}}"
)
POLL = (
    "query($id:ID!){bulkOperation(id:$id){id status errorCode objectCount rootObjectCount fileSize"
    " url partialDataUrl}}"
)
ORDERS = (
    "{orders{edges{node{id updatedAt totalPriceSet{shopMoney{amount}} refunds{id}"
    " lineItems{edges{node{id quantity discountedTotalSet{shopMoney{amount}}}}}}}}}"
)


def run(server: SandboxServer, query: str, *, is_grouped: bool = False) -> dict[str, Any]:
    """The payload of starting an operation."""
    answer = server.graphql(RUN, {"q": query, "g": is_grouped})
    return dict(answer["data"]["bulkOperationRunQuery"])


def finished(server: SandboxServer, key: str) -> dict[str, Any]:
    """An operation once it is over."""
    for _ in range(1500):
        found = server.graphql(POLL, {"id": key})["data"]["bulkOperation"]
        if found["status"] not in ("CREATED", "RUNNING", "CANCELING"):
            return dict(found)
        time.sleep(0.02)
    raise AssertionError("the operation did not end")


def lines(server: SandboxServer, url: str) -> list[dict[str, Any]]:
    """The records of a result."""
    return [json.loads(line) for line in server.http.request("GET", url).data.splitlines()]


def start(server: SandboxServer, query: str = ORDERS, **options: Any) -> str:
    """The id of a new operation."""
    payload = run(server, query, **options)
    assert payload["userErrors"] == []
    assert payload["bulkOperation"]["status"] == "CREATED"
    return str(payload["bulkOperation"]["id"])


def test_result_holds_everything(sandbox_at: SandboxServer) -> None:
    """Orders and their lines, each a JSON line, children with `__parentId`; counts are strings."""
    found = finished(sandbox_at, start(sandbox_at))
    assert found["status"] == "COMPLETED" and found["errorCode"] is None
    records = lines(sandbox_at, found["url"])
    parents = {one["id"] for one in records if "__parentId" not in one}
    children = [one for one in records if "__parentId" in one]
    truth = sandbox_at.truth("orders")
    assert parents == {f"gid://shopify/Order/{one['id']}" for one in truth}
    assert {one["__parentId"] for one in children} <= parents
    amounts = sum(float(one["discountedTotalSet"]["shopMoney"]["amount"]) for one in children)
    assert round(amounts * 100) == sum(one["amount"] for one in sandbox_at.truth("order_lines"))
    assert found["objectCount"] == str(len(records))
    assert found["rootObjectCount"] == str(len(truth))
    assert "lineItems" not in records[0] and isinstance(records[0]["refunds"], list)


def test_children_need_not_follow_their_parent(sandbox_at: SandboxServer) -> None:
    """Ungrouped, a child comes some lines after its parent; grouped, right behind it."""
    loose = lines(sandbox_at, finished(sandbox_at, start(sandbox_at))["url"])
    tight = lines(sandbox_at, finished(sandbox_at, start(sandbox_at, is_grouped=True))["url"])
    assert "__parentId" not in loose[1]
    assert tight[1]["__parentId"] == tight[0]["id"]
    assert sorted(map(json.dumps, loose)) == sorted(map(json.dumps, tight))


def test_large_result_is_the_same(sandbox_at: SandboxServer) -> None:
    """A result written in parts by several processes holds the same lines and counts."""
    whole = finished(sandbox_at, start(sandbox_at))
    sandbox_at.configure(bulk_large=10)
    parts = finished(sandbox_at, start(sandbox_at))
    assert parts["objectCount"] == whole["objectCount"]
    assert parts["rootObjectCount"] == whole["rootObjectCount"]
    assert sorted(map(json.dumps, lines(sandbox_at, parts["url"]))) == sorted(
        map(json.dumps, lines(sandbox_at, whole["url"]))
    )


def test_result_has_a_file_name(sandbox_at: SandboxServer) -> None:
    """The URL says its file name in `response-content-disposition`, as clients expect."""
    url = finished(sandbox_at, start(sandbox_at))["url"]
    (disposition,) = parse_qs(urlsplit(url).query)["response-content-disposition"]
    assert '.jsonl"' in disposition and disposition.startswith("attachment")


def test_result_can_be_resumed(sandbox_at: SandboxServer) -> None:
    """`Range: bytes=N-` gives the rest, with 206 and the total."""
    url = finished(sandbox_at, start(sandbox_at))["url"]
    whole = sandbox_at.http.request("GET", url).data
    part = sandbox_at.http.request("GET", url, headers={"Range": "bytes=1000-"})
    assert part.status == 206 and part.data == whole[1000:]
    assert part.headers["content-range"] == f"bytes 1000-{len(whole) - 1}/{len(whole)}"


def test_no_rows_give_no_url(sandbox_at: SandboxServer) -> None:
    """An operation without records completes with a null url."""
    query = "{orders(query:\"updated_at:>'2999-01-01'\"){edges{node{id}}}}"
    found = finished(sandbox_at, start(sandbox_at, query))
    assert found["status"] == "COMPLETED"
    assert (found["url"], found["objectCount"]) == (None, "0")


def test_window_is_respected(sandbox_at: SandboxServer) -> None:
    """A quoted window in the query bounds the records."""
    rows = sorted(one["updated_at"] for one in sandbox_at.truth("orders"))
    low, high = rows[50], rows[150]
    query = ORDERS.replace(
        "{orders{", f"{{orders(query:\"updated_at:>='{low}' updated_at:<'{high}'\"){{"
    )
    found = lines(sandbox_at, finished(sandbox_at, start(sandbox_at, query))["url"])
    ids = [one["id"] for one in found if "__parentId" not in one]
    assert len(ids) == sum(low <= one < high for one in rows)


def test_five_at_once(sandbox_at: SandboxServer) -> None:
    """A sixth operation is refused with OPERATION_IN_PROGRESS while five run."""
    sandbox_at.configure(bulk_delay_seconds=30)
    cancel = "mutation($id:ID!){bulkOperationCancel(id:$id){bulkOperation{status}}}"
    keys = [start(sandbox_at) for _ in range(5)]
    refused = run(sandbox_at, ORDERS)
    for key in keys:
        sandbox_at.graphql(cancel, {"id": key})
    assert refused["bulkOperation"] is None
    assert refused["userErrors"][0]["code"] == "OPERATION_IN_PROGRESS"
    assert {finished(sandbox_at, key)["status"] for key in keys} == {"CANCELED"}


def test_bad_query_is_a_user_error(sandbox_at: SandboxServer) -> None:
    """What cannot be run in bulk is refused with INVALID and HTTP 200."""
    for query in ("{shop{name}}", "{orders{edges{node{nothing}}}}", "{orders"):
        payload = run(sandbox_at, query)
        assert payload["bulkOperation"] is None
        assert payload["userErrors"][0]["code"] == "INVALID"


def test_failure_on_demand(sandbox_at: SandboxServer) -> None:
    """`bulk_failed` ends an operation FAILED with an error code and a partial result."""
    sandbox_at.fault("bulk_failed", error_code="TIMEOUT")
    found = finished(sandbox_at, start(sandbox_at))
    assert (found["status"], found["errorCode"], found["url"]) == ("FAILED", "TIMEOUT", None)
    assert found["partialDataUrl"]


def test_truncation_on_demand(sandbox_at: SandboxServer) -> None:
    """`truncate_bulk` cuts a result in the middle: fewer lines than `objectCount`, once."""
    found = finished(sandbox_at, start(sandbox_at))
    whole = sandbox_at.http.request("GET", found["url"]).data
    sandbox_at.fault("truncate_bulk")
    assert len(sandbox_at.http.request("GET", found["url"]).data) == len(whole) // 2
    assert sandbox_at.http.request("GET", found["url"]).data == whole
