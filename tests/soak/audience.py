"""The Mailchimp account."""

from __future__ import annotations

from typing import Any

from marketing_ops.connections import Connection
from marketing_ops.warehouse import Warehouse
from tests.soak.draw import Draw
from tests.soak.vendor import Difference, Vendor, compare
from tests.sync import test_mailchimp_sandbox

_ACTS = (
    "insert",
    "update",
    "update",
    "address",
    "leave",
    "archive",
    "restore",
    "delete",
    "bulk",
    "segment",
)
_KEYS = {
    "members": 2,
    "segments": 2,
    "email_activity": 2,
    "opens": 2,
    "sent": 2,
    "unsubscribes": 2,
    "complaints": 3,
}


class Audience(Vendor):
    """The account, at the held clock."""

    system, account = "mailchimp", "mailchimp_soak"
    streams = test_mailchimp_sandbox.STREAMS
    backfilled = ("members", "email_activity", "opens", "sent", "unsubscribes")
    faults = (
        {"kind": "status", "status": 500},
        {"kind": "status", "status": 400, "most": 1},
        {"kind": "status", "status": 401, "most": 1},
        {"kind": "throttle"},
        {"kind": "html403", "most": 2},
        {"kind": "html429", "most": 2},
        {"kind": "slow", "seconds": 0.1},
        {"kind": "drop_connection"},
        {"kind": "drop_connection", "most": 9},
        {"kind": "bad_json", "most": 1},
        {"kind": "nan", "match": "exclude_fields", "most": 1},
        {"kind": "bad_utf8", "match": "exclude_fields", "most": 1},
        {"kind": "repeat_page", "most": 1, "match": "offset="},
        {"kind": "shift", "most": 6, "match": "exclude_fields"},
        {"kind": "shift", "most": 6, "match": "exclude_fields"},
        {"settings": {"delay_seconds": 0.02}},
        {"settings": {"connections": 2}},
    )

    def connection(self) -> Connection:
        """With an API key."""
        host = f"{self.server.base_url}/mailchimp"
        return Connection(self.account, host=host, password="sandbox-us1")

    def calm(self) -> None:
        usual = {"connections": 10, "delay_seconds": 0.0}
        self.server.call("POST", "/_sandbox/mailchimp/settings", usual)

    def change(self, draw: Draw, name: str) -> str:
        act = draw.pick("act", _ACTS)
        members = self.server.facts("mailchimp", "members")
        archived = [row for row in members if row["status"] == "archived"]
        present = [row for row in members if row["status"] != "archived"]
        if act in ("insert", "bulk", "segment") or (act == "restore" and not archived):
            self._add(draw, act, name)
            return act
        one = draw.pick("id", {"restore": archived, "archive": present}.get(act, members))
        changed: dict[str, Any] = {
            "update": {"merge_fields": {"FNAME": f"Soak {name}"}},
            "address": {"email_address": f"{name}.new@example.com"},
            "leave": {"status": "unsubscribed", "by": "user"},
        }
        action = "update" if act in changed else act
        fields = {"list_id": one["list_id"], **changed.get(act, {})}
        self.server.act("mailchimp", action, kind="member", id=one["id"], fields=fields)
        return act

    def _add(self, draw: Draw, act: str, name: str) -> None:
        if act == "segment":
            fields: dict[str, Any] = {"name": f"Soak {name}"}
            self.server.act("mailchimp", "insert", kind="segment", fields=fields)
        elif act == "bulk":
            fields = {"count": 30 + draw.number("count", 200)}
            self.server.act("mailchimp", "bulk", kind="member", fields=fields)
        else:
            fields = {"email_address": f"{name}@example.com"}
            self.server.act("mailchimp", "insert", kind="member", fields=fields)

    def differences(self, db: Warehouse) -> list[Difference]:
        held = test_mailchimp_sandbox.Account(db, self.server)
        found = [
            compare(stream, names, _KEYS.get(stream, 1), held.held(stream), held.truth(stream))
            for stream, names in test_mailchimp_sandbox.TRUE.items()
        ]
        return [one for one in found if one]
