"""Webhooks reach subscribers when the clock passes a change, signed over the raw body."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import threading
from collections.abc import Iterator
from datetime import timedelta
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import Any

import pytest

from marketing_ops import clock
from tests.sandbox_fixtures import SandboxServer

SECRET = b"sandbox-secret"
SUBSCRIBE = (
    "mutation($t:WebhookSubscriptionTopic!,$u:String!){webhookSubscriptionCreate(topic:$t,"
    "webhookSubscription:{uri:$u}){webhookSubscription{id topic uri} userErrors{message}}}"
)
REMOVE = (
    "mutation($id:ID!){webhookSubscriptionDelete(id:$id)"
    "{deletedWebhookSubscriptionId userErrors{message}}}"
)


class Inbox:
    """A receiver that keeps what is posted and answers with `status`."""

    def __init__(self) -> None:
        self.posts: list[tuple[dict[str, str], bytes]] = []
        self.status = 200
        inbox = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["content-length"]))
                headers = {name.lower(): value for name, value in self.headers.items()}
                inbox.posts.append((headers, body))
                self.send_response(inbox.status)
                self.end_headers()

            def log_message(self, *args: Any) -> None:
                """Say nothing."""

        self.server = HTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}/hooks"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()


@pytest.fixture
def inbox() -> Iterator[Inbox]:
    """A running receiver."""
    found = Inbox()
    yield found
    found.server.shutdown()
    found.server.server_close()


def subscribe(server: SandboxServer, topic: str, url: str) -> str:
    """The id of a new subscription."""
    answer = server.graphql(SUBSCRIBE, {"t": topic, "u": url})["data"]
    payload = answer["webhookSubscriptionCreate"]
    assert payload["userErrors"] == []
    return str(payload["webhookSubscription"]["id"])


def test_orders_are_posted_signed(sandbox_at: SandboxServer, inbox: Inbox) -> None:
    """Each new order is posted once with Shopify's headers, an HMAC of the raw bytes among them."""
    key = subscribe(sandbox_at, "ORDERS_CREATE", inbox.url)
    sandbox_at.set_clock(clock.now())
    before = {one["id"] for one in sandbox_at.truth("orders")}
    sandbox_at.set_clock(clock.now() + timedelta(hours=30))
    new = {one["id"] for one in sandbox_at.truth("orders")} - before
    sandbox_at.graphql(REMOVE, {"id": key})
    assert new
    assert {str(json.loads(body)["id"]) for _, body in inbox.posts} == new
    assert len(inbox.posts) == len(new)
    for headers, body in inbox.posts:
        digest = base64.b64encode(hmac.new(SECRET, body, hashlib.sha256).digest()).decode()
        assert headers["x-shopify-hmac-sha256"] == digest
        assert headers["x-shopify-topic"] == "orders/create"
        assert headers["x-shopify-api-version"] == "2026-10"
        assert headers["x-shopify-webhook-id"] and headers["x-shopify-shop-domain"]


def test_nobody_subscribed_nothing_sent(sandbox_at: SandboxServer, inbox: Inbox) -> None:
    """After a subscription is deleted nothing comes any more."""
    key = subscribe(sandbox_at, "CUSTOMERS_CREATE", inbox.url)
    sandbox_at.graphql(REMOVE, {"id": key})
    sandbox_at.set_clock(clock.now() + timedelta(days=2))
    assert inbox.posts == []


def test_subscription_dies_after_eight_failures(sandbox_at: SandboxServer, inbox: Inbox) -> None:
    """Eight refusals in a row delete the subscription."""
    inbox.status = 500
    subscribe(sandbox_at, "ORDERS_CREATE", inbox.url)
    sandbox_at.set_clock(clock.now())
    sandbox_at.set_clock(clock.now() + timedelta(days=3))
    text = "{webhookSubscriptions(first:250){nodes{uri}}}"
    nodes = sandbox_at.graphql(text)["data"]["webhookSubscriptions"]["nodes"]
    assert {"uri": inbox.url} not in nodes
    assert len(inbox.posts) == 8


def test_bulk_finish_is_posted(sandbox_at: SandboxServer, inbox: Inbox) -> None:
    """`bulk_operations/finish` tells the end of an operation."""
    from tests.sandbox.test_bulk import finished, start

    key = subscribe(sandbox_at, "BULK_OPERATIONS_FINISH", inbox.url)
    operation = start(sandbox_at)
    finished(sandbox_at, operation)
    for _ in range(100):
        if inbox.posts:
            break
        threading.Event().wait(0.02)
    sandbox_at.graphql(REMOVE, {"id": key})
    ((headers, body),) = inbox.posts
    assert headers["x-shopify-topic"] == "bulk_operations/finish"
    assert json.loads(body)["admin_graphql_api_id"] == operation


def test_second_subscription_is_refused(sandbox_at: SandboxServer) -> None:
    """The same topic and address twice is a user error; so is no address."""
    url = "http://127.0.0.1:9/hooks"
    key = subscribe(sandbox_at, "ORDERS_CREATE", url)
    again = sandbox_at.graphql(SUBSCRIBE, {"t": "ORDERS_CREATE", "u": url})["data"]
    sandbox_at.graphql(REMOVE, {"id": key})
    assert again["webhookSubscriptionCreate"]["userErrors"]
