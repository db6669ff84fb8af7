"""A shop's days: what the data says happened, and what is derived around it by hash.

The same code writes the seeded history and, later, the days after the data's end, which repeat
those of 52 weeks earlier with new ids.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Any

from sandbox import store
from sandbox.hashing import number, pick
from sandbox.inputs import PERSON_BASE, Basket
from sandbox.people import Person
from sandbox.store import FOREVER, LINE
from sandbox.zones import DAY, LocalTime

SIGN_UP_BASE = PERSON_BASE + 1_000_000
REPEAT_IDS = 100_000_000_000
CLONE_IDS = 50_000_000_000
CHECKOUT_IDS = 900_000_000_000_000
DELETION_IDS = 600_000_000_000
SIGN_UP_DAYS = 90
VISITS = (
    {"source": "google", "medium": "cpc", "campaign": "brand"},
    {"source": "newsletter", "medium": "email", "campaign": "weekly"},
    {"source": "facebook", "medium": "paid_social", "campaign": "spring"},
)


@dataclass
class Plan:
    """How the input lies in time: counted local days of the shifted history."""

    first_day: int
    last_day: int
    zone: str
    period: int
    guests: bool
    product_changes: int

    def sign_up_since(self) -> int:
        """The first day with newsletter sign-ups."""
        return max(self.first_day, self.last_day - SIGN_UP_DAYS)


@dataclass
class Customer:
    """The open version of a customer: what holds from `at` on."""

    at: int
    orders: int
    spent: int
    consent: str
    consent_at: int
    patch: str | None = None


@dataclass
class Stocked:
    """The open version of a product."""

    at: int
    price: int
    stock: int
    patch: str | None = None


class Life:
    """Writes whole days into the store. Not for two threads at once."""

    def __init__(self, link: sqlite3.Connection, plan: Plan, *, live: bool) -> None:
        """`live`: continue a finished store, reading open versions from it when first touched."""
        self.link, self.plan, self.live = link, plan, live
        self.local = LocalTime(plan.zone)
        self.people: dict[int, Person] = {}
        self.customers: dict[int, Customer] = {}
        self.registered: list[int] = []
        self.products: dict[int, Stocked] = {}
        self.product_ids: list[int] = []
        self.order_number = 1000
        self.checkout_number = 1000
        self._rows: dict[str, list[tuple[Any, ...]]] = {}
        self._joining: dict[int, list[int]] | None = None

    def day(self, day: int, baskets: Iterable[Basket], label: str = "") -> None:
        """Write one local day: its orders, and the sign-ups, carts and changes around them."""
        changes: list[tuple[int, int, str, int]] = []
        self._sign_ups(day, changes)
        self._joins(day, changes)
        for basket in baskets:
            changes.append(self._order(basket, label))
            if number("clone", basket.id) % 150 == 0:
                clone = self._clone(day, basket)
                if clone is not None:
                    changes.append(self._order(clone, "derived"))
        self._opinions(day, changes)
        self._customers(sorted(changes))
        self._products(day)

    def write(self) -> None:
        """Store what has been gathered, leaving open versions open in memory."""
        for table, rows in self._rows.items():
            store.insert(self.link, table, rows)
            rows.clear()

    def close(self) -> None:
        """Store everything: the open versions hold for ever from now on."""
        for key, one in self.customers.items():
            self._put("customer_versions", _customer_row(key, one, FOREVER))
        for key, item in self.products.items():
            self._put("product_versions", _product_row(key, item, FOREVER))
        self.customers.clear()
        self.products.clear()
        self.write()

    def _put(self, table: str, row: tuple[Any, ...]) -> None:
        self._rows.setdefault(table, []).append(row)

    # -- orders ---------------------------------------------------------------------------------

    def _order(self, basket: Basket, label: str) -> tuple[int, int, str, int]:
        self.order_number += 1
        key, at = basket.id, basket.at
        is_guest = basket.is_guest or self._is_guest(basket.person)
        chance = number("order", key)
        visit = json.dumps(VISITS[chance % 10]) if chance % 10 < len(VISITS) else None
        name = basket.name if basket.name and not label else f"#{self.order_number}"
        self._put(
            "orders",
            (
                key,
                at,
                basket.person,
                int(not is_guest),
                self.order_number,
                name,
                basket.gross,
                basket.net,
                json.dumps(basket.codes) if basket.codes else None,
                visit,
                label,
                basket.lines,
            ),
        )
        self._refunds(basket, chance // 10)
        if not is_guest:
            self._carts(basket, chance // 100_000)
        return at, basket.person, "guest" if is_guest else "order", basket.net

    def _refunds(self, basket: Basket, chance: int) -> None:
        """One order in a hundred is refunded, whole or by a line; one in 500 is cancelled."""
        key, at = basket.id, basket.at
        later = cancelled = refunded = 0
        line: int | None = None
        if chance % 500 == 1 and basket.net:
            later = at + 3600 + chance // 500 % 7200
            cancelled, refunded = later, basket.net
        elif chance % 100 == 0 and basket.net:
            later = at + DAY + chance // 100 % (9 * DAY)
            lines = list(store.unpack(basket.lines))
            line = chance // 7 % len(lines) if chance // 100 % 2 else None
            refunded = basket.net if line is None else lines[line][3]
        until = later if refunded else FOREVER
        self._put("order_versions", (key, at, until, 0, None, None, None))
        if refunded:
            refunds = json.dumps([[key * 10 + 1, later, refunded, line]])
            self._put(
                "order_versions",
                (key, later, FOREVER, refunded, cancelled or None, refunds, None),
            )

    def _carts(self, basket: Basket, chance: int) -> None:
        """Before one order in twelve a checkout is seen; one in 25 leaves an abandoned one."""
        lines = basket.lines[: LINE.size * (1 + chance // 50 % 5)]
        if chance % 12 == 0:
            start = basket.at - 900 - chance // 12 % 9000
            self._cart(basket.id * 10, basket.person, start, basket.at, lines, basket.at)
        if chance % 25 == 3:
            start = basket.at + 1800 + chance // 25 % (40 * 3600)
            self._cart(basket.id * 10 + 1, basket.person, start, FOREVER, lines, None)

    def _cart(
        self, key: int, person: int, at: int, end: int, lines: bytes, completed: int | None
    ) -> None:
        self.checkout_number += 1
        key += CHECKOUT_IDS
        count = len(lines) // LINE.size
        self._put("checkouts", (key, at, person, self.checkout_number, lines, None))
        steps = [at]
        for wait in (600, 2400 + number("cart", key) % 5400):
            if steps[-1] + wait < end - 60:
                steps.append(steps[-1] + wait)
        for position, (start, until) in enumerate(zip(steps, [*steps[1:], end], strict=True)):
            seen = count if position == len(steps) - 1 else min(1 + position, count)
            self._put("checkout_versions", (key, start, until, None, seen, None))
        if completed is not None:
            row = (key, completed, FOREVER, completed, count, None)
            self._put("checkout_versions", row)

    # -- people ---------------------------------------------------------------------------------

    def person(self, key: int) -> Person:
        """Somebody by id; whom the input does not describe is derived from the id itself."""
        return self.people.get(key) or Person(key, key - PERSON_BASE)

    def document(self, key: int) -> str:
        """A person's fixed fields as JSON."""
        return json.dumps(self.person(key).document(self.local.date(self.plan.last_day)))

    def _is_guest(self, key: int) -> bool:
        """Whether somebody has no customer account yet: one household in 64, half for good."""
        if not self.plan.guests or number("guest", key) % 64:
            return False
        return self._customer(key) is None

    def _sign_ups(self, day: int, changes: list[tuple[int, int, str, int]]) -> None:
        index = day - self.plan.first_day
        if day < self.plan.sign_up_since():
            return
        start = self.local.start(day)
        for position in range(3 + number("sign-ups", index) % 5):
            key = SIGN_UP_BASE + index * 100 + position
            self._put("people", (key, self.document(key)))
            at = start + 7 * 3600 + number("sign-up", index, position) % (15 * 3600)
            changes.append((at, key, "sign-up", 0))

    def _clone(self, day: int, basket: Basket) -> Basket | None:
        """A first order of somebody who signed up in the days before, with another's lines."""
        chance = number("first order", basket.id)
        joined = day - 1 - chance % 7
        if joined < self.plan.sign_up_since():
            return None
        person = SIGN_UP_BASE + (joined - self.plan.first_day) * 100 + chance // 7 % 3
        at = basket.at + 60 + chance // 21 % 600
        return replace(basket, id=basket.id + CLONE_IDS, person=person, at=at, codes=[])

    def _joins(self, day: int, changes: list[tuple[int, int, str, int]]) -> None:
        """Half of the guests open an account some day, with the address of their orders."""
        if self._joining is None:
            self._joining = {}
            span = max(self.plan.last_day - self.plan.first_day - 10, 1)
            for key in self.people if self.plan.guests else ():
                if number("guest", key) % 128 == 64:
                    joined = self.plan.first_day + 5 + number("join", key) % span
                    self._joining.setdefault(joined, []).append(key)
        at = self.local.start(day) + 10 * 3600
        changes.extend((at, key, "sign-up", 0) for key in self._joining.get(day, []))

    def _opinions(self, day: int, changes: list[tuple[int, int, str, int]]) -> None:
        """Three customers a day change their mind about e-mail."""
        known = len(self.registered)
        for position in range(3 if known > 40 else 0):
            key = self.registered[number("opinion", day - self.plan.first_day, position) % known]
            at = self.local.start(day) + 8 * 3600 + number("hour", day, position) % (13 * 3600)
            changes.append((at, key, "opinion", 0))

    def _customers(self, changes: list[tuple[int, int, str, int]]) -> None:
        for at, key, kind, amount in changes:
            if kind == "guest":
                continue
            old = self._customer(key)
            if old is None:
                new = self._first_version(key, at, kind)
                self.registered.append(key)
            else:
                new = replace(old, at=max(at, old.at + 1))
            if kind == "order":
                new.orders += 1
                new.spent += amount
            elif kind == "opinion":
                new.consent = "UNSUBSCRIBED" if new.consent == "SUBSCRIBED" else "SUBSCRIBED"
                new.consent_at = new.at
            if old is not None:
                self._put("customer_versions", _customer_row(key, old, new.at))
            self.customers[key] = new

    def _first_version(self, key: int, at: int, kind: str) -> Customer:
        """A customer as created; who buys is seen some minutes before the first order."""
        if kind == "sign-up":
            return Customer(at, 0, 0, "SUBSCRIBED", at)
        created = at - 300 - number("created", key) % 900
        first = Customer(created, 0, 0, self.person(key).consent(), created)
        self._put("customer_versions", _customer_row(key, first, at))
        return replace(first, at=at)

    def _customer(self, key: int) -> Customer | None:
        found = self.customers.get(key)
        if found is None and self.live:
            row = self.link.execute(
                "select at, orders, spent, consent, consent_at, patch from customer_versions"
                " where id = ? and until = ?",
                (key, FOREVER),
            ).fetchone()
            if row is not None:
                self.link.execute(
                    "delete from customer_versions where id = ? and until = ?", (key, FOREVER)
                )
                found = self.customers[key] = Customer(*row)
        return found

    # -- products -------------------------------------------------------------------------------

    def _products(self, day: int) -> None:
        """Some products a day get other stock or another price; now and then one is removed."""
        index, known = day - self.plan.first_day, len(self.product_ids)
        start = self.local.start(day) + 2 * 3600
        for position in range(self.plan.product_changes):
            key = self.product_ids[number("restock", index, position) % known]
            old = self._product(key)
            if old is None or old.at >= start + position:
                continue
            chance = number("restocked", index, key)
            price = old.price * (95 + chance % 11) // 100 if chance % 3 == 0 else old.price
            new = Stocked(start + position, max(price, 1), chance // 11 % 400, old.patch)
            self._put("product_versions", _product_row(key, old, new.at))
            self.products[key] = new
        if number("removal", index) % 8 == 0:
            self._remove(pick(self.product_ids, "removed", index), start + 3600)

    def _remove(self, key: int, at: int) -> None:
        old = self._product(key)
        if old is not None:
            self._put("product_versions", _product_row(key, old, at))
            del self.products[key]
            self._put("deletions", (DELETION_IDS + at, at, "PRODUCT", key))

    def _product(self, key: int) -> Stocked | None:
        found = self.products.get(key)
        if found is None and self.live:
            row = self.link.execute(
                "select at, price, stock, patch from product_versions where id = ? and until = ?",
                (key, FOREVER),
            ).fetchone()
            if row is not None:
                self.link.execute(
                    "delete from product_versions where id = ? and until = ?", (key, FOREVER)
                )
                found = self.products[key] = Stocked(*row)
        return found


def _customer_row(key: int, one: Customer, until: int) -> tuple[Any, ...]:
    return key, one.at, until, one.orders, one.spent, one.consent, one.consent_at, one.patch


def _product_row(key: int, item: Stocked, until: int) -> tuple[Any, ...]:
    return key, item.at, until, item.price, item.stock, item.patch
