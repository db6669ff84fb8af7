"""The shop's records as objects: each is read when something else than its id is asked for."""

from __future__ import annotations

import json
from collections.abc import Iterator
from functools import cached_property
from typing import Any, NamedTuple

from sandbox import store
from sandbox.shopify.world import Run

CUSTOMER = "v.id, v.at, v.orders, v.spent, v.consent, v.consent_at, v.patch"
ORDER = (
    "v.id, v.at, v.refunded, v.cancelled_at, v.refunds, v.patch, o.at, o.person, o.is_registered,"
    " o.number, o.name, o.gross, o.net, o.codes, o.visit, o.label, o.lines"
)
PRODUCT = "v.id, v.at, v.price, v.stock, v.patch, p.at"
CHECKOUT = "v.id, v.at, v.completed_at, v.lines, v.patch, c.at, c.person, c.number, c.lines"
FROM = {
    "customer": "customer_versions v",
    "order": "order_versions v join orders o on o.id = v.id",
    "product": "product_versions v join products p on p.id = v.id",
    "checkout": "checkout_versions v join checkouts c on c.id = v.id",
}
COLUMNS = {"customer": CUSTOMER, "order": ORDER, "product": PRODUCT, "checkout": CHECKOUT}


class Record:
    """One version of a record, visible at the request's instant."""

    kind = ""
    typename = ""

    def __init__(self, run: Run, key: int, row: tuple[Any, ...] | None = None) -> None:
        self.run, self.key = run, key
        if row is not None:
            self.row = row

    @cached_property
    def row(self) -> tuple[Any, ...]:
        """The columns of the kind; LookupError when nothing is visible."""
        found = find(self.run, self.kind, self.key)
        if found is None:
            raise LookupError(f"{self.typename} {self.key}")
        return found


def find(run: Run, kind: str, key: int) -> tuple[Any, ...] | None:
    """The row of a record that is visible now, or None."""
    statement = (
        f"select {COLUMNS[kind]} from {FROM[kind]}"  # noqa: S608 - constants above
        " where v.id = ? and v.at <= ? and v.until > ?"
    )
    rows = run.rows(statement, (key, run.now, run.now))
    return rows[0] if rows else None


class Customer(Record):
    """Somebody with an account."""

    kind = "customer"
    typename = "Customer"

    @cached_property
    def document(self) -> dict[str, Any]:
        fixed = self.run.world.document(self.key)
        return {**fixed, **json.loads(self.row[6])} if self.row[6] else fixed


class Order(Record):
    """One order with its lines."""

    kind = "order"
    typename = "Order"

    @cached_property
    def patch(self) -> dict[str, Any]:
        return json.loads(self.row[5]) if self.row[5] else {}

    @cached_property
    def buyer(self) -> dict[str, Any]:
        return self.run.world.document(self.row[7])

    @cached_property
    def refunds(self) -> list[tuple[int, int, int, int | None]]:
        """Id, instant, cents and the position of the line (None: all of them) of each refund."""
        return json.loads(self.row[4]) if self.row[4] else []

    def returned(self, position: int) -> bool:
        """Whether a line was given back."""
        return any(line is None or line == position for *_, line in self.refunds)

    def lines(self) -> Iterator[Line]:
        values = enumerate(store.unpack(self.row[16]))
        if not self.row[4]:
            return (_line(self, position, *one, False) for position, one in values)
        return (_line(self, position, *one, self.returned(position)) for position, one in values)


class Line(NamedTuple):
    """One line of an order or a checkout. A tuple, since there are many."""

    parent: Order | Checkout
    position: int
    product: int
    quantity: int
    gross: int
    net: int
    is_returned: bool = False


def _line(*values: Any) -> Line:
    """A line, made without the cost of naming its fields."""
    return tuple.__new__(Line, values)


class Checkout(Record):
    """A checkout that was begun, finished later or not."""

    kind = "checkout"
    typename = "AbandonedCheckout"

    @cached_property
    def lines(self) -> list[Line]:
        seen = store.LINE.size * self.row[3]
        values = store.unpack(self.row[8][:seen])
        return [_line(self, position, *one, False) for position, one in enumerate(values)]


class Product(Record):
    """One product, which is its one variant and its one stock item too."""

    kind = "product"
    typename = "Product"

    @cached_property
    def document(self) -> dict[str, Any]:
        fixed = self.run.world.item(self.key)
        return {**fixed, **json.loads(self.row[4])} if self.row[4] else fixed


class Variant(Product):
    """A product seen as its variant."""

    typename = "ProductVariant"


class Stock(Product):
    """A product seen as what lies in the store."""

    typename = "InventoryItem"


class Level(Product):
    """A product's stock at the one location."""

    typename = "InventoryLevel"


KINDS: dict[str, type[Record]] = {
    "Customer": Customer,
    "Order": Order,
    "Product": Product,
    "AbandonedCheckout": Checkout,
}
