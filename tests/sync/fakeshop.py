"""A shop that behaves like Shopify where the sync engine looks, and misbehaves on demand."""

from __future__ import annotations

import json
import re
import threading
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, ClassVar

from marketing_ops.connections import Connection

TOKEN = "shpat_test"
START = datetime(2026, 1, 1, tzinfo=UTC)

Record = dict[str, Any]
Fault = Callable[["Handler"], bool]


def iso(at: datetime) -> str:
    """An instant as Shopify writes it."""
    return at.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def money(amount: str) -> Record:
    return {"shopMoney": {"amount": amount}}


def customer(number: int, at: datetime, **changes: Any) -> Record:
    """A customer as the stream's query shows it."""
    return {
        "id": f"gid://shopify/Customer/{number}",
        "firstName": f"First{number}",
        "lastName": "Last",
        "defaultEmailAddress": {
            "emailAddress": f"c{number}@example.com",
            "marketingState": "SUBSCRIBED",
            "marketingUpdatedAt": iso(at),
        },
        "defaultPhoneNumber": None,
        "tags": ["age:45-54"],
        "defaultAddress": {"countryCodeV2": "US", "provinceCode": "OH", "city": "X", "zip": "1"},
        "locale": "en",
        "numberOfOrders": "3",
        "amountSpent": {"amount": "12.50", "currencyCode": "USD"},
        "createdAt": iso(START),
        "updatedAt": iso(at),
        **changes,
    }


def line(number: int, **changes: Any) -> Record:
    return {
        "id": f"gid://shopify/LineItem/{number}",
        "sku": f"SKU{number % 7}",
        "title": "A title",
        "quantity": 1,
        "currentQuantity": 1,
        "variant": {"id": "gid://shopify/ProductVariant/5"},
        "product": {"id": "gid://shopify/Product/4"},
        "originalUnitPriceSet": money("2.50"),
        "discountedTotalSet": money("2.50"),
        "totalDiscountSet": money("0.0"),
        **changes,
    }


def order(number: int, at: datetime, lines: list[Record], **changes: Any) -> Record:
    return {
        "id": f"gid://shopify/Order/{number}",
        "name": f"#{number}",
        "email": None,
        "customer": {"id": "gid://shopify/Customer/1"},
        "createdAt": iso(START),
        "updatedAt": iso(at),
        "processedAt": iso(START),
        "cancelledAt": None,
        "test": False,
        "currencyCode": "USD",
        "displayFinancialStatus": "PAID",
        "displayFulfillmentStatus": "FULFILLED",
        "tags": [],
        "discountCodes": [],
        "totalPriceSet": money("10.00"),
        "currentTotalPriceSet": money("10.00"),
        "totalRefundedSet": money("0.00"),
        "totalDiscountsSet": money("0.00"),
        "customerJourneySummary": None,
        "refunds": [],
        "lineItems": lines,
        **changes,
    }


def product(number: int, at: datetime, **changes: Any) -> Record:
    return {
        "id": f"gid://shopify/Product/{number}",
        "title": f"Product {number}",
        "productType": "Tea",
        "vendor": "V",
        "status": "ACTIVE",
        "tags": [],
        "handle": f"p-{number}",
        "totalInventory": 3,
        "onlineStoreUrl": None,
        "priceRangeV2": {"minVariantPrice": {"amount": "3.00"}},
        "featuredMedia": None,
        "createdAt": iso(START),
        "updatedAt": iso(at),
        "variants": [{"id": "gid://shopify/ProductVariant/1", "sku": "S1"}],
        **changes,
    }


def checkout(number: int, at: datetime, **changes: Any) -> Record:
    return {
        "id": f"gid://shopify/AbandonedCheckout/{number}",
        "name": f"#{number}",
        "createdAt": iso(START + timedelta(seconds=number)),
        "updatedAt": iso(at),
        "completedAt": None,
        "abandonedCheckoutUrl": "https://shop.example.com/c/1",
        "customer": {"id": "gid://shopify/Customer/1"},
        "totalPriceSet": {"shopMoney": {"amount": "5.00", "currencyCode": "USD"}},
        "lineItems": [
            {
                "id": "gid://shopify/AbandonedCheckoutLineItem/9",
                "title": "T",
                "quantity": 2,
                "sku": "S",
                "product": {"id": "gid://shopify/Product/4"},
                "variant": None,
                "discountedTotalPriceSet": money("5.00"),
            }
        ],
        **changes,
    }


def deletion(number: int, at: datetime) -> Record:
    return {
        "id": f"gid://shopify/BasicEvent/{number}",
        "createdAt": iso(at),
        "subjectId": f"gid://shopify/Product/{number}",
    }


