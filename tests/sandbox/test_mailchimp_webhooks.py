"""Webhooks of the simulated Mailchimp: validated, signed or not, filtered by source, retried."""

from __future__ import annotations

import hashlib
import hmac
import threading
from collections.abc import Iterator
from datetime import timedelta
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import Any
from urllib.parse import parse_qs

import pytest

from marketing_ops import clock
from tests.sandbox.test_mailchimp import LIST, Chimp, chimp, hash_of, member_path

__all__ = ["chimp"]

EVERYTHING = dict.fromkeys(
    ("subscribe", "unsubscribe", "profile", "cleaned", "upemail", "campaign"), True
)
HOOKS = f"/lists/{LIST}/webhooks"


class Receiver:
    """Keeps what is posted; answers GET with `greeting` and POST with `status`."""

    def __init__(self) -> None:
        self.posts: list[tuple[dict[str, str], str]] = []
        self.greeting = self.status = 200
        receiver = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                self.send_response(receiver.greeting)
                self.end_headers()

            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["content-length"])).decode()
                headers = {name.lower(): value for name, value in self.headers.items()}
                receiver.posts.append((headers, body))
                self.send_response(receiver.status)
                self.end_headers()

            def log_message(self, *args: Any) -> None:
                """Say nothing."""

        self.server = HTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}/mailchimp"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def forms(self, address: str) -> list[dict[str, str]]:
        """The posts about somebody, as flat forms."""
        found = [{k: v[0] for k, v in parse_qs(body).items()} for _, body in self.posts]
        return [one for one in found if address in one.values()]


@pytest.fixture
def receiver(chimp: Chimp) -> Iterator[Receiver]:
    """A running receiver; the account's webhooks are removed afterwards."""
    found = Receiver()
    yield found
    for one in chimp.get(HOOKS)["webhooks"]:
        chimp.raw("DELETE", f"{HOOKS}/{one['id']}")
    found.server.shutdown()
    found.server.server_close()


def hook(chimp: Chimp, receiver: Receiver, **sources: bool) -> dict[str, Any]:
    """A new webhook for everything, from these sources."""
    body = {"url": receiver.url, "events": EVERYTHING, "sources": sources}
    status, made = chimp.send("POST", HOOKS, body)
    assert status == 200, made
    chimp.server.set_clock(clock.now())
    return dict(made)


def later(chimp: Chimp, **passed: float) -> None:
    """Let time pass, and what is due happen."""
    chimp.server.set_clock(clock.now() + timedelta(**passed))


def subscribe(chimp: Chimp, address: str) -> None:
    """Somebody subscribes, through the API."""
    body = {"email_address": address, "status": "subscribed"}
    assert chimp.send("PUT", member_path(address), body)[0] == 200


def test_url_is_validated_and_secret_shown_once(chimp: Chimp, receiver: Receiver) -> None:
    """A URL that does not answer a GET with 2xx is refused; later reads hide the secret."""
    receiver.greeting = 404
    body = {"url": receiver.url, "events": EVERYTHING, "sources": {"user": True}}
    assert chimp.send("POST", HOOKS, body)[0] == 400
    receiver.greeting = 200
    made = hook(chimp, receiver, user=True)
    assert len(made["signing_secret"]) == 32
    assert "signing_secret" not in chimp.get(f"{HOOKS}/{made['id']}")
    assert chimp.send("POST", HOOKS, body)[0] == 400


def test_posts_are_signed_forms(chimp: Chimp, receiver: Receiver) -> None:
    """The form names the event and the member; the signature is over instant and raw body."""
    secret = hook(chimp, receiver, api=True)["signing_secret"]
    later(chimp, seconds=1)
    subscribe(chimp, "hooked@example.com")
    later(chimp, seconds=1)
    (form,) = receiver.forms("hooked@example.com")
    assert form["type"] == "subscribe" and form["data[list_id]"] == LIST
    assert form["data[id]"] == hash_of("hooked@example.com")
    assert form["data[merges][EMAIL]"] == "hooked@example.com"
    headers, body = receiver.posts[-1]
    assert headers["content-type"] == "application/x-www-form-urlencoded"
    at, _, given = headers["x-mailchimp-signature"].removeprefix("t=").partition(",v1=")
    expected = hmac.new(secret.encode(), f"{at}.{body}".encode(), hashlib.sha256).hexdigest()
    assert given == expected and int(at) == int(clock.now().timestamp())


def test_older_webhooks_are_unsigned(chimp: Chimp, receiver: Receiver) -> None:
    """A webhook of the older kind has no secret and its posts no signature."""
    chimp.configure(signs_webhooks=False)
    assert "signing_secret" not in hook(chimp, receiver, api=True)
    later(chimp, seconds=1)
    subscribe(chimp, "unsigned@example.com")
    later(chimp, seconds=1)
    assert receiver.forms("unsigned@example.com")
    assert "x-mailchimp-signature" not in receiver.posts[-1][0]


def test_own_changes_do_not_come_back(chimp: Chimp, receiver: Receiver) -> None:
    """With `api` off our own writes are not posted; what people do is."""
    hook(chimp, receiver, user=True, admin=True, api=False)
    later(chimp, seconds=1)
    subscribe(chimp, "loop@example.com")
    later(chimp, seconds=1)
    assert receiver.forms("loop@example.com") == []
    chimp.change("update", hash_of("loop@example.com"), status="unsubscribed", by="user")
    later(chimp, seconds=1)
    (form,) = receiver.forms("loop@example.com")
    assert form["type"] == "unsubscribe" and form["data[action]"] == "unsub"


def test_each_kind_of_change_has_its_event(chimp: Chimp, receiver: Receiver) -> None:
    """Profile, address, bounce: profile, upemail, cleaned."""
    hook(chimp, receiver, user=True)
    chimp.change("insert", email_address="first@example.com")
    key = hash_of("first@example.com")
    for fields in (
        {"merge_fields": {"FNAME": "Other"}},
        {"email_address": "second@example.com"},
        {"status": "cleaned"},
    ):
        later(chimp, seconds=1)
        key = chimp.change("update", key, by="user", **fields)["id"]
    later(chimp, seconds=1)
    forms = [*receiver.forms("first@example.com"), *receiver.forms("second@example.com")]
    assert {one["type"] for one in forms} == {"profile", "upemail", "cleaned"}
    moved = next(one for one in forms if one["type"] == "upemail")
    assert moved["data[old_email]"] == "first@example.com"
    assert moved["data[new_email]"] == "second@example.com"


def test_refused_posts_come_again(chimp: Chimp, receiver: Receiver) -> None:
    """A post that was not accepted is tried for 75 minutes, with the same body, then dropped."""
    hook(chimp, receiver, api=True)
    later(chimp, seconds=1)
    receiver.status = 500
    subscribe(chimp, "again@example.com")
    for _ in range(10):
        later(chimp, minutes=10)
    tries = receiver.forms("again@example.com")
    assert len(tries) >= 5 and all(one == tries[0] for one in tries)
    receiver.status = 200
    later(chimp, minutes=10)
    assert len(receiver.forms("again@example.com")) == len(tries)
