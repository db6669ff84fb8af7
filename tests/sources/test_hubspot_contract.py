"""Every call the HubSpot source makes is one its own API documents know, and so is the answer."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from datetime import timedelta
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import pytest

from marketing_ops import clock
from marketing_ops.connections import Connection
from marketing_ops.sources.answer import Answer
from marketing_ops.sources.base import ReadRequest
from marketing_ops.sources.hubspot.client import API_VERSION, HubSpotClient
from marketing_ops.sources.hubspot.source import HUBSPOT
from tests.sandbox import hubspot_specs as specs
from tests.sandbox_fixtures import SandboxServer

DOCUMENTED = "2026-03"
"""The version of the documents; what we call kept its shape in 2026-09 (HubSpot's changelog)."""

UNDOCUMENTED = ("/email/public/", "/account-info/")
"""The legacy events API and the account's details have no document among them."""


class Watched(HubSpotClient):
    """A client that holds each of its calls against the documents."""

    calls: set[str]

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self.calls = set()
        call = self.http.call

        def watched(method: str, path: str, **given: Any) -> Answer:
            answer = call(method, path, **given)
            self.calls.add(_check(method, path, given.get("body"), answer))
            return answer

        self.http.call = watched  # type: ignore[method-assign]


def _check(method: str, path: str, body: bytes | None, answer: Answer) -> str:
    parts = urlsplit(path)
    plain = parts.path.replace(f"/{API_VERSION}", f"/{DOCUMENTED}")
    if plain.startswith(UNDOCUMENTED):
        return plain
    written = specs.check(method, plain, answer.status, json.loads(answer.body))
    document, operation = _operation(method, written)
    known = {one["name"] for one in operation.get("parameters", ())}
    assert {name for name, _ in parse_qsl(parts.query)} <= known, path
    if body:
        schema = dict(operation["requestBody"]["content"]["application/json"]["schema"])
        # The documents name some parameters of path and query a second time, in the body.
        schema["required"] = [
            name for name in schema.get("required", ()) if _snake(name) not in known
        ]
        specs._validator(document, json.dumps(schema)).validate(_asked(json.loads(body)))
    return written


def _snake(name: str) -> str:
    return re.sub(r"(?=[A-Z])", "_", name).lower()


def _asked(body: Any) -> Any:
    """A body as the documents write it: they know sorts as text, the guide to search as objects."""
    if isinstance(body, dict) and "sorts" in body:
        return {**body, "sorts": [one["propertyName"] for one in body["sorts"]]}
    return body


def _operation(method: str, written: str) -> tuple[str, dict[str, Any]]:
    """The document that knows an operation, and what it says of it."""
    return next(
        (document, operation)
        for _, path, document, (verb, operation) in specs._operations()
        if (path, verb) == (written, method.lower())
    )


@pytest.fixture
def hubspot(sandbox_at: SandboxServer) -> Iterator[Watched]:
    """The sandbox's portal, whose limits nobody waits for."""
    specs.need_specs()
    sandbox_at.call("DELETE", "/_sandbox/hubspot/settings")
    settings = {"burst": 10_000, "search_per_second": 10_000}
    sandbox_at.call("POST", "/_sandbox/hubspot/settings", settings)
    host = f"{sandbox_at.base_url}/hubspot"
    connection = Connection("crm", host=host, password="pat-na1-sandbox")
    yield Watched(connection, 1.0, sleep=lambda _seconds: None)
    sandbox_at.call("DELETE", "/_sandbox/hubspot/settings")


@pytest.mark.slow
@pytest.mark.parametrize("stream", HUBSPOT.streams, ids=lambda one: one.name)
def test_every_call_of_a_stream_is_documented(hubspot: Watched, stream: Any) -> None:
    """Path, parameters, body and answer of a full read, a window, the keys and a fetch by id."""
    assert HUBSPOT.read is not None
    assert HUBSPOT.keys is not None
    assert HUBSPOT.fetch is not None
    now = clock.now()
    window = ReadRequest(now - timedelta(days=1), now)
    for request in (ReadRequest(None, now, is_full=True), window):
        for page in HUBSPOT.read(hubspot, stream, request):
            assert page.state is None or json.dumps(page.state)
    if stream.is_reconciled:
        keys = [key for some in HUBSPOT.keys(hubspot, stream, None) for key, _ in some]
        assert HUBSPOT.fetch(hubspot, stream, keys[:2])
    assert hubspot.calls
