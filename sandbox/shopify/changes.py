"""Writes: new versions of records from a mutation or a test, at the clock."""

from __future__ import annotations

import json
from typing import Any

from sandbox import store
from sandbox.inputs import PERSON_BASE
from sandbox.life import DELETION_IDS
from sandbox.shopify.world import World
from sandbox.store import FOREVER, LINE

COPIED = {
    "customer": "orders, spent, consent, consent_at, patch",
    "order": "refunded, cancelled_at, refunds, patch",
    "product": "price, stock, patch",
    "checkout": "completed_at, lines, patch",
}
TEST_IDS = 5_000_000_000_000


def revise(world: World, kind: str, key: int, at: int, changes: dict[str, Any]) -> bool:
    """Make a new version of a record at `at`; later versions are changed as well.

    `changes` holds columns of the kind's versions and `patch`, a mapping that is laid over the
    record's fields. Returns False when no version is visible.
    """
    table = store.VERSION_TABLES[kind]
    columns = COPIED[kind].split(", ")
    with world.write_lock:
        row = world.writer.execute(
            f"select rowid, at, until, {COPIED[kind]} from {table}"  # noqa: S608 - constants
            " where id = ? and at <= ? and until > ?",
            (key, at, at),
        ).fetchone()
        if row is None:
            return False
        values = _merged(dict(zip(columns, row[3:], strict=True)), changes)
        world.writer.execute("begin immediate")
        if row[1] < at:
            _execute(world, f"update {table} set until = ? where rowid = ?", at, row[0])  # noqa: S608
            marks = ", ".join("?" * (3 + len(columns)))
            _execute(
                world,
                f"insert into {table} (id, at, until, {COPIED[kind]}) values ({marks})",  # noqa: S608
                key,
                at,
                row[2],
                *values.values(),
            )
        else:
            _set(world, table, row[0], values)
        later = world.writer.execute(
            f"select rowid, {COPIED[kind]} from {table} where id = ? and at > ?",  # noqa: S608
            (key, at),
        ).fetchall()
        for rowid, *old in later:
            _set(world, table, rowid, _merged(dict(zip(columns, old, strict=True)), changes))
        world.writer.execute("commit")
        world.forget()
    return True


def delete(world: World, kind: str, key: int, at: int) -> bool:
    """End a record at `at`, leaving a `destroy` event. Returns False when there was none."""
    table = store.VERSION_TABLES[kind]
    with world.write_lock:
        world.writer.execute("begin immediate")
        done = _execute(
            world,
            f"update {table} set until = ? where id = ? and at <= ? and until > ?",  # noqa: S608
            at,
            key,
            at,
            at,
        )
        _execute(world, f"delete from {table} where id = ? and at >= ?", key, at)  # noqa: S608
        if done:
            ((last,),) = world.writer.execute("select max(id) from deletions").fetchall()
            number = max(last or 0, DELETION_IDS + at) + 1
            _execute(
                world, "insert into deletions values (?, ?, ?, ?)", number, at, kind.upper(), key
            )
        world.writer.execute("commit")
        world.forget()
    return bool(done)


def insert_customer(world: World, at: int, fields: dict[str, Any]) -> int:
    """A new customer; `fields` are those of a person's document, and `consent`."""
    with world.write_lock:
        key = _next(world, "people", PERSON_BASE + TEST_IDS)
        consent = fields.pop("consent", "SUBSCRIBED")
        document: dict[str, Any] = {
            "first_name": "Test",
            "last_name": f"Customer {key}",
            "tags": [],
            **fields,
        }
        document.setdefault("email", f"test.{key}@example.com")
        _execute(world, "insert into people values (?, ?)", key, json.dumps(document))
        _execute(
            world,
            "insert into customer_versions values (?, ?, ?, 0, 0, ?, ?, null)",
            key,
            at,
            FOREVER,
            consent,
            at,
        )
    return key


