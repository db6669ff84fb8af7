"""The official ShopifyAPI package reads from and writes to the sandbox."""

from __future__ import annotations

import json
import urllib.request
from collections.abc import Iterator
from typing import Any

import pytest
import shopify

from tests.sandbox_fixtures import SandboxServer


@pytest.fixture
def official(sandbox_at: SandboxServer, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """`shopify.GraphQL` of an open session; only the address is turned to loopback."""
    real = urllib.request.urlopen

    def to_loopback(request: urllib.request.Request, *args: Any, **more: Any) -> Any:
        path = request.full_url.partition(".myshopify.com")[2]
        request.full_url = sandbox_at.shop_url + path
        return real(request, *args, **more)

    monkeypatch.setattr(urllib.request, "urlopen", to_loopback)
    session = shopify.Session("journey-market.myshopify.com", "2026-10", sandbox_at.token)
    shopify.ShopifyResource.activate_session(session)
    yield shopify.GraphQL()
    shopify.ShopifyResource.clear_session()


def test_reads(official: Any, sandbox_at: SandboxServer) -> None:
    """A query with variables gives the shop's own records."""
    text = "query($n:Int!){customers(first:$n,sortKey:ID){nodes{legacyResourceId tags}}}"
    data = json.loads(official.execute(text, {"n": 5}))["data"]
    truth = {one["id"]: one["tags"] for one in sandbox_at.truth("customers")}
    for node in data["customers"]["nodes"]:
        assert truth[node["legacyResourceId"]] == node["tags"]


def test_adds_tags_twice_the_same(official: Any, sandbox_at: SandboxServer) -> None:
    """`tagsAdd` adds, moves updatedAt, and may be repeated without effect."""
    key = sandbox_at.truth("customers")[0]["id"]
    text = "mutation($id:ID!,$t:[String!]!){tagsAdd(id:$id,tags:$t){node{id} userErrors{message}}}"
    variables = {"id": f"gid://shopify/Customer/{key}", "t": ["loyal", "Derived"]}
    for _ in range(2):
        payload = json.loads(official.execute(text, variables))["data"]["tagsAdd"]
        assert payload["userErrors"] == [] and payload["node"]["id"] == variables["id"]
    found = next(one for one in sandbox_at.truth("customers") if one["id"] == key)
    assert found["tags"].count("loyal") == 1 and "Derived" not in found["tags"]
    assert found["updated_at"] == sandbox_at.state()["now"]


def test_unknown_customer_is_a_user_error(official: Any) -> None:
    """A write to nobody answers 200 with userErrors."""
    text = 'mutation{tagsAdd(id:"gid://shopify/Customer/1",tags:["a"]){userErrors{message}}}'
    assert json.loads(official.execute(text))["data"]["tagsAdd"]["userErrors"]


def test_creates_a_discount_once(official: Any, sandbox_at: SandboxServer) -> None:
    """A code can be made once; again it is TAKEN, in capitals or not."""
    text = (
        "mutation($d:DiscountCodeBasicInput!){discountCodeBasicCreate(basicCodeDiscount:$d)"
        "{codeDiscountNode{id codeDiscount{... on DiscountCodeBasic{title"
        " codes(first:1){nodes{code}}}}} userErrors{field code message}}}"
    )
    value = {"percentage": 0.1}
    given = {
        "title": "Welcome back",
        "code": "BACK10",
        "startsAt": "2026-11-01T00:00:00Z",
        "customerSelection": {"all": True},
        "customerGets": {"value": value, "items": {"all": True}},
    }
    first = json.loads(official.execute(text, {"d": given}))["data"]["discountCodeBasicCreate"]
    assert first["userErrors"] == []
    assert first["codeDiscountNode"]["codeDiscount"]["codes"]["nodes"] == [{"code": "BACK10"}]
    again = {**given, "code": "back10"}
    second = json.loads(official.execute(text, {"d": again}))["data"]["discountCodeBasicCreate"]
    assert second["codeDiscountNode"] is None
    assert second["userErrors"][0]["code"] == "TAKEN"
