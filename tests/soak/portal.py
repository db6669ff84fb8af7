"""The HubSpot portal."""

from __future__ import annotations

from typing import Any

from marketing_ops.connections import Connection
from marketing_ops.warehouse import Warehouse
from tests.soak.draw import Draw
from tests.soak.vendor import Difference, Vendor, compare
from tests.sync import hubspot_account

_PLURAL = {"contact": "contacts", "company": "companies", "deal": "deals"}
_CRM_ACTS: dict[str, tuple[str, ...]] = {
    "contact": ("delete", "restore", "erase", "merge", "merge", "bulk", "consent"),
    "company": ("delete", "restore", "merge"),
    "deal": ("delete", "restore", "link", "bulk"),
}
_TITLES = {"contact": "firstname", "company": "name", "deal": "dealname"}
_KEYS = {"deal_stages": 3, "list_members": 2, "consents": 2}


class Portal(Vendor):
    """The portal, at the held clock."""

    system, account = "hubspot", "hubspot_soak"
    streams = hubspot_account.STREAMS
    backfilled = ("contacts", "companies", "deals", "email_events")
    faults = (
        {"kind": "status", "status": 502},
        {"kind": "status", "status": 400, "most": 1},
        {"kind": "throttle", "policy": "TEN_SECONDLY_ROLLING"},
        {"kind": "throttle", "policy": "SECONDLY"},
        {"kind": "daily", "most": 1},
        {"kind": "expired_token", "most": 2},
        {"kind": "slow", "seconds": 0.1},
        {"kind": "drop_connection"},
        {"kind": "drop_connection", "most": 9},
        {"kind": "bad_json", "most": 1},
        {"kind": "html", "most": 1},
        {"kind": "nan", "match": "/contacts/search", "property": "firstname", "place": 3},
        {"kind": "bad_utf8", "match": "/contacts/search", "property": "firstname", "place": 1},
        {"kind": "stuck_cursor", "most": 1},
        {"kind": "drop_page", "most": 1},
        {"settings": {"search_lag_seconds": 60}},
        {"settings": {"page_cap": 20, "search_cap": 200}},
        {"settings": {"daily": 1000, "daily_used": 990}},
        {"settings": {"token_seconds": 1}},
        {"settings": {"missing_scopes": ["crm.objects.deals.read"]}},
    )

    def connection(self) -> Connection:
        """An app with a refresh token, so that its tokens end."""
        return Connection(
            self.account,
            host=self.server.hubspot_url,
            login="hubspot-client",
            password="hubspot-secret",
            extra={"refresh_token": "hubspot-refresh"},
        )

    def calm(self) -> None:
        self.server.call("DELETE", "/_sandbox/hubspot/settings")
        self.server.call("POST", "/_sandbox/hubspot/settings", hubspot_account.FAST)

    def change(self, draw: Draw, name: str) -> str:
        kind = draw.pick("kind", ("contact", "contact", "company", "deal"))
        act = draw.pick("act", ("insert", "update", "update", *_CRM_ACTS[kind]))
        known = [row["id"] for row in self._facts(_PLURAL[kind])]
        if act == "insert" or len(known) < 9:
            self._act("insert", kind, fields=self._fields(draw, kind, name, is_new=True))
        elif act == "bulk":
            self._act("bulk", kind, count=30 + draw.number("count", 200))
        elif act == "merge":
            first, second = draw.some("two", known, 1)[0], draw.pick("id", known)
            if first == second:
                return "nothing"
            self._act("merge", kind, first, other=second)
        elif act == "restore":
            gone = [row["id"] for row in self._facts(f"{kind}_deletions")]
            if not gone:
                return "nothing"
            self._act("restore", kind, draw.pick("id", gone))
        else:
            self._change_one(draw, act, kind, draw.pick("id", known), name)
        return f"{act} {kind}"

    def _change_one(self, draw: Draw, act: str, kind: str, key: str, name: str) -> None:
        if act == "link":
            person = draw.pick("person", self._facts("contacts"))["id"]
            self._act("link", kind, key, links={"contacts": [person]}, on=draw.chance("on", 70))
        elif act == "consent":
            people = [row["properties"].get("email") for row in self._facts("contacts")]
            email = draw.pick("address", [one for one in people if one])
            status = draw.pick("status", ("SUBSCRIBED", "UNSUBSCRIBED"))
            self._act("consent", kind, email=email, status=status)
        elif act == "update":
            self._act("update", kind, key, fields=self._fields(draw, kind, name, is_new=False))
        else:
            self._act(act, kind, key)

    def _fields(self, draw: Draw, kind: str, name: str, *, is_new: bool) -> dict[str, Any]:
        title = {_TITLES[kind]: f"Soak {name}"}
        stage = draw.pick("stage", self._facts("stages"))["id"]
        more: dict[str, dict[str, Any]] = {
            "contact": {"email": f"{name}@example.com"},
            "company": {"domain": f"{name}.example.com"},
            "deal": {"dealstage": stage, "amount": f"{1 + draw.number('amount', 9999)}.50"},
        }
        return {**title, **more[kind]} if is_new or draw.chance("both", 50) else title

    def _act(self, action: str, kind: str, key: str = "", **more: Any) -> None:
        self.server.act("hubspot", action, kind=kind, id=key, **more)

    def _facts(self, stream: str) -> list[dict[str, Any]]:
        return self.server.facts("hubspot", stream)

    def differences(self, db: Warehouse) -> list[Difference]:
        portal = hubspot_account.Account(db, self.server)
        found = [
            compare(stream, names, _KEYS.get(stream, 1), portal.held(stream), portal.truth(stream))
            for stream, names in hubspot_account.TRUE.items()
        ]
        return [one for one in found if one]
