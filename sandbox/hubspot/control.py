"""HubSpot's part of the control API: the truth, changes by tests, settings."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Route

from sandbox.hubspot import KEPT, consents, properties, truth
from sandbox.hubspot.crm import Crm, Links, Settings
from sandbox.hubspot.values import iso

ACTIONS = ("insert", "bulk", "update", "delete", "erase", "restore", "merge", "link", "consent")
HIDDEN = ("token", "client_secret", "refresh_token")


class Control:
    """Everything below `/_sandbox/hubspot`."""

    def __init__(self, crm: Crm, refill: Callable[[], None]) -> None:
        self.crm, self.refill = crm, refill
        self.streams = truth.streams()

    def routes(self) -> list[Route]:
        """The routes below the sandbox's root."""
        base, three = "/_sandbox/hubspot", ["GET", "POST", "DELETE"]
        return [
            Route(f"{base}/truth/{{stream}}", self.truth),
            Route(f"{base}/records", self.record, methods=["POST"]),
            Route(f"{base}/settings", self.settings, methods=three),
        ]

    def state(self) -> dict[str, Any]:
        """Counts and the newest change of the objects; counts of the rest."""
        now = self.crm.now()
        found: dict[str, Any] = {}
        for kind in KEPT:
            times = self.crm.view(kind, now).times
            newest = iso(times[-1]) if times else None
            found[kind] = {"count": len(times), "newest": newest}
        for name in ("owners", "lists", "list_members", "consents", "email_events", "merges"):
            found[name] = {"count": sum(1 for _ in self.streams[name](self.crm, now))}
        return {"streams": found}

    async def truth(self, request: Request) -> Response:
        """The facts of a stream, one JSON line each."""
        stream = self.streams.get(request.path_params["stream"])
        if stream is None:
            return _problem("no such stream: one of " + ", ".join(self.streams), 404)
        lines = (json.dumps(row) + "\n" for row in stream(self.crm, self.crm.now()))
        return StreamingResponse(lines, media_type="application/jsonl")

    async def record(self, request: Request) -> Response:
        """Change something at the clock, as people in the portal would."""
        given = await request.json()
        action, name = given.get("action"), str(given.get("kind", "contact"))
        kind = properties.SINGULAR.get(name, name)
        if kind not in KEPT or action not in ACTIONS:
            kinds = ", ".join(KEPT)
            return _problem(f"needs action ({', '.join(ACTIONS)}) and kind ({kinds})")
        now, fields = self.crm.now(), dict(given.get("fields") or {})
        self.crm.learn(kind, fields)
        if action == "bulk":
            return JSONResponse(self._bulk(kind, int(given["count"]), fields, now), 201)
        done = self._done(action, kind, str(given.get("id", "")), fields, given, now)
        if done is None:
            return _problem(f"no {name} {given.get('id')} is visible now", 404)
        return JSONResponse({"id": done, "at": iso(now)}, 201 if action == "insert" else 200)

    def _done(
        self, action: str, kind: str, key: str, fields: dict[str, Any], given: Any, now: int
    ) -> str | None:
        """The id of what was changed; None when it is not there."""
        crm = self.crm
        links: Links = {
            other: [str(one) for one in keys] for other, keys in (given.get("links") or {}).items()
        }
        match action:
            case "insert":
                return crm.create(kind, fields, now, links)
            case "update":
                return key if crm.change(kind, key, fields, now) else None
            case "delete":
                return key if crm.archive(kind, key, now) else None
            case "restore":
                return key if crm.restore(kind, key, now) else None
            case "merge":
                return crm.merge(kind, key, str(given.get("other")), now)
            case "erase":
                crm.erase(kind, key, now)
                return key
            case "consent":
                email, subscription = str(given["email"]), int(given.get("subscription", 501))
                basis = "CONSENT_WITH_NOTICE"
                consents.say(crm, email, subscription, str(given["status"]), now, basis=basis)
                return email
        is_on = given.get("on", True)
        pairs = [(other, one) for other, keys in links.items() for one in keys]
        return key if all(crm.link(kind, key, o, k, now, on=is_on) for o, k in pairs) else None

    def _bulk(self, kind: str, count: int, fields: dict[str, Any], now: int) -> dict[str, Any]:
        """Many objects of one instant; contacts get addresses of their own."""
        title = {"contacts": "lastname", "companies": "name", "deals": "dealname"}.get(kind)
        made: list[tuple[dict[str, Any], Links]] = []
        for place in range(count):
            values = {**({title: f"Bulk {place}"} if title else {}), **fields}
            if kind == "contacts":
                values["email"] = f"bulk.{now}.{place}@example.com"
            made.append((values, {}))
        keys = self.crm.create_many(kind, made, now)
        return {"count": len(keys), "first": keys[0], "last": keys[-1], "at": iso(now)}

    async def settings(self, request: Request) -> Response:
        """Read the settings, change some, or (DELETE) have the usual ones; limits start afresh."""
        settings = self.crm.settings
        given: dict[str, Any] = {}
        if request.method == "POST":
            given = await request.json()
        elif request.method == "DELETE":
            given = vars(Settings())
        for name, value in given.items():
            if not hasattr(settings, name):
                return _problem(f"no setting `{name}`")
            setattr(settings, name, value)
        if given:
            self.refill()
        return JSONResponse({k: v for k, v in vars(settings).items() if k not in HIDDEN})


def _problem(message: str, status: int = 400) -> Response:
    return JSONResponse({"error": message}, status)
