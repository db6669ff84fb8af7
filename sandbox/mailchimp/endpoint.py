"""The account over HTTP: routes, logins, the limit of connections, the answers and the control."""

from __future__ import annotations

import asyncio
import base64
import binascii
import itertools
import time
import uuid
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import orjson
from anyio import to_thread
from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Route

from sandbox.faults import Faults, Requests
from sandbox.mailchimp import batches, campaigns, control, misbehaviour, routes, truth, webhooks
from sandbox.mailchimp.account import Account
from sandbox.mailchimp.calls import Call, Problem
from sandbox.shopify.world import World

METHODS = ["GET", "POST", "PUT", "PATCH", "DELETE"]


@dataclass
class Mailchimp:
    """One Mailchimp account's routes and the state behind them."""

    folder: Path
    world: World
    base_url: Callable[[], str]
    faults: Faults
    requests: Requests
    open_connections: int = 0
    last_answers: dict[str, tuple[int, bytes]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.account = Account(self.folder, self.world, self.faults)
        self.webhooks = webhooks.Webhooks(self.account)
        self._ids = itertools.count(1)

    def routes(self) -> list[Route]:
        """The routes below the sandbox's root."""
        control_path = "/_sandbox/mailchimp"
        return [
            Route("/mailchimp/3.0", self.call, methods=METHODS),
            Route("/mailchimp/3.0/{path:path}", self.call, methods=METHODS),
            Route("/mailchimp/oauth2/metadata", self.metadata),
            Route("/mailchimp/results/{key}.tar.gz", self.results),
            Route(control_path + "/truth/{stream}", self.truth),
            Route(control_path + "/records", self.record, methods=["POST"]),
            Route(control_path + "/settings", self.settings, methods=["GET", "POST"]),
        ]

    def deliver(self) -> int:
        """Post the webhooks that are due by the clock; returns those accepted."""
        return self.webhooks.deliver() if self.account.is_awake else 0

    def state(self) -> dict[str, Any]:
        """How many records of each stream there are; nothing before the first look."""
        return truth.counts(self._own_call()) if self.account.is_awake else {}

    # -- the API ----------------------------------------------------------------------------------

    async def call(self, request: Request) -> Response:
        """Answer one call as Mailchimp would, faults first."""
        started = time.perf_counter()
        path = "/" + request.path_params.get("path", "").strip("/")
        self.open_connections += 1
        try:
            if self.open_connections > self.account.settings.connections:
                found = self._refuse(misbehaviour.THROTTLED)
            else:
                found = await self._answer(request, path)
        finally:
            self.open_connections -= 1
        self.requests.add(
            "mailchimp",
            started,
            method=request.method,
            path=routes.template(request.method, path),
            # Names, times and numbers only: an address may stand in no parameter of a list.
            query={
                name: request.query_params[name] for name in routes.NOTED & {*request.query_params}
            },
            status=found.status_code,
        )
        return found

    async def _answer(self, request: Request, path: str) -> Response:
        raw = await request.body()
        text = f"{request.method} {path}?{request.url.query} {raw.decode('utf-8', 'replace')}"
        await asyncio.sleep(self.account.settings.delay_seconds)
        broken = await misbehaviour.before(self.faults, text)
        if broken is not None:
            return self._refuse(broken) if isinstance(broken, Problem) else broken
        refused = self._login(request)
        if refused is not None:
            return self._refuse(refused)
        try:
            body = orjson.loads(raw) if raw else None
        except orjson.JSONDecodeError:
            detail = "We encountered an unspecified JSON parsing error."
            return self._refuse(Problem(400, "JSON Parse Error", detail))
        if not isinstance(body, dict | None):
            return self._refuse(Problem(400, "Bad Request", "The body has to be an object."))
        query = dict(request.query_params)
        status, document = await to_thread.run_sync(
            self.perform, request.method, path, query, body or {}
        )
        headers = {"x-request-id": self._request_id()}
        if document is None:
            return Response(status_code=status, headers=headers, media_type="application/json")
        if isinstance(document, Problem):
            return self._refuse(document)
        body = orjson.dumps(document)
        answer = misbehaviour.after(self.faults, text, body, self.last_answers)
        if self.faults.take("mailchimp", "shift", text) is not None:
            await to_thread.run_sync(self._shift, document)
        return Response(answer, status, headers, "application/json; charset=utf-8")

    def perform(self, method: str, path: str, query: dict[str, str], body: Any) -> tuple[int, Any]:
        """`routes.answer`, after what has become due: scheduled campaigns and batches."""
        with self.account.lock:
            call = Call(self.account, self.account.now(), method, path, query, body)
            campaigns.send_due(call)
            batches.work(call, self._in_batch)
            return routes.answer(call)

    def _in_batch(
        self, method: str, path: str, query: dict[str, str], body: Any
    ) -> tuple[int, Any]:
        call = Call(self.account, self.account.now(), method, path, query, body)
        status, found = routes.answer(call)
        is_refused = isinstance(found, Problem)
        return status, found.document(self._request_id()) if is_refused else found

    def _login(self, request: Request) -> Problem | None:
        scheme, _, given = request.headers.get("authorization", "").partition(" ")
        if scheme.lower() == "basic":
            try:
                given = base64.b64decode(given).decode().partition(":")[2]
            except (binascii.Error, UnicodeDecodeError):
                given = ""
        known = self.account.settings
        if scheme.lower() in ("basic", "bearer") and given in (known.api_key, known.access_token):
            return None
        name, _, centre = given.rpartition("-")
        if name == known.api_key.rpartition("-")[0] and centre:
            detail = "The API key provided is linked to a different datacenter."
            return Problem(403, "Wrong Datacenter", detail)
        detail = "Your API key may be invalid, or you've attempted to access the wrong datacenter."
        return Problem(401, "API Key Invalid", detail)

    def _refuse(self, problem: Problem) -> Response:
        request_id = self._request_id()
        return Response(
            orjson.dumps(problem.document(request_id)),
            problem.status,
            {"x-request-id": request_id},
            "application/problem+json; charset=utf-8",
        )

    def _request_id(self) -> str:
        return str(uuid.uuid5(uuid.NAMESPACE_URL, f"mailchimp:{next(self._ids)}"))

    def _shift(self, document: dict[str, Any]) -> None:
        """Change the first member of the page just answered: it moves to the end of the order."""
        first = next(iter(document.get("members") or ()), None)
        if first is not None:
            fields = {"language": "fr" if first.get("language") != "fr" else "en"}
            given = {"action": "update", "id": first["id"], "fields": fields}
            with self.account.lock:
                control.change(self._own_call(), given)

    # -- beside the API ---------------------------------------------------------------------------

    async def metadata(self, request: Request) -> Response:
        """Which data centre a token belongs to."""
        given = request.headers.get("authorization", "").partition(" ")[2]
        if given != self.account.settings.access_token:
            return JSONResponse({"error": "invalid_token"}, 401)
        centre = self.account.settings.api_key.rpartition("-")[2]
        endpoint = f"{self.base_url()}/mailchimp"
        return JSONResponse({"dc": centre, "role": "owner", "api_endpoint": endpoint})

    async def results(self, request: Request) -> Response:
        """The answers of a batch, for ten minutes after the URL was given."""
        expires = request.query_params.get("expires", "")
        try:
            packed = batches.archive(self._own_call(), request.path_params["key"], expires)
        except Problem as problem:
            return Response("<Error><Code>AccessDenied</Code></Error>", problem.status)
        return Response(packed, media_type="application/gzip")

    async def truth(self, request: Request) -> Response:
        """The facts of every visible record of a stream, one JSON line each."""
        found = truth.STREAMS.get(request.path_params["stream"])
        if found is None:
            return JSONResponse({"error": "no such stream; " + ", ".join(truth.STREAMS)}, 404)
        lines = await to_thread.run_sync(lambda: [*found(self._own_call())])
        chunks = (orjson.dumps(line) + b"\n" for line in lines)
        return StreamingResponse(_each(chunks), media_type="application/jsonl")

    async def record(self, request: Request) -> Response:
        """A change at the clock that no API call made: see docs/sandbox.md."""
        given = await request.json()
        try:
            with self.account.lock:
                return JSONResponse(control.change(self._own_call(), given), 201)
        except Problem as problem:
            return JSONResponse({"error": problem.detail}, problem.status)

    async def settings(self, request: Request) -> Response:
        """Read or change the settings."""
        known = self.account.settings
        if request.method == "POST":
            for name, value in (await request.json()).items():
                if not hasattr(known, name):
                    return JSONResponse({"error": f"no setting `{name}`"}, 400)
                setattr(known, name, value)
        hidden = ("api_key", "access_token")
        return JSONResponse({k: v for k, v in vars(known).items() if k not in hidden})

    def _own_call(self) -> Call:
        return Call(self.account, self.account.now(), "POST", "/", by="admin")


async def _each(chunks: Any) -> Any:
    for chunk in chunks:
        yield chunk
