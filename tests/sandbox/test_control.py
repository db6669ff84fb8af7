"""The control API: clock, faults, noted requests, changes by tests; and the addresses."""

from __future__ import annotations

import json
import subprocess
import sys
from datetime import datetime, timedelta
from typing import Any

import pytest
import urllib3

from marketing_ops import clock
from sandbox.__main__ import addresses
from tests.sandbox_fixtures import ROOT, SandboxServer

SHOP = "{shop{name}}"


def raw(server: SandboxServer, query: str = SHOP) -> Any:
    """The HTTP answer itself."""
    return server.http.request(
        "POST",
        server.graphql_url,
        json={"query": query},
        headers={"X-Shopify-Access-Token": server.token},
        retries=False,
        timeout=5,
    )


def test_clock_is_the_products(sandbox_at: SandboxServer) -> None:
    """Setting the sandbox's clock sets `clock.now()`; only an aware instant or null is taken."""
    at = clock.now() - timedelta(days=2)
    answer = sandbox_at.set_clock(at)
    assert datetime.fromisoformat(answer["now"]) == at == clock.now()
    url = f"{sandbox_at.base_url}/_sandbox/clock"
    for wrong in ({}, {"now": "soon"}, {"now": "2026-01-01T00:00:00"}):
        assert sandbox_at.http.request("POST", url, json=wrong).status == 400
    assert clock.now() == at


def test_records_appear_as_the_clock_passes(sandbox_at: SandboxServer) -> None:
    """Nothing later than the clock is visible; moving it back hides what came after."""
    noon = clock.now()
    later = sandbox_at.state()["shopify"]["streams"]["orders"]["count"]
    sandbox_at.set_clock(noon - timedelta(days=10))
    orders = sandbox_at.truth("orders")
    assert 0 < len(orders) < later
    assert all(one["updated_at"] <= sandbox_at.state()["now"] for one in orders)
    customers = {one["id"]: one for one in sandbox_at.truth("customers")}
    sandbox_at.set_clock(noon)
    now = {one["id"]: one for one in sandbox_at.truth("customers")}
    assert sum(one["orders"] for one in now.values()) > sum(
        one["orders"] for one in customers.values()
    )


@pytest.mark.parametrize("status", [401, 402, 403, 423, 429, 500])
def test_status_on_demand(sandbox_at: SandboxServer, status: int) -> None:
    """`status` answers with it as often as ordered, and then no more."""
    sandbox_at.fault("status", status=status, times=2, retry_after=3)
    answers = [raw(sandbox_at) for _ in range(3)]
    assert [one.status for one in answers] == [status, status, 200]
    assert answers[0].headers["retry-after"] == "3"


def test_fault_matches_the_request(sandbox_at: SandboxServer) -> None:
    """With `match` only requests that hold the text are hit."""
    sandbox_at.fault("throttle", match="orders(")
    assert b"THROTTLED" not in raw(sandbox_at).data
    assert b"THROTTLED" in raw(sandbox_at, "{orders(first:1){nodes{id}}}").data


def test_connection_is_dropped(sandbox_at: SandboxServer) -> None:
    """`drop_connection` cuts the answer off before its end."""
    sandbox_at.fault("drop_connection")
    with pytest.raises(urllib3.exceptions.HTTPError):
        raw(sandbox_at)
    assert raw(sandbox_at).status == 200


def test_answers_are_spoiled(sandbox_at: SandboxServer) -> None:
    """`bad_json` and `html` answer 200 with what is no JSON; `slow` takes its time."""
    for kind in ("bad_json", "html"):
        sandbox_at.fault(kind)
        answer = raw(sandbox_at)
        assert answer.status == 200
        with pytest.raises(json.JSONDecodeError):
            json.loads(answer.data)
    sandbox_at.fault("slow", seconds=0.3)
    raw(sandbox_at)
    assert sandbox_at.requests()[-1]["ms"] >= 300


def test_cursor_gets_stuck(sandbox_at: SandboxServer) -> None:
    """`stuck_cursor` repeats the previous answer of the same operation, cursor included."""
    text = "query($a:String){orders(first:2,after:$a){pageInfo{endCursor} nodes{id}}}"
    first = sandbox_at.graphql(text)
    sandbox_at.fault("stuck_cursor")
    cursor = first["data"]["orders"]["pageInfo"]["endCursor"]
    assert sandbox_at.graphql(text, {"a": cursor})["data"] == first["data"]
    assert sandbox_at.graphql(text, {"a": cursor})["data"] != first["data"]


def test_faults_are_listed_and_cleared(sandbox_at: SandboxServer) -> None:
    """DELETE makes everybody behave; an order without a kind is refused."""
    sandbox_at.fault("status", status=500, times=9)
    listed = sandbox_at.call("GET", "/_sandbox/faults")["shopify"]
    assert (listed[0]["kind"], listed[0]["times"]) == ("status", 9)
    sandbox_at.call("DELETE", "/_sandbox/faults")
    assert raw(sandbox_at).status == 200
    url = f"{sandbox_at.base_url}/_sandbox/faults"
    assert sandbox_at.http.request("POST", url, json={"system": "shopify"}).status == 400


