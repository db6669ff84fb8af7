"""The Shopify shop."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from marketing_ops.connections import Connection
from marketing_ops.warehouse import Warehouse
from tests.soak.draw import Draw
from tests.soak.vendor import Difference, Vendor, compare

FACTS: dict[str, dict[str, str]] = {
    "customers": {
        "id": "id",
        "updated_at": "updated_at",
        "email": "email",
        "consent": "email_marketing_state",
        "orders": "number_of_orders",
        "spent": "(amount_spent * 100)::bigint",
    },
    "orders": {
        "id": "id",
        "updated_at": "updated_at",
        "customer_id": "customer_id",
        "total": "(total_amount * 100)::bigint",
        "refunded": "(refunded_amount * 100)::bigint",
        "is_cancelled": "cancelled_at is not null",
    },
    "order_lines": {
        "id": "id",
        "order_id": "order_id",
        "quantity": "quantity",
        "amount": "(amount * 100)::bigint",
    },
    "refunds": {
        "id": "id",
        "order_id": "order_id",
        "created_at": "created_at",
        "amount": "(amount * 100)::bigint",
    },
    "products": {
        "id": "id",
        "updated_at": "updated_at",
        "title": "title",
        "price": "(price * 100)::bigint",
        "stock": "stock",
    },
    "checkouts": {
        "id": "id",
        "updated_at": "updated_at",
        "customer_id": "customer_id",
        "is_completed": "completed_at is not null",
        "lines": "jsonb_array_length(lines)",
    },
}
"""By stream: a field of the truth and what it is in our row."""


class Shop(Vendor):
    """The shop, at the held clock."""

    system, account = "shopify", "shop_soak"
    streams = ("customers", "orders", "products", "checkouts", "product_deletions")
    backfilled = ("customers", "orders", "products", "checkouts")
    faults = (
        {"kind": "status", "status": 502},
        {"kind": "status", "status": 429, "retry_after": 1},
        {"kind": "status", "status": 401, "most": 1},
        {"kind": "status", "status": 403, "most": 1},
        {"kind": "throttle", "most": 4},
        {"kind": "drop_connection"},
        {"kind": "drop_connection", "most": 9},
        {"kind": "slow", "seconds": 0.1},
        {"kind": "bad_json", "most": 1},
        {"kind": "html", "most": 1},
        {"kind": "stuck_cursor", "most": 1},
        {"kind": "expired_token", "most": 1},
        {"kind": "bulk_failed", "status": "FAILED", "error_code": "INTERNAL_SERVER_ERROR"},
        {"kind": "truncate_bulk", "how": "silent", "most": 1},
        {"kind": "truncate_bulk", "how": "drop"},
    )

    def connection(self) -> Connection:
        """With a token of the client-credentials grant, so that it can expire."""
        return Connection(
            self.account,
            host=self.server.shop_url,
            login="sandbox-client",
            password="sandbox-secret",
        )

    def calm(self) -> None:
        usual = {"bucket": 2_000_000.0, "restore_rate": 1_000_000.0}
        self.server.configure(**usual, bulk_delay_seconds=0.0, bulk_large=5000)

    def change(self, draw: Draw, name: str) -> str:
        kind = draw.pick("kind", ("customer", "order", "product", "checkout"))
        act = draw.pick("act", ("insert", "update", "update", "delete", "burst"))
        if act == "burst":
            for place in range(30):
                self._insert(draw, kind, f"{name}.{place}")
        elif act == "insert" or not (known := self._known(kind, is_deleted=act == "delete")):
            self._insert(draw, kind, name)
        elif act == "update":
            self.server.update(kind, draw.pick("id", known), **self._fields(draw, kind, name))
        else:
            self.server.delete(kind, draw.pick("id", known))
        return f"{act} {kind}"

    def _known(self, kind: str, *, is_deleted: bool) -> list[str]:
        """The ids that may be changed so: who bought cannot be deleted, nor can what was bought."""
        if is_deleted and kind in ("order", "checkout"):
            return []
        rows = self.server.truth(f"{kind}s")
        return [row["id"] for row in rows if not (is_deleted and row.get("orders"))]

    def _insert(self, draw: Draw, kind: str, name: str) -> None:
        lines = [
            {"quantity": 1 + draw.number("quantity", 4), "cents": 100 + draw.number("cents", 9000)}
            for _ in range(1 + draw.number("lines", 5))
        ]
        if kind == "customer":
            self.server.insert(kind, email=f"{name}@example.com", tags=["soak"])
        elif kind == "product":
            self.server.insert(kind, title=f"Soak {name}", price=100 + draw.number("price", 900))
        else:
            buyer = int(draw.pick("buyer", self._known("customer", is_deleted=False)))
            self.server.insert(kind, customer_id=buyer, lines=lines)

    def _fields(self, draw: Draw, kind: str, name: str) -> dict[str, Any]:
        at = int(
            datetime.fromisoformat(self.server.call("GET", "/_sandbox/clock")["now"]).timestamp()
        )
        states = ("SUBSCRIBED", "UNSUBSCRIBED", "NOT_SUBSCRIBED")
        fields: dict[str, list[dict[str, Any]]] = {
            "customer": [
                {"consent": draw.pick("state", states)},
                {"patch": {"email": f"{name}.new@example.com"}},
                {"patch": {"first_name": f"Soak {name}"}},
            ],
            "order": [{"cancelled_at": at}, {"patch": {"tags": ["soak"]}}],
            "product": [
                {"stock": draw.number("stock", 99)},
                {"price": 1 + draw.number("price", 99)},
            ],
            "checkout": [{"completed_at": at}],
        }
        return draw.pick("fields", fields[kind])

    def differences(self, db: Warehouse) -> list[Difference]:
        found = [self._difference(db, stream, facts) for stream, facts in FACTS.items()]
        return [one for one in found if one]

    def _difference(self, db: Warehouse, stream: str, facts: dict[str, str]) -> Difference | None:
        query = f"select {', '.join(facts.values())} from mkt_raw.shopify__{stream}"
        held = db.execute(f"{query} where not is_deleted".encode()).fetchall()
        true = [
            tuple(
                datetime.fromisoformat(row[name]) if name.endswith("_at") else row[name]
                for name in facts
            )
            for row in self.server.truth(stream)
        ]
        return compare(stream, tuple(facts), 1, held, true)
