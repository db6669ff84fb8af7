"""The control API: the clock, faults, noted requests, the truth, and changes for tests."""

from __future__ import annotations

import json
import os
from collections.abc import AsyncIterator, Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from anyio import to_thread
from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Route

from marketing_ops import clock
from marketing_ops.errors import MarketingOpsError
from sandbox.faults import Faults, Requests
from sandbox.mail import MailSandbox
from sandbox.shopify import changes
from sandbox.shopify.truth import counts, rows
from sandbox.shopify.webhooks import Webhooks
from sandbox.shopify.world import World
from sandbox.zones import iso

INSERTS: dict[str, Callable[[World, int, dict[str, Any]], int]] = {
    "customer": changes.insert_customer,
    "order": changes.insert_order,
    "product": changes.insert_product,
    "checkout": changes.insert_checkout,
}


class Control:
    """Everything below `/_sandbox`."""

    def __init__(
        self,
        world: World,
        mail: MailSandbox,
        faults: Faults,
        requests: Requests,
        webhooks: Webhooks,
        refill: Callable[[], None],
    ) -> None:
        self.world, self.mail, self.faults, self.requests = world, mail, faults, requests
        self.webhooks, self.refill = webhooks, refill
        self.deliveries: list[Callable[[], int]] = [webhooks.deliver]
        self.systems: dict[str, Callable[[], dict[str, Any]]] = {}
        """The other systems by name, with what each says about its state."""
        self.clock_file = Path(os.environ[clock.CLOCK_FILE_VARIABLE])

    def routes(self) -> list[Route]:
        """The routes below the sandbox's root."""
        return [
            Route("/_sandbox/clock", self.clock, methods=["GET", "POST"]),
            Route("/_sandbox/faults", self.fault, methods=["GET", "POST", "DELETE"]),
            Route("/_sandbox/requests", self.request_log, methods=["GET", "DELETE"]),
            Route("/_sandbox/state", self.state),
            Route("/_sandbox/state/{stream}", self.truth),
            Route("/_sandbox/shopify/records", self.record, methods=["POST"]),
            Route("/_sandbox/shopify/settings", self.settings, methods=["GET", "POST"]),
        ]

    def is_frozen(self) -> bool:
        """Whether somebody holds the clock."""
        return self.clock_file.exists() and bool(self.clock_file.read_text().strip())

    def perform_due(self) -> dict[str, int]:
        """What is due by the clock: readers' actions and webhooks; counts by action."""
        done = dict(self.mail.perform_due(clock.now()))
        return {**done, "webhook": sum(deliver() for deliver in self.deliveries)}

    async def clock(self, request: Request) -> Response:
        """Read the clock, or set it (`{"now": iso or null}`) and let happen what is due."""
        done: dict[str, int] = {}
        if request.method == "POST":
            given = await request.json()
            if "now" not in given:
                return _problem('send {"now": "2026-11-01T12:00:00Z"}, or null for real time')
            instant = None
            if given["now"] is not None:
                try:
                    instant = datetime.fromisoformat(str(given["now"]))
                except ValueError:
                    return _problem("`now` is not an ISO 8601 instant")
                if instant.tzinfo is None:
                    return _problem("`now` needs an offset, such as Z")
            clock.freeze(self.clock_file, instant)
            done = await to_thread.run_sync(self.perform_due)
        return JSONResponse(
            {
                "now": clock.now().astimezone(UTC).isoformat(),
                "is_frozen": self.is_frozen(),
                "readers": done,
            }
        )

    async def fault(self, request: Request) -> Response:
        """List, add or clear faults."""
        if request.method == "POST":
            given = await request.json()
            try:
                if given.get("system") == "smtp":
                    self.mail.set_fault({k: v for k, v in given.items() if k != "system"})
                    return JSONResponse(given, 201)
                return JSONResponse(self.faults.add(given).shown(), 201)
            except (ValueError, MarketingOpsError) as error:
                return _problem(str(error))
        if request.method == "DELETE":
            self.faults.clear()
            self.mail.clear_faults()
        found: dict[str, Any] = {"shopify": [], "smtp": self.mail.faults()}
        for one in self.faults.shown():
            found.setdefault(one["system"], []).append(one)
        return JSONResponse(found)

    async def request_log(self, request: Request) -> Response:
        """The last requests, without bodies; `?system=shopify` for one system."""
        if request.method == "DELETE":
            self.requests.clear()
        return JSONResponse(self.requests.shown(request.query_params.get("system")))

    async def state(self, request: Request) -> Response:
        """What a complete sync would find now: counts and newest changes by stream."""
        now = self.world.now()
        return JSONResponse(
            {
                "now": iso(now),
                "is_frozen": self.is_frozen(),
                "shopify": {
                    "currency": self.world.currency,
                    "time_zone": self.world.zone,
                    "streams": counts(self.world, now),
                },
                "smtp": self.mail.state(),
                **{name: state() for name, state in self.systems.items()},
            }
        )

    async def truth(self, request: Request) -> Response:
        """The facts of every visible record of a stream, one JSON line each."""
        found = rows(self.world, request.path_params["stream"], self.world.now())
        if found is None:
            return _problem("no such stream", 404)
        return StreamingResponse(_lines(found), media_type="application/jsonl")

    async def record(self, request: Request) -> Response:
        """Insert, update or delete a record of the shop at the clock."""
        given = await request.json()
        action, kind = given.get("action"), given.get("kind")
        if kind not in INSERTS or action not in ("insert", "update", "delete"):
            return _problem("needs action insert, update or delete; kind " + ", ".join(INSERTS))
        now = self.world.now()
        if action == "insert":
            key = INSERTS[kind](self.world, now, given.get("fields") or {})
            return JSONResponse({"id": str(key), "at": iso(now)}, 201)
        key = int(given["id"])
        if action == "delete":
            is_done = changes.delete(self.world, kind, key, now)
        else:
            is_done = changes.revise(self.world, kind, key, now, given.get("fields") or {})
        if not is_done:
            return _problem(f"no {kind} {key} is visible now", 404)
        return JSONResponse({"id": str(key), "at": iso(now)})

    async def settings(self, request: Request) -> Response:
        """Read or change the shop's settings: bucket, restore_rate, bulk_delay_seconds.

        A change fills the bucket.
        """
        settings = self.world.settings
        if request.method == "POST":
            for name, value in (await request.json()).items():
                if not hasattr(settings, name):
                    return _problem(f"no setting `{name}`")
                setattr(settings, name, value)
            self.refill()
        hidden = ("token", "client_secret")
        return JSONResponse({k: v for k, v in vars(settings).items() if k not in hidden})


def _problem(message: str, status: int = 400) -> Response:
    return JSONResponse({"error": message}, status)


async def _lines(found: Iterator[dict[str, Any]]) -> AsyncIterator[str]:
    for row in found:
        yield json.dumps(row) + "\n"
