"""Webhooks of the simulated HubSpot: signed, in batches, posted again when refused."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from datetime import timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest
from hubspot.utils.signature import Signature

from marketing_ops import clock
from tests.sandbox_fixtures import SandboxServer

TYPES = ["contact.creation", "contact.deletion", "contact.merge", "contact.propertyChange"]


class Receiver(ThreadingHTTPServer):
    """Keeps what it is sent; refuses the first `refusals` posts."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.posts: list[tuple[dict[str, str], bytes]] = []
        self.refusals = 0

    @property
    def url(self) -> str:
        """Where to post to."""
        return f"http://127.0.0.1:{self.server_address[1]}/hooks/hubspot"

    def events(self) -> list[dict[str, Any]]:
        """All events, in the order in which they came."""
        return [event for _, raw in self.posts for event in json.loads(raw)]


class _Handler(BaseHTTPRequestHandler):
    def do_POST(self) -> None:
        """Keep a post and answer 200 or 500."""
        receiver = self.server
        assert isinstance(receiver, Receiver)
        raw = self.rfile.read(int(self.headers["content-length"]))
        receiver.posts.append((dict(self.headers), raw))
        receiver.refusals -= 1
        self.send_response(500 if receiver.refusals >= 0 else 200)
        self.send_header("content-length", "0")
        self.end_headers()

    def log_message(self, *_: Any) -> None:
        """Keep quiet."""


@pytest.fixture
def receiver(sandbox_at: SandboxServer) -> Iterator[Receiver]:
    """A subscriber of contacts' events."""
    with Receiver() as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        sandbox_at.set_clock(clock.now() + timedelta(seconds=1))
        found = [{"url": server.url, "types": TYPES}]
        settings = {"subscriptions": found, "is_living": False}
        sandbox_at.call("POST", "/_sandbox/hubspot/settings", settings)
        yield server
        server.shutdown()


def test_events_are_signed_arrays(sandbox_at: SandboxServer, receiver: Receiver) -> None:
    """A new contact, a change and a merge; the package's own Signature knows them as genuine."""
    act = sandbox_at.act
    one = act("hubspot", "insert", kind="contact", fields={"email": "hook@example.com"})["id"]
    two = act("hubspot", "insert", kind="contact", fields={"email": "hook2@example.com"})["id"]
    sandbox_at.set_clock(clock.now() + timedelta(seconds=1))
    act("hubspot", "update", kind="contact", id=one, fields={"city": "Dayton"})
    sandbox_at.set_clock(clock.now() + timedelta(seconds=1))
    new = act("hubspot", "merge", kind="contact", id=one, other=two)["id"]
    sandbox_at.set_clock(clock.now() + timedelta(seconds=1))
    events = {(one["subscriptionType"], str(one["objectId"])): one for one in receiver.events()}
    assert events["contact.propertyChange", one]["propertyValue"] == "Dayton"
    assert str(events["contact.merge", two]["newObjectId"]) == new
    assert ("contact.creation", one) in events
    for headers, raw in receiver.posts:
        timestamp = headers["X-HubSpot-Request-Timestamp"]
        genuine = Signature.get_signature(
            "hubspot-secret", raw.decode(), "v3", receiver.url, "POST", timestamp
        )
        assert headers["X-HubSpot-Signature-v3"] == genuine
        assert Signature.is_valid(
            headers["X-HubSpot-Signature"], "hubspot-secret", raw.decode(), signature_version="v1"
        )


def test_refused_events_are_posted_again(sandbox_at: SandboxServer, receiver: Receiver) -> None:
    """The same events come again with the next attempt's number."""
    receiver.refusals = 1
    fields = {"email": "again@example.com"}
    key = sandbox_at.act("hubspot", "insert", kind="contact", fields=fields)["id"]
    sandbox_at.set_clock(clock.now() + timedelta(seconds=1))
    sandbox_at.set_clock(clock.now() + timedelta(seconds=1))
    mine = [one for one in receiver.events() if str(one["objectId"]) == key]
    assert len({one["eventId"] for one in mine}) == 1
    assert [one["attemptNumber"] for one in mine] == [0, 1]
