"""What the shop really holds at an instant: for comparison with what was synced."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from sandbox.shopify import records
from sandbox.shopify.paging import CHECKOUTS, CUSTOMERS, ORDERS, PRODUCTS, Stream
from sandbox.shopify.records import Checkout, Customer, Order, Product
from sandbox.shopify.world import Run, World
from sandbox.store import LINE
from sandbox.zones import iso

VISIBLE = "v.at <= ? and v.until > ?"
STREAMS = {
    "customers": CUSTOMERS,
    "orders": ORDERS,
    "products": PRODUCTS,
    "checkouts": CHECKOUTS,
}


def counts(world: World, now: int) -> dict[str, dict[str, Any]]:
    """Records and the newest change by stream, children included."""
    run = Run(world, now)
    found: dict[str, dict[str, Any]] = {}
    for name, stream in STREAMS.items():
        found[name] = _counted(
            run,
            f"select count(*), max(v.at) from {records.FROM[stream.kind]}"  # noqa: S608 - constants
            f" where {VISIBLE}",
        )
    found["order_lines"] = _counted(
        run,
        f"select sum(length(o.lines) / {LINE.size}), max(v.at)"  # noqa: S608 - constants
        f" from {records.FROM['order']} where {VISIBLE}",
    )
    found["refunds"] = _counted(
        run,
        "select sum(json_array_length(v.refunds)), max(v.at) from order_versions v"  # noqa: S608
        f" where {VISIBLE} and v.refunds is not null",
    )
    found["product_deletions"] = _counted(
        run,
        "select count(*), max(at) from deletions where at <= ? and ? > 0"
        " and subject_type = 'PRODUCT'",
    )
    return found


def _counted(run: Run, statement: str) -> dict[str, Any]:
    ((count, newest),) = run.rows(statement, (run.now, run.now))
    return {"count": count or 0, "newest": iso(newest) if newest is not None else None}


def rows(world: World, stream: str, now: int) -> Iterator[dict[str, Any]] | None:
    """The facts of each visible record; None for an unknown stream. Amounts are cents."""
    run = Run(world, now)
    if stream == "product_deletions":
        found = run.rows(
            "select subject, at from deletions where at <= ? and subject_type = 'PRODUCT'", (now,)
        )
        return ({"id": str(key), "deleted_at": iso(at)} for key, at in found)
    if stream in ("order_lines", "refunds"):
        orders = _all(run, ORDERS)
        return _order_lines(orders) if stream == "order_lines" else _refunds(orders)
    known = STREAMS.get(stream)
    if known is None:
        return None
    return (_facts(record) for record in _all(run, known))


def _all(run: Run, stream: Stream) -> Iterator[Any]:
    found = run.rows(
        f"select {records.COLUMNS[stream.kind]} from {records.FROM[stream.kind]}"  # noqa: S608
        f" where {VISIBLE} order by v.id",
        (run.now, run.now),
    )
    return (stream.make(run, row[0], row) for row in found)


def _facts(one: Any) -> dict[str, Any]:
    facts: dict[str, Any] = {"id": str(one.key), "updated_at": iso(one.row[1])}
    if isinstance(one, Customer):
        document = one.document
        facts |= {"email": document.get("email"), "tags": document["tags"]}
        facts |= {"orders": one.row[2], "spent": one.row[3], "consent": one.row[4]}
    elif isinstance(one, Order):
        facts |= {"customer_id": str(one.row[7]) if one.row[8] else None}
        facts |= {"placed_at": iso(one.row[6]), "total": one.row[12], "refunded": one.row[2]}
        facts |= {"is_cancelled": bool(one.row[3]), "lines": len(one.row[16]) // LINE.size}
    elif isinstance(one, Product):
        facts |= {"title": one.document["title"], "price": one.row[2], "stock": one.row[3]}
    elif isinstance(one, Checkout):
        facts |= {"customer_id": str(one.row[6]), "is_completed": bool(one.row[2])}
        facts |= {"total": sum(line.net for line in one.lines), "lines": len(one.lines)}
    return facts


def _order_lines(orders: Iterator[Order]) -> Iterator[dict[str, Any]]:
    for order in orders:
        for line in order.lines():
            yield {
                "id": str(order.key * 1000 + line.position),
                "order_id": str(order.key),
                "product_id": str(line.product),
                "quantity": line.quantity,
                "amount": line.net,
            }


def _refunds(orders: Iterator[Order]) -> Iterator[dict[str, Any]]:
    for order in orders:
        for key, at, cents, _ in order.refunds:
            yield {
                "id": str(key),
                "order_id": str(order.key),
                "created_at": iso(at),
                "amount": cents,
            }