def test_requests_are_noted_without_data(sandbox_at: SandboxServer) -> None:
    """Each request leaves its operation, status, cost and time, and no address or query text."""
    email = sandbox_at.truth("customers")[0]["email"]
    sandbox_at.graphql(f'{{customers(first:1,query:"email:{email}"){{nodes{{id}}}}}}')
    row = sandbox_at.requests()[-1]
    assert (row["operation"], row["status"], row["code"]) == ("customers", 200, "ok")
    assert row["cost"] > 0 and "example.com" not in json.dumps(row)


def test_records_are_inserted_changed_and_deleted(sandbox_at: SandboxServer) -> None:
    """A test's customer, order and product live in the shop from the clock on."""
    now = sandbox_at.state()["now"]
    customer = sandbox_at.insert("customer", first_name="Ana", email="ana@example.com")
    product = sandbox_at.insert("product", title="Tea", price=450, stock=3)
    lines = [{"product_id": int(product), "quantity": 2, "cents": 900}]
    order = sandbox_at.insert("order", customer_id=int(customer), lines=lines)
    text = (
        "query($id:ID!){order(id:$id){createdAt totalPrice customer{firstName numberOfOrders"
        " amountSpent{amount}} lineItems(first:5){nodes{title quantity product{id}}}}}"
    )
    identifier = {"id": f"gid://shopify/Order/{order}"}
    found = sandbox_at.graphql(text, identifier)["data"]["order"]
    assert (found["createdAt"], found["totalPrice"]) == (now, "9.0")
    assert found["customer"] == {
        "firstName": "Ana",
        "numberOfOrders": "1",
        "amountSpent": {"amount": "9.0"},
    }
    (line,) = found["lineItems"]["nodes"]
    assert (line["title"], line["quantity"]) == ("Tea", 2)
    sandbox_at.set_clock(clock.now() + timedelta(hours=1))
    sandbox_at.update("customer", customer, patch={"first_name": "Anna"}, consent="UNSUBSCRIBED")
    sandbox_at.delete("product", product)
    found = sandbox_at.graphql(text, identifier)["data"]["order"]
    assert found["customer"]["firstName"] == "Anna"
    assert found["lineItems"]["nodes"][0]["product"] is None
    deleted = {one["id"]: one["deleted_at"] for one in sandbox_at.truth("product_deletions")}
    assert deleted[product] == sandbox_at.state()["now"]
    events = sandbox_at.graphql(
        '{events(first:250,reverse:true,query:"action:destroy subject_type:PRODUCT")'
        "{nodes{... on BasicEvent{subjectId}}}}"
    )["data"]["events"]["nodes"]
    assert {"subjectId": f"gid://shopify/Product/{product}"} in events
    sandbox_at.set_clock(clock.now() - timedelta(hours=2))
    assert sandbox_at.graphql(text, identifier)["data"]["order"] is None


def test_guest_order_has_no_customer(sandbox_at: SandboxServer) -> None:
    """An order by address alone has an e-mail and no customer."""
    order = sandbox_at.insert("order", email="guest@example.com", test=True)
    text = "query($id:ID!){order(id:$id){email test customer{id}}}"
    found = sandbox_at.graphql(text, {"id": f"gid://shopify/Order/{order}"})["data"]["order"]
    assert found == {"email": "guest@example.com", "test": True, "customer": None}


def test_unknown_record_is_told(sandbox_at: SandboxServer) -> None:
    """Changing what is not there answers 404, an unknown action 400."""
    url = f"{sandbox_at.base_url}/_sandbox/shopify/records"
    body: dict[str, Any] = {"action": "delete", "kind": "order", "id": 1}
    assert sandbox_at.http.request("POST", url, json=body).status == 404
    assert sandbox_at.http.request("POST", url, json={"action": "burn"}).status == 400


def test_urls_are_printed() -> None:
    """`python -m sandbox urls --json` prints each system's address."""
    command = [sys.executable, "-m", "sandbox", "urls", "--json", "--port", "1234"]
    done = subprocess.run(command, cwd=ROOT, check=True, capture_output=True)
    assert json.loads(done.stdout) == addresses("127.0.0.1", 1234, 8025)


def test_taken_port_is_told(sandbox_server: SandboxServer) -> None:
    """Starting on a taken port fails at once with a sentence that says so."""
    port = sandbox_server.base_url.rpartition(":")[2]
    command = [sys.executable, "-m", "sandbox", "serve", "--small", "--port", port]
    done = subprocess.run(command, cwd=ROOT, check=False, capture_output=True, timeout=30)
    assert done.returncode == 2
    assert f"port {port} is taken" in done.stderr.decode()
