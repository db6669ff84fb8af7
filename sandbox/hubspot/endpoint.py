"""HubSpot over HTTP: tokens, limits, faults, and the way to each handler."""

from __future__ import annotations

import asyncio
import json
import logging
import time
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl

import orjson
from starlette.requests import Request
from starlette.responses import HTMLResponse, Response, StreamingResponse
from starlette.routing import Route

from sandbox import store
from sandbox.faults import Faults, Requests
from sandbox.hubspot import routes, seed, spoiled
from sandbox.hubspot.account import Tokens
from sandbox.hubspot.answers import Answer, Ask, RefusedError, correlation, error_body
from sandbox.hubspot.control import Control
from sandbox.hubspot.crm import Crm
from sandbox.hubspot.limits import Limits
from sandbox.hubspot.webhooks import Webhooks
from sandbox.shopify.world import World

log = logging.getLogger("sandbox")
SYSTEM = "hubspot"
JSON = "application/json;charset=utf-8"
EXPIRED = (
    "Authentication credentials not found. This API supports OAuth 2.0 authentication and you can"
    " find more details at https://developers.hubspot.com/docs/methods/auth/oauth-overview"
)


class HubSpot:
    """One portal's routes and the state behind them."""

    def __init__(
        self,
        folder: Path,
        world: World,
        base_url: Callable[[], str],
        faults: Faults,
        requests: Requests,
    ) -> None:
        self.base_url, self.faults, self.requests = base_url, faults, requests
        self.crm = _opened(folder / "hubspot.sqlite", world)
        self.limits = Limits(self.crm.settings)
        self.tokens = Tokens(self.crm)
        self.webhooks = Webhooks(self.crm)
        self.control = Control(self.crm, self.limits.clear)

    def routes(self) -> list[Route]:
        """The routes below the sandbox's root."""
        methods = ["GET", "POST", "PUT", "PATCH", "DELETE"]
        return [Route("/hubspot/{path:path}", self.call, methods=methods), *self.control.routes()]

    def deliver(self) -> int:
        """Post the webhooks that the clock has passed; how many events were accepted."""
        return self.webhooks.deliver()

    def state(self) -> dict[str, Any]:
        """Counts and newest changes by stream."""
        return self.control.state()

    async def call(self, request: Request) -> Response:
        """Answer one request as HubSpot would, faults first."""
        started = time.perf_counter()
        raw = await request.body()
        path = "/" + request.path_params["path"]
        text = (
            f"{request.method} {path}?{request.url.query} {raw[:4096].decode('utf-8', 'replace')}"
        )
        response = await self._broken(text)
        if response is None:
            response = self._answer(request, path, raw, text)
        self.requests.add(
            SYSTEM,
            started,
            path=_noted(path),
            method=request.method,
            status=response.status_code,
            bytes=len(getattr(response, "body", b"")),
        )
        return response

    def _answer(self, request: Request, path: str, raw: bytes, text: str) -> Response:
        now = self.crm.now()
        plain = routes.plain(path)
        headers: dict[str, str] = {}
        try:
            if plain is None:
                raise RefusedError(404, "This version of the API is not served", "NOT_FOUND")
            body = _body(request, raw)
            ask = Ask(
                self.crm, request.method, plain, request.query_params, body, now, self.base_url()
            )
            handle = self._without_token(ask)
            if handle is None:
                is_search = plain.startswith("/crm/objects/") and plain.endswith("/search")
                app = self._app(request, ask)
                headers = self._admitted(ask, app, text, is_search=is_search)
                handle = self._handler(ask)
            answer = handle()
        except RefusedError as error:
            known = error.more.pop("headers", {})
            answer = Answer(error_body(error, path, now), error.status, known)
        return self._rendered(answer, {**headers, **answer.headers}, text, ask_body=raw)

    def _without_token(self, ask: Ask) -> Callable[[], Answer] | None:
        """The calls that bring their secret in the body or the path."""
        match ask.path.split("/")[1:]:
            case ["oauth", "token"]:
                return lambda: self.tokens.token(ask)
            case ["oauth", "access-tokens", token]:
                return lambda: self.tokens.about(ask, token)
            case ["oauth", "private-apps", "get", "access-token-info"]:
                return lambda: self.tokens.about_private(ask)
        return None

    def _app(self, request: Request, ask: Ask) -> str:
        token = request.headers.get("authorization", "").removeprefix("Bearer ")
        if self.faults.take(SYSTEM, "expired_token", f"{ask.method} {ask.path}?{ask.query}"):
            self.tokens.expire()
            message = "The OAuth token used to make this call expired 1 second(s) ago."
            raise RefusedError(401, message, "EXPIRED_AUTHENTICATION")
        app = self.tokens.app_of(token, ask.now)
        if app is None:
            raise RefusedError(401, EXPIRED, "INVALID_AUTHENTICATION")
        return app

    def _admitted(self, ask: Ask, app: str, text: str, *, is_search: bool) -> dict[str, str]:
        """Count the call against the limits; returns what the answer says about them.

        Raises:
            RefusedError: A limit is reached, or the app lacks a scope.
        """
        policy = self.limits.take(app, ask.now, is_search=is_search)
        if self.faults.take(SYSTEM, "daily", text):
            policy = "DAILY"
        throttle = self.faults.take(SYSTEM, "throttle", text)
        if throttle is not None:
            policy = str(throttle.options.get("policy", "TEN_SECONDLY_ROLLING"))
        headers = {} if is_search else self.limits.headers(app)
        if policy is not None:
            raise _limited(policy, headers, ask)
        scope = routes.scope(ask.method, ask.path)
        if scope in self.crm.settings.missing_scopes:
            raise _forbidden(scope)
        return headers

    def _handler(self, ask: Ask) -> Callable[[], Answer]:
        if ask.path == "/account-info/api-usage/daily/private-apps":
            return lambda: Answer(self._usage(ask))
        found = routes.find(ask.method, ask.path)
        if found is None:
            raise RefusedError(404, "Unable to find the requested resource", "NOT_FOUND")
        return lambda: found.handle(ask, *found.arguments)

    def _usage(self, ask: Ask) -> dict[str, Any]:
        day_ends = (ask.now // 86_400_000 + 1) * 86_400_000
        usage = {
            "name": "private-apps-api-calls-daily",
            "usageLimit": self.crm.settings.daily,
            "currentUsage": self.limits.used_today(),
            "collectedAt": ask.now,
            "fetchStatus": "SUCCESS",
            "resetsAt": day_ends,
        }
        return {"results": [usage]}

    async def _broken(self, text: str) -> Response | None:
        """The faults that come before anything else."""
        take = self.faults.take
        slow = take(SYSTEM, "slow", text)
        if slow is not None:
            await asyncio.sleep(float(slow.options.get("seconds", 1)))
        if take(SYSTEM, "drop_connection", text):
            return StreamingResponse(_nothing(), headers={"content-length": "1000"})
        redirect = take(SYSTEM, "redirect", text)
        if redirect is not None:
            where = str(redirect.options.get("location", "https://elsewhere.example/"))
            return Response(status_code=307, headers={"location": where})
        bomb = take(SYSTEM, "gzip_bomb", text)
        if bomb is not None:
            packed = spoiled.bomb(int(bomb.options.get("bytes", 1_000_000_000)))
            return Response(packed, headers={"content-encoding": "gzip"}, media_type=JSON)
        fault = take(SYSTEM, "status", text)
        if fault is None:
            return None
        headers = {}
        if "retry_after" in fault.options:
            headers["retry-after"] = str(fault.options["retry_after"])
        body = {
            "status": "error",
            "message": str(fault.options.get("message", "ordered by a test")),
            "correlationId": correlation(fault.id, "fault"),
            "category": str(fault.options.get("category", "INTERNAL_ERROR")),
        }
        return Response(orjson.dumps(body), int(fault.options["status"]), headers, media_type=JSON)

    def _rendered(
        self, answer: Answer, headers: dict[str, str], text: str, ask_body: bytes
    ) -> Response:
        if answer.body is None:
            return Response(status_code=answer.status, headers=headers)
        if answer.status >= 400:
            return Response(orjson.dumps(answer.body), answer.status, headers, media_type=JSON)
        if self.faults.take(SYSTEM, "html", text):
            return HTMLResponse("<html><body>Just a moment...</body></html>")
        body = spoiled.spoil(self.faults, SYSTEM, text, answer.body, ask_body)
        return Response(body, answer.status, headers, media_type=JSON)


def _noted(path: str) -> str:
    """A path for the list of requests: without version, addresses and tokens."""
    words = (routes.plain(path) or path).split("/")
    is_token = words[1:3] == ["oauth", "access-tokens"]
    return "/".join(
        "*" if "@" in word or (is_token and n > 2) else word for n, word in enumerate(words)
    )


def _body(request: Request, raw: bytes) -> Any:
    if not raw:
        return None
    if "urlencoded" in request.headers.get("content-type", ""):
        return dict(parse_qsl(raw.decode("utf-8", "replace"), keep_blank_values=True))
    try:
        return json.loads(raw)
    except ValueError as error:
        raise RefusedError(400, "Invalid input JSON") from error


def _limited(policy: str, headers: dict[str, str], ask: Ask) -> RefusedError:
    """A 429: its body names the policy, by which a short limit and the day's are told apart."""
    return RefusedError(
        429,
        f"You have reached your {policy.lower()} limit.",
        "RATE_LIMITS",
        errorType="RATE_LIMIT",
        policyName=policy,
        requestId=correlation("request", ask.path, ask.now),
        headers=headers,
    )


def _forbidden(scope: str) -> RefusedError:
    message = "This app hasn't been granted all required scopes to make this call."
    wanted = {"requiredGranularScopes": [scope]}
    return RefusedError(
        403, message, "MISSING_SCOPES", errors=[{"message": message, "context": wanted}]
    )


def _opened(path: Path, world: World) -> Crm:
    """The portal kept at `path`; seeded first when there is none, or one of another shop."""
    shop = {name: store.meta(world.reader)[name] for name in ("inputs", "weeks", "zone")}
    wanted = {**shop, "version": seed.VERSION}
    crm = Crm(path, world)
    if crm.records.meta().get("seeded") == wanted:
        return crm
    crm.records.close()
    for old in path.parent.glob(f"{path.name}*"):
        old.unlink()
    crm = Crm(path, world)
    # The machine's date, as for the shop: the product's clock may stand anywhere.
    seed.seed(crm, int(time.time() * 1000))
    crm.records.put_meta({"seeded": wanted})
    return crm


async def _nothing() -> AsyncIterator[bytes]:
    """A body that ends before it began: the connection is cut."""
    yield b""
