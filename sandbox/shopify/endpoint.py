"""The shop over HTTP: tokens, GraphQL, bulk results, and the pages that mails link to."""

from __future__ import annotations

import asyncio
import hashlib
import html
import math
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import orjson
from graphql import ExecutionResult, GraphQLError, execute
from graphql.language import FieldNode
from starlette.requests import Request
from starlette.responses import HTMLResponse, Response, StreamingResponse
from starlette.routing import Route

from sandbox.faults import Requests
from sandbox.shopify import API_VERSION, bulk, mutations, roots, webhooks
from sandbox.shopify.documents import MAX_COST, Document, Library, scale
from sandbox.shopify.paging import Page
from sandbox.shopify.render import kind_of, resolve
from sandbox.shopify.throttle import Bucket
from sandbox.shopify.world import Run, World

__all__ = ["Shopify", "mutations", "roots", "webhooks"]

TOKEN_SECONDS = 86_399
CHUNK = 1 << 20
HEADERS = {"x-shopify-api-version": API_VERSION}
NOT_FOUND = {"errors": "Not Found"}
REFUSALS = {
    401: "[API] Invalid API key or access token (unrecognized login or wrong password)",
    402: "Unavailable Shop",
    403: "[API] This action requires merchant approval for read_orders scope.",
    404: "Not Found",
    423: "This shop is locked",
    429: "Exceeded 2 calls per second for api client. Reduce request rates to resume uninterrupted"
    " service.",
    430: "Security Rejection",
}


@dataclass
class Answer:
    """The pieces of one GraphQL answer."""

    body: bytes
    operation: str = ""
    cost: int = 0
    code: str = "ok"