class FakeShop:
    """Records by connection, the requests that came, and faults to inject.

    Attributes:
        records: root connection -> records, nested connections as plain lists.
        requests: (root, variables) of each GraphQL call.
        faults: tried in order on each request; one that answers itself returns True.
        bulk_text: what the file of the next bulk operation holds; None = made from the records.
        is_grouped: False writes children after all parents.
    """

    nested: ClassVar[dict[str, str]] = {
        "orders": "lineItems",
        "products": "variants",
        "abandonedCheckouts": "lineItems",
    }

    def __init__(self) -> None:
        self.records: dict[str, list[Record]] = {}
        self.requests: list[tuple[str, Record]] = []
        self.headers: list[Record] = []
        self.faults: list[Fault] = []
        self.bulk_text: bytes | None = None
        self.bulk_counts: tuple[int, int] | None = None
        self.bulk_polls = 1
        self.bulk_outcome: Record = {"status": "COMPLETED", "errorCode": None}
        self.is_grouped = True
        self.ensure_ascii = False
        self.files: dict[str, bytes] = {}
        self.counts: dict[str, tuple[int, int]] = {}
        self.polls: dict[str, int] = {}
        self.ranges: list[str] = []
        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.shop = self  # type: ignore[attr-defined]
        self.server.daemon_threads = True
        self.thread = threading.Thread(target=self.server.serve_forever, args=(0.01,), daemon=True)
        self.thread.start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server.server_address[1]}/shopify"

    def connection(self, conn_id: str, **changes: Any) -> Connection:
        fields = {"host": self.url, "password": TOKEN, **changes}
        return Connection(conn_id=conn_id, conn_type="marketing_ops_shopify", **fields)

    def close(self) -> None:
        self.server.shutdown()
        self.server.server_close()

    def roots(self) -> list[str]:
        """The roots of the calls so far."""
        return [root for root, _ in self.requests]

    # -------------------------------------------------------------- answers

    def answer(self, query: str, variables: Record) -> Record:
        if "bulkOperationRunQuery" in query:
            return self.run_bulk(variables["q"], variables["g"])
        if "bulkOperation(id" in query:
            return {"bulkOperation": self.poll(variables["id"])}
        counted = re.search(r"(\w+)Count\(", query)
        if counted is not None:
            found = len(self.records.get(counted.group(1), []))
            return {f"{counted.group(1)}Count": {"count": found, "precision": "EXACT"}}
        if "nodes(ids" in query:
            return {"nodes": [self.by_id(query, one) for one in variables["ids"]]}
        if "node(id" in query:
            return {"node": self.node(query, variables)}
        root = re.search(r"\{\s*(\w+)\(first:\$n", query)
        assert root is not None, query
        return {root.group(1): self.page(root.group(1), query, variables)}

    def page(self, root: str, query: str, variables: Record) -> Record:
        found = self.search(root, variables.get("q") or "")
        sort = re.search(r"sortKey:(\w+)", query)
        key = "updatedAt" if sort and sort.group(1) == "UPDATED_AT" else "createdAt"
        found.sort(key=lambda record: str(record.get(key)), reverse="reverse:true" in query)
        start = int(variables.get("after") or 0)
        size = variables["n"]
        nested_size = re.search(r"(\w+)\(first:(\d+)\)\{pageInfo", query)
        nodes = [
            self.shown(root, record, int(nested_size.group(2)) if nested_size else 0)
            for record in found[start : start + size]
        ]
        more = start + size < len(found)
        return {
            "pageInfo": {"hasNextPage": more, "endCursor": str(start + size) if nodes else None},
            "nodes": nodes,
        }

    def shown(self, root: str, record: Record, size: int) -> Record:
        name = self.nested.get(root)
        if name is None or name not in record:
            return record
        return {**record, name: self.connection_of(record[name], 0, size)}

    @staticmethod
    def connection_of(items: list[Record], start: int, size: int) -> Record:
        return {
            "pageInfo": {
                "hasNextPage": start + size < len(items),
                "endCursor": str(start + size),
            },
            "nodes": [dict(item) for item in items[start : start + size]],
        }

    def by_id(self, query: str, wanted: str) -> Record | None:
        nested = re.search(r"(\w+)\(first:(\d+)\)\{pageInfo", query)
        for root, records in self.records.items():
            for record in records:
                if record.get("id") == wanted:
                    return self.shown(root, record, int(nested.group(2)) if nested else 0)
        return None

    def node(self, query: str, variables: Record) -> Record | None:
        name = re.search(r"\{(\w+)\(first:\$n,after:\$after\)", query)
        assert name is not None
        for records in self.records.values():
            for record in records:
                if record.get("id") == variables["id"]:
                    start = int(variables["after"])
                    items = record[name.group(1)]
                    return {name.group(1): self.connection_of(items, start, variables["n"])}
        return None

    def search(self, root: str, text: str) -> list[Record]:
        """`field:>='instant'` terms; an unquoted instant is a mistake that the shop punishes."""
        assert not re.search(r"_at:[<>=]+[0-9]", text), "unquoted timestamp"
        found = list(self.records.get(root, []))
        for field, sign, instant in re.findall(r"(\w+)_at:([<>]=?)'([^']+)'", text):
            key = f"{field}At"
            if root == "customers":  # whole days
                instant = instant[:10] if sign.startswith(">") else instant[:10] + "T23:59:59Z"
            found = [record for record in found if _holds(str(record.get(key)), sign, instant)]
        return found

    # -------------------------------------------------------------- bulk

    def run_bulk(self, query: str, grouped: bool) -> Record:
        number = f"gid://shopify/BulkOperation/{len(self.files) + 1}"
        root = re.search(r"\{\s*(\w+)", query)
        assert root is not None
        window = re.search(r'query:"((?:[^"\\]|\\.)*)"', query)
        found = self.search(root.group(1), json.loads(f'"{window.group(1)}"') if window else "")
        text = self.bulk_text
        if text is None:
            text = self.jsonl(root.group(1), found, grouped or self.is_grouped)
        lines = [piece for piece in text.split(b"\n") if piece]
        roots = sum(b'"__parentId"' not in piece for piece in lines)
        self.files[number] = text
        self.counts[number] = self.bulk_counts or (len(lines), roots)
        operation = {"id": number, "status": "CREATED", "createdAt": iso(datetime.now(UTC))}
        return {"bulkOperationRunQuery": {"bulkOperation": operation, "userErrors": []}}

    def jsonl(self, root: str, records: list[Record], grouped: bool) -> bytes:
        name = self.nested.get(root, "")
        parents, children, lines = [], [], []
        for record in records:
            parent = {key: value for key, value in record.items() if key != name}
            own = [{**item, "__parentId": record["id"]} for item in record.get(name) or []]
            parents.append(parent)
            children += own
            lines += [parent, *own]
        if not grouped:
            lines = [*children[::2], *parents, *children[1::2]]
        return b"".join(json.dumps(item, ensure_ascii=False).encode() + b"\n" for item in lines)

    def poll(self, number: str) -> Record | None:
        if number not in self.files:
            return None
        self.polls[number] = self.polls.get(number, 0) + 1
        base = {"id": number, "createdAt": iso(datetime.now(UTC)), "partialDataUrl": None}
        if self.polls[number] < self.bulk_polls:
            return {**base, "status": "RUNNING", "errorCode": None, "url": None}
        text, (total, roots) = self.files[number], self.counts[number]
        host = self.url.removesuffix("/shopify")
        url = f"{host}/files/{number.rpartition('/')[2]}.jsonl" if text else None
        return {
            **base,
            **self.bulk_outcome,
            "objectCount": str(total),
            "rootObjectCount": str(roots),
            "fileSize": str(len(text)),
            "url": url,
        }