def insert_order(world: World, at: int, fields: dict[str, Any]) -> int:
    """A new order: `customer_id` or `email`, and `lines` of product_id, quantity, cents."""
    with world.write_lock:
        person = fields.get("customer_id")
        is_registered = person is not None
        if person is None:
            person = _next(world, "people", PERSON_BASE + TEST_IDS)
            document: dict[str, Any] = {"email": fields.get("email"), "tags": []}
            _execute(world, "insert into people values (?, ?)", person, json.dumps(document))
        lines = [
            (one.get("product_id", 0), one.get("quantity", 1), one["cents"], one["cents"])
            for one in fields.get("lines", [{"cents": 1000}])
        ]
        total = sum(line[3] for line in lines)
        key = _next(world, "orders", TEST_IDS)
        codes = json.dumps(fields["discount_codes"]) if fields.get("discount_codes") else None
        patch = {name: fields[name] for name in ("test", "tags", "email") if name in fields}
        ((number,),) = world.writer.execute("select max(number) + 1 from orders").fetchall()
        blob = b"".join(LINE.pack(*line) for line in lines)
        row = (
            key,
            at,
            person,
            int(is_registered),
            number,
            f"#{number}",
            total,
            total,
            codes,
            None,
            "test",
            blob,
        )
        store.insert(world.writer, "orders", [row])
        version = (key, at, FOREVER, 0, None, None, json.dumps(patch) if patch else None)
        store.insert(world.writer, "order_versions", [version])
    if is_registered:
        _count_order(world, int(person), at, total)
    return key


def insert_product(world: World, at: int, fields: dict[str, Any]) -> int:
    """A new product: `title`, `category`, `vendor`, `sku`, `tags`, `price` in cents, `stock`."""
    with world.write_lock:
        key = _next(world, "products", TEST_IDS)
        price, stock = fields.pop("price", 1000), fields.pop("stock", 10)
        document = {"title": f"Test product {key}", "sku": f"T{key}", "tags": [], **fields}
        _execute(world, "insert into products values (?, ?, ?)", key, at, json.dumps(document))
        _execute(
            world,
            "insert into product_versions values (?, ?, ?, ?, ?, null)",
            key,
            at,
            FOREVER,
            price,
            stock,
        )
    return key


def insert_checkout(world: World, at: int, fields: dict[str, Any]) -> int:
    """A new open checkout of `customer_id` with `lines` as for an order."""
    with world.write_lock:
        key = _next(world, "checkouts", 950_000_000_000_000)
        lines = [
            (one.get("product_id", 0), one.get("quantity", 1), one["cents"], one["cents"])
            for one in fields.get("lines", [{"cents": 1000}])
        ]
        ((number,),) = world.writer.execute("select max(number) + 1 from checkouts").fetchall()
        blob = b"".join(LINE.pack(*line) for line in lines)
        row = (key, at, fields["customer_id"], number or 1001, blob, None)
        store.insert(world.writer, "checkouts", [row])
        version = (key, at, FOREVER, fields.get("completed_at"), len(lines), None)
        store.insert(world.writer, "checkout_versions", [version])
    return key


def _count_order(world: World, person: int, at: int, total: int) -> None:
    """A customer's totals move with each order."""
    row = world.writer.execute(
        "select orders, spent from customer_versions where id = ? and at <= ? and until > ?",
        (person, at, at),
    ).fetchone()
    if row is not None:
        revise(world, "customer", person, at, {"orders": row[0] + 1, "spent": row[1] + total})


def _merged(old: dict[str, Any], changes: dict[str, Any]) -> dict[str, Any]:
    new = {**old, **{name: value for name, value in changes.items() if name != "patch"}}
    if changes.get("patch"):
        known = json.loads(old["patch"]) if old["patch"] else {}
        new["patch"] = json.dumps({**known, **changes["patch"]})
    return new


def _set(world: World, table: str, rowid: int, values: dict[str, Any]) -> None:
    names = ", ".join(f"{name} = ?" for name in values)
    _execute(world, f"update {table} set {names} where rowid = ?", *values.values(), rowid)  # noqa: S608


def _execute(world: World, statement: str, *parameters: Any) -> int:
    return world.writer.execute(statement, parameters).rowcount


def _next(world: World, table: str, base: int) -> int:
    ((last,),) = world.writer.execute(
        f"select max(id) from {table} where id >= ?",  # noqa: S608 - our own table names
        (base,),
    ).fetchall()
    return (last or base) + 1
