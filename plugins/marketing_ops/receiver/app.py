"""The receiver: open pixel, click redirect, unsubscribe and the remote stop.

Only signed tokens are believed. A person is never made to wait for our books: the pixel and the
redirect answer even when Postgres is away; what must be stored (unsubscribe, stop) answers 503.
"""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from urllib.parse import urlsplit

from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, RedirectResponse, Response
from starlette.routing import Route

from marketing_ops import clock
from marketing_ops.connections import Resolver
from marketing_ops.errors import MarketingOpsError
from marketing_ops.receiver import pages, tokens
from marketing_ops.receiver.store import Store
from marketing_ops.receiver.tokens import BadTokenError, LinkToken
from marketing_ops.settings import settings

MAX_BODY = 8 * 1024
"""Bytes of a request; one-click clients send about thirty."""

_log = logging.getLogger(__name__)

_NO_STORE = {"cache-control": "no-store", "referrer-policy": "no-referrer"}
_PAGE = _NO_STORE | {
    "content-security-policy": "default-src 'none'; style-src 'unsafe-inline'; form-action 'self'",
    "x-frame-options": "DENY",
}


def create_app(resolve: Resolver) -> Starlette:
    """The ASGI app.

    Raises:
        FatalError: the signing key is missing or too short.
    """
    endpoints = _Endpoints(tokens.receiver_key(resolve), Store(resolve))

    @asynccontextmanager
    async def lifespan(_app: Starlette) -> AsyncIterator[None]:
        yield
        endpoints.store.close()

    return Starlette(
        lifespan=lifespan,
        routes=[
            Route("/o/{token}.gif", endpoints.opened, methods=["GET"]),
            Route("/c/{token}", endpoints.clicked, methods=["GET"]),
            Route("/u/{token}", endpoints.ask, methods=["GET"]),
            Route("/u/{token}", endpoints.unsubscribed, methods=["POST"]),
            Route("/stop", endpoints.stop, methods=["POST"]),
            Route("/healthz", endpoints.health, methods=["GET"]),
        ],
    )


class _Endpoints:
    def __init__(self, key: bytes, store: Store) -> None:
        self.key = key
        self.store = store

    async def opened(self, request: Request) -> Response:
        """Always the picture: a reader never sees that something is wrong with it."""
        try:
            token = tokens.read(self.key, "o", request.path_params["token"])
        except BadTokenError:
            _log.warning("an open with a bad token was ignored")
        else:
            await self._note(request, self.store.opened, token, _agent(request))
        return Response(pages.PIXEL, media_type="image/gif", headers=_NO_STORE)

    async def clicked(self, request: Request) -> Response:
        """To the target, which the signature covers; 400 for any other."""
        url = request.query_params.get("u", "")
        try:
            token = tokens.read(self.key, "c", request.path_params["token"], url)
        except BadTokenError:
            return HTMLResponse(pages.broken(), status_code=400, headers=_PAGE)
        if urlsplit(url).scheme not in ("http", "https"):
            return HTMLResponse(pages.broken(), status_code=400, headers=_PAGE)
        await self._note(request, self.store.clicked, token, _agent(request), url)
        return RedirectResponse(url, status_code=302, headers=_NO_STORE)

    async def ask(self, request: Request) -> Response:
        """The page with the button. Changes nothing: link scanners follow every link."""
        token = self._unsubscribe_token(request)
        if token is None:
            return HTMLResponse(pages.broken(), status_code=400, headers=_PAGE)
        return HTMLResponse(pages.ask(_brand_name(token.brand)), headers=_PAGE)

    async def unsubscribed(self, request: Request) -> Response:
        """RFC 8058 one-click, and the page's button: acts at once."""
        token = self._unsubscribe_token(request)
        if token is None:
            return HTMLResponse(pages.broken(), status_code=400, headers=_PAGE)
        body = await _body(request)
        if body is None:
            return Response("the request is too long", status_code=413)
        if b"List-Unsubscribe" not in body or b"One-Click" not in body:
            return HTMLResponse(pages.broken(), status_code=400, headers=_PAGE)
        try:
            await run_in_threadpool(self.store.unsubscribed, token, _agent(request))
        except MarketingOpsError as error:
            _log.error("an unsubscribe could not be stored: %s", error)
            return HTMLResponse(pages.later(), status_code=503, headers=_PAGE)
        return HTMLResponse(pages.done(_brand_name(token.brand)), headers=_PAGE)

    async def stop(self, request: Request) -> Response:
        """Throw the stop switch for the scope in a signed `Authorization: Bearer` token."""
        scheme, _, text = request.headers.get("authorization", "").partition(" ")
        try:
            scope = tokens.read_stop(
                self.key, text if scheme.lower() == "bearer" else "", clock.now()
            )
        except BadTokenError as error:
            return JSONResponse({"error": str(error)}, status_code=401)
        try:
            await run_in_threadpool(self.store.stop, scope)
        except MarketingOpsError as error:
            _log.error("a remote stop failed: %s", error)
            return JSONResponse({"error": "not stopped: try again"}, status_code=503)
        return JSONResponse({"stopped": scope})

    async def health(self, _request: Request) -> Response:
        """200 when Postgres answers, else 503."""
        try:
            await run_in_threadpool(self.store.check)
        except MarketingOpsError as error:
            return JSONResponse({"error": str(error)}, status_code=503)
        return JSONResponse({"ok": True})

    def _unsubscribe_token(self, request: Request) -> LinkToken | None:
        try:
            return tokens.read(self.key, "u", request.path_params["token"])
        except BadTokenError:
            return None

    async def _note(self, request: Request, store: Callable[..., None], *values: object) -> None:
        if request.method == "HEAD":
            return  # somebody asks whether the link works; nobody reads
        try:
            await run_in_threadpool(store, *values)
        except MarketingOpsError as error:
            _log.error("%s: lost, not stored: %s", store.__name__, error)


async def _body(request: Request) -> bytes | None:
    """The body, or None when it is longer than MAX_BODY; no more than that is ever kept."""
    pieces, length = [], 0
    async for piece in request.stream():
        length += len(piece)
        if length > MAX_BODY:
            return None
        pieces.append(piece)
    return b"".join(pieces)


def _agent(request: Request) -> str:
    return request.headers.get("user-agent", "")


def _brand_name(brand: str) -> str:
    known = settings().brands.get(brand)
    return known.name if known else brand