def _holds(value: str, sign: str, instant: str) -> bool:
    return {
        ">=": value >= instant,
        ">": value > instant,
        "<": value < instant,
        "<=": value <= instant,
    }[sign]


class Handler(BaseHTTPRequestHandler):
    """One request to the fake shop."""

    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True

    @property
    def shop(self) -> FakeShop:
        return self.server.shop  # type: ignore[attr-defined, no-any-return]

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002
        return

    def send(self, status: int, body: bytes, **headers: str) -> None:
        self.send_response(status)
        headers.setdefault("Content_Type", "application/json")
        headers["Content_Length"] = str(len(body))
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        self.end_headers()
        self.wfile.write(body)

    def do_POST(self) -> None:
        self.body = body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        self.shop.headers.append(dict(self.headers))
        if any(fault(self) for fault in list(self.shop.faults)):
            return
        if self.path.endswith("/oauth/access_token"):
            self.send(200, json.dumps({"access_token": TOKEN, "expires_in": 86399}).encode())
            return
        if self.headers.get("X-Shopify-Access-Token") != TOKEN:
            self.send(401, b'{"errors":"[API] Invalid API key or access token"}')
            return
        query, variables = body["query"], body.get("variables") or {}
        data = self.shop.answer(query, variables)
        self.shop.requests.append((next(iter(data)), variables))
        self.send(200, json.dumps({"data": data}, ensure_ascii=self.shop.ensure_ascii).encode())

    def do_GET(self) -> None:
        self.shop.headers.append(dict(self.headers))
        self.shop.ranges.append(self.headers.get("Range", ""))
        if any(fault(self) for fault in list(self.shop.faults)):
            return
        number = "gid://shopify/BulkOperation/" + self.path.rpartition("/")[2].removesuffix(
            ".jsonl"
        )
        text = self.shop.files[number]
        span = re.match(r"bytes=(\d+)-", self.headers.get("Range", ""))
        if span:
            self.send(206, text[int(span.group(1)) :])
        else:
            self.send(200, text)
