"""Webhooks: signed posts to whoever subscribed, for what the clock has passed."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
from typing import Any

import urllib3

from sandbox.hashing import number
from sandbox.shopify import API_VERSION, paging, records
from sandbox.shopify.fields import PLAIN
from sandbox.shopify.world import Bulk, Run, World
from sandbox.zones import iso

TOPICS = {
    "ORDERS_CREATE": ("orders/create", paging.ORDERS, "o.at"),
    "CUSTOMERS_CREATE": ("customers/create", paging.CUSTOMERS, "created"),
    "CHECKOUTS_UPDATE": ("checkouts/update", paging.CHECKOUTS, "v.at"),
    "ORDERS_UPDATED": ("orders/updated", paging.ORDERS, "v.at"),
    "CUSTOMERS_UPDATE": ("customers/update", paging.CUSTOMERS, "v.at"),
}
MAX_FAILURES = 8
TIMEOUT = urllib3.Timeout(connect=1.0, read=5.0)


class Webhooks:
    """Delivers what happened since the last call. Best effort, as webhooks are."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.seen = world.now()
        self.failures: dict[int, int] = {}
        self.http = urllib3.PoolManager(timeout=TIMEOUT, retries=False)

    def deliver(self) -> int:
        """Post what the clock has passed since the last call; returns the posts accepted."""
        now = self.world.now()
        since, self.seen = self.seen, now
        rows = self.world.reader.execute("select id, topic, uri from subscriptions").fetchall()
        if now <= since or not rows:
            return 0
        run = Run(self.world, now)
        accepted = 0
        for key, topic, uri in rows:
            for record in self._news(run, topic, since) if topic in TOPICS else ():
                accepted += self._post(key, topic, uri, _payload(record), now)
                if self.failures.get(key, 0) >= MAX_FAILURES:
                    break
        return accepted

    def finished(self, bulk: Bulk) -> None:
        """Tell subscribers of `bulk_operations/finish`."""
        statement = "select id, uri from subscriptions where topic = 'BULK_OPERATIONS_FINISH'"
        with self.world.write_lock:
            rows = self.world.writer.execute(statement).fetchall()
        body = {
            "admin_graphql_api_id": f"gid://shopify/BulkOperation/{bulk.key}",
            "completed_at": iso(bulk.completed_at or 0),
            "created_at": iso(bulk.created_at),
            "error_code": bulk.error_code,
            "status": bulk.status.lower(),
            "type": "query",
        }
        for key, uri in rows:
            self._post(key, "BULK_OPERATIONS_FINISH", uri, body, bulk.created_at)

    def _news(self, run: Run, topic: str, since: int) -> list[records.Record]:
        _, stream, column = TOPICS[topic]
        if column == "created":
            column = "(select min(f.at) from customer_versions f where f.id = v.id)"
        rows = run.rows(
            f"select {records.COLUMNS[stream.kind]} from {records.FROM[stream.kind]}"  # noqa: S608
            f" where v.at > ? and v.at <= ? and v.until > ? and {column} > ? order by v.at, v.id",
            (since, run.now, run.now, since),
        )
        return [stream.make(run, row[0], row) for row in rows]

    def _post(self, key: int, topic: str, uri: str, body: dict[str, Any], now: int) -> bool:
        raw = json.dumps(body).encode()
        name = TOPICS[topic][0] if topic in TOPICS else "bulk_operations/finish"
        secret = self.world.settings.client_secret.encode()
        digest = hmac.new(secret, raw, hashlib.sha256).digest()
        unique = f"{number(name, body.get('id'), body.get('updated_at')):016x}"
        headers = {
            "content-type": "application/json",
            "X-Shopify-Topic": name,
            "X-Shopify-Hmac-SHA256": base64.b64encode(digest).decode(),
            "X-Shopify-Shop-Domain": "journey-market.myshopify.com",
            "X-Shopify-API-Version": API_VERSION,
            "X-Shopify-Webhook-Id": f"{unique}-{key}",
            "X-Shopify-Event-Id": unique,
            "X-Shopify-Triggered-At": iso(now),
        }
        try:
            status = self.http.request("POST", uri, body=raw, headers=headers).status
        except urllib3.exceptions.HTTPError:
            status = 599
        if 200 <= status < 300:
            self.failures.pop(key, None)
            return True
        self.failures[key] = self.failures.get(key, 0) + 1
        if self.failures[key] >= MAX_FAILURES:
            # A subscription made by API is removed after eight failures in a row (2024-09).
            with self.world.write_lock:
                self.world.writer.execute("delete from subscriptions where id = ?", (key,))
        return False


def _payload(record: records.Record) -> dict[str, Any]:
    """The REST form of a record: numeric id, snake case, amounts as strings."""

    def get(name: str) -> Any:
        return PLAIN[record.typename, name](record)

    body = {
        "id": record.key,
        "admin_graphql_api_id": get("id"),
        "created_at": get("createdAt"),
        "updated_at": get("updatedAt"),
    }
    if isinstance(record, records.Customer):
        more = ("firstName", "lastName", "email", "phone", "tags")
        names = ("first_name", "last_name", "email", "phone", "tags")
        body |= {name: get(field) for name, field in zip(names, more, strict=True)}
        body["tags"] = ", ".join(body["tags"])
    elif isinstance(record, records.Order):
        body |= {"name": get("name"), "email": get("email"), "total_price": get("totalPrice")}
        body["currency"] = record.run.world.currency
        body["customer"] = {"id": record.row[7]} if record.row[8] else None
    elif isinstance(record, records.Checkout):
        body |= {"name": get("name"), "completed_at": get("completedAt")}
        body |= {"abandoned_checkout_url": get("abandonedCheckoutUrl")}
        body["customer"] = {"id": record.row[6]}
    return body