@dataclass
class Shopify:
    """One shop's routes and the state behind them."""

    world: World
    requests: Requests
    library: Library = field(default_factory=lambda: bulk.LIBRARY)
    issued: dict[str, float] = field(default_factory=dict)
    last_answers: dict[str, bytes] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.bucket = Bucket(self.world.settings)

    def routes(self) -> list[Route]:
        """The routes below the sandbox's root."""
        return [
            Route("/shopify/admin/api/{version}/graphql.json", self.graphql, methods=["POST"]),
            Route("/shopify/admin/oauth/access_token", self.access_token, methods=["POST"]),
            Route(roots.RESULT_PATH + "/{name}", self.bulk_result),
            Route("/products/{handle}", self.product_page),
            Route("/cart/{key:int}/recover", self.cart_page),
            Route("/images/{key:int}.svg", self.image),
        ]

    # -- GraphQL ----------------------------------------------------------------------------------

    async def graphql(self, request: Request) -> Response:
        """Answer one operation as Shopify would, faults first."""
        started = time.perf_counter()
        raw = await request.body()
        answer = await self._misbehave(
            raw.decode("utf-8", "replace"), "status slow drop_connection"
        )
        refused = answer or self._refuse(request)
        if refused is not None:
            self.requests.add("shopify", started, path="graphql", status=refused.status_code)
            return refused
        result = self._answer(raw)
        changed = self._spoil(raw, result)
        self.requests.add(
            "shopify",
            started,
            path="graphql",
            status=200,
            operation=result.operation,
            code=result.code,
            cost=result.cost,
            bytes=len(result.body),
        )
        return changed or Response(result.body, headers=HEADERS, media_type="application/json")

    def _answer(self, raw: bytes) -> Answer:
        try:
            asked = orjson.loads(raw)
            text, given = asked["query"], asked.get("variables") or {}
        except (orjson.JSONDecodeError, KeyError, TypeError):
            return Answer(_dump({"errors": [{"message": "Invalid request body"}]}), code="bad_body")
        document = self.library.get(text)
        if document.errors:
            errors = [error.formatted for error in document.errors]
            return Answer(_dump({"errors": errors}), code="invalid")
        try:
            operation = document.operation(asked.get("operationName"))
            variables = self.library.variables(operation, given)
        except GraphQLError as error:
            return Answer(_dump({"errors": [error.formatted]}), code="invalid")
        names = ",".join(
            node.name.value
            for node in operation.selection_set.selections
            if isinstance(node, FieldNode)
        )
        requested, item = self.library.cost(document, operation, variables)
        if requested > MAX_COST:
            return Answer(_too_expensive(requested), names, requested, "MAX_COST_EXCEEDED")
        run = Run(self.world, self.world.now(), variables)
        wanted = self.world.faults.take("shopify", "throttle", text)
        if wanted is not None or not self.bucket.take(requested, run.now):
            return Answer(self._throttled(requested), names, requested, "THROTTLED")
        data = self._execute(document, operation, run, given)
        return self._finished(data, run, names, requested, item)

    def _execute(
        self, document: Document, operation: Any, run: Run, given: dict[str, Any]
    ) -> bytes:
        """`"data":…` and, where there are any, `"errors":…`, as JSON without the outer braces."""
        render = self.library.compiled(document, operation)
        if render is not None:
            try:
                return b'"data":' + render(None, run).encode()
            except GraphQLError:
                # graphql-core says where and in which form.
                run.search.clear()
        assert document.node is not None
        result = execute(
            self.library.schema,
            document.node,
            None,
            run,
            given,
            operation.name.value if operation.name else None,
            field_resolver=lambda value, info, **arguments: resolve(
                info.parent_type.name, info.field_name, value, run, arguments
            ),
            type_resolver=lambda value, _info, abstract: kind_of(value, abstract.name),
        )
        assert isinstance(result, ExecutionResult)
        return orjson.dumps(result.formatted)[1:-1]

    def _finished(self, data: bytes, run: Run, names: str, requested: int, item: float) -> Answer:
        pages = [found for found in run.pages if isinstance(found, Page)]
        actual = requested
        if pages and item:
            actual = min(requested, math.ceil(2 + item * scale(len(pages[0].items))))
        self.bucket.give_back(requested - actual)
        extensions: dict[str, Any] = {
            "cost": {
                "requestedQueryCost": requested,
                "actualQueryCost": actual,
                "throttleStatus": self.bucket.status(),
            }
        }
        if run.search:
            extensions["search"] = [{"path": names.split(","), **one} for one in run.search]
        body = b"{" + data + b',"extensions":' + orjson.dumps(extensions) + b"}"
        return Answer(body, names, actual, "errors" if b'"errors":' in data[:40] else "ok")

    def _throttled(self, requested: int) -> bytes:
        error = {
            "message": "Throttled",
            "extensions": {
                "code": "THROTTLED",
                "documentation": "https://shopify.dev/api/usage/rate-limits",
            },
        }
        cost = {
            "requestedQueryCost": requested,
            "actualQueryCost": None,
            "throttleStatus": self.bucket.status(),
        }
        return _dump({"errors": [error], "extensions": {"cost": cost}})

    # -- refusals and faults ----------------------------------------------------------------------

    def _refuse(self, request: Request) -> Response | None:
        token = request.headers.get("x-shopify-access-token", "")
        known = token == self.world.settings.token or self.issued.get(token, 0) > self.world.now()
        return None if known else _refusal(401)

    async def _misbehave(self, text: str, kinds: str) -> Response | None:
        take = self.world.faults.take
        for kind in kinds.split():
            fault = take("shopify", kind, text)
            if fault is None:
                continue
            if kind == "slow":
                await asyncio.sleep(float(fault.options.get("seconds", 1)))
            elif kind == "drop_connection":
                return StreamingResponse(_nothing(), headers={"content-length": "1000"})
            else:
                return _refusal(int(fault.options["status"]), fault.options.get("retry_after"))
        if take("shopify", "expired_token", text) is not None:
            self.issued.clear()
            return _refusal(401)
        return None

    def _spoil(self, raw: bytes, result: Answer) -> Response | None:
        """The faults that need an answer to spoil."""
        text = raw.decode("utf-8", "replace")
        take = self.world.faults.take
        if take("shopify", "bad_json", text) is not None:
            half = result.body[: len(result.body) // 2]
            return Response(half, headers=HEADERS, media_type="application/json")
        if take("shopify", "html", text) is not None:
            return HTMLResponse("<html><body>We'll be right back.</body></html>")
        if take("shopify", "stuck_cursor", text) is not None and self.last_answers:
            body = self.last_answers.get(result.operation, result.body)
            return Response(body, headers=HEADERS, media_type="application/json")
        self.last_answers[result.operation] = result.body
        return None

    # -- tokens -----------------------------------------------------------------------------------

    async def access_token(self, request: Request) -> Response:
        """The client-credentials grant: a token for a day."""
        started = time.perf_counter()
        raw = await request.body()
        broken = await self._misbehave("access_token", "status slow drop_connection")
        settings = self.world.settings
        try:
            given = orjson.loads(raw)
        except orjson.JSONDecodeError:
            given = dict(await request.form())
        status = 200
        body: dict[str, Any]
        if given.get("grant_type") != "client_credentials":
            status, body = 400, {"error": "unsupported_grant_type"}
        elif (given.get("client_id"), given.get("client_secret")) != (
            settings.client_id,
            settings.client_secret,
        ):
            status, body = 401, {"error": "invalid_client"}
        else:
            text = f"{time.time_ns()}:{len(self.issued)}"
            token = "shpca_" + hashlib.sha256(text.encode()).hexdigest()[:32]
            self.issued[token] = self.world.now() + TOKEN_SECONDS
            body = {
                "access_token": token,
                "scope": "read_all_orders,read_customers,read_orders,read_products",
                "expires_in": TOKEN_SECONDS,
            }
        response = broken or Response(_dump(body), status, media_type="application/json")
        self.requests.add("shopify", started, path="access_token", status=response.status_code)
        return response

    # -- bulk results -----------------------------------------------------------------------------

    async def bulk_result(self, request: Request) -> Response:
        """The lines of a finished operation, streamed."""
        started = time.perf_counter()
        name = request.path_params["name"]
        digits = name.removeprefix("bulk-").removesuffix(".jsonl")
        found = self.world.bulks.get(int(digits)) if digits.isdigit() else None
        broken = await self._misbehave("bulk_result", "status slow drop_connection")
        if broken is not None:
            return broken
        if found is None or found.path is None or not found.path.exists():
            return Response("<Error><Code>NoSuchKey</Code></Error>", 404)
        size = found.path.stat().st_size
        if found.partial:
            size //= 2
        start = _range_start(request.headers.get("range", ""))
        if start >= size > 0:
            return Response(status_code=416, headers={"content-range": f"bytes */{size}"})
        length = size - start
        headers = {
            "content-length": str(length),
            "content-disposition": f'attachment; filename="{name}"',
            "accept-ranges": "bytes",
        }
        if start:
            headers["content-range"] = f"bytes {start}-{size - 1}/{size}"
        fault = self.world.faults.take("shopify", "truncate_bulk", found.query)
        if fault is not None:
            length //= 2
            if fault.options.get("how", "silent") == "silent":
                headers["content-length"] = str(length)
        status = 206 if start else 200
        self.requests.add("shopify", started, path="bulk_result", status=status, bytes=length)
        return StreamingResponse(
            _pieces(found.path, start, length), status, headers, "application/jsonl"
        )

    # -- the pages of the shop itself --------------------------------------------------------------

    async def product_page(self, request: Request) -> Response:
        """What a link to a product opens."""
        return _page(self.world.name, request.path_params["handle"].replace("-", " ").title())

    async def cart_page(self, request: Request) -> Response:
        """What a link to an abandoned checkout opens."""
        return _page(self.world.name, f"Checkout {request.path_params['key']}")

    async def image(self, request: Request) -> Response:
        """A coloured square in place of a photograph."""
        hue = request.path_params["key"] * 47 % 360
        square = (
            '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 32 32">'
            f'<rect width="32" height="32" fill="hsl({hue} 45% 70%)"/></svg>'
        )
        return Response(square, media_type="image/svg+xml")


def _page(shop: str, title: str) -> Response:
    text = f"{html.escape(title)} - {html.escape(shop)}"
    return HTMLResponse(f"<!doctype html><title>{text}</title><h1>{text}</h1>")


def _refusal(status: int, retry_after: Any = None) -> Response:
    headers = dict(HEADERS)
    if retry_after is not None:
        headers["retry-after"] = str(retry_after)
    body = _dump({"errors": REFUSALS.get(status, "Internal Server Error")})
    return Response(body, status, headers=headers, media_type="application/json")


def _too_expensive(cost: int) -> bytes:
    message = (
        f"Query cost is {cost}, which exceeds the single query max cost limit ({MAX_COST})."
        " See https://shopify.dev/concepts/about-apis/rate-limits for more information"
    )
    extensions = {"code": "MAX_COST_EXCEEDED", "cost": cost, "maxCost": MAX_COST}
    return _dump({"errors": [{"message": message, "extensions": extensions}]})


def _dump(value: Any) -> bytes:
    return orjson.dumps(value)


async def _nothing() -> AsyncIterator[bytes]:
    """A body that ends before it began: the connection is cut."""
    yield b""


def _range_start(header: str) -> int:
    """Where a `Range: bytes=N-` begins; 0 without one."""
    start = header.removeprefix("bytes=").partition("-")[0]
    return int(start) if header.startswith("bytes=") and start.isdigit() else 0


async def _pieces(path: Path, start: int, size: int) -> AsyncIterator[bytes]:
    with path.open("rb") as file:
        file.seek(start)
        while size > 0 and (piece := file.read(min(CHUNK, size))):
            size -= len(piece)
            yield piece
