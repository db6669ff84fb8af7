"""The seeded shop: built once, kept while its inputs are the same, continued as time goes on."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Callable, Iterator
from dataclasses import asdict, replace
from itertools import groupby
from pathlib import Path

from sandbox import store
from sandbox.hashing import number
from sandbox.inputs import Basket, CsvFiles, Input, Journey
from sandbox.life import REPEAT_IDS, Life, Plan, Stocked
from sandbox.zones import DAY, LocalTime

VERSION = 2
"""Changes when the same inputs would give another shop."""
AHEAD = 3
"""Days that are written before the clock reaches them."""


def choose(data: Path | None, *, small: bool) -> Input:
    """The history to seed from: the user's CSV files, else the retail data, whole or small."""
    if data is not None:
        return CsvFiles(data)
    return Journey(households=60, days=60) if small else Journey()


def is_current(path: Path, source: Input, *, now: int, zone: str, is_fresh: bool = False) -> bool:
    """Whether the shop at `path` was seeded from the same input, to its end.

    A shop seeded some weeks ago counts: its life went on, and whoever synced it would meet other
    times for the same orders after a new seed. `is_fresh` asks for the shift of today.
    """
    if not path.exists():
        return False
    link = store.connect(path)
    known = store.meta(link)
    link.close()
    if known.get("inputs") != source.fingerprint() or known.get("version") != VERSION:
        return False
    weeks = _weeks(known["last_input_day"], LocalTime(zone).day(now) - 1)
    return known["zone"] == zone and (known["weeks"] == weeks or not is_fresh)


def build(path: Path, source: Input, *, now: int, zone: str, report: Callable[[str], None]) -> None:
    """Seed the shop at `path`, in place of what is there.

    The history is shifted by whole weeks, as few as make its last day yesterday or later (what
    lies after the clock is not visible yet), so that weekdays keep their character.
    """
    for old in path.parent.glob(f"{path.name}*"):
        old.unlink()
    path.parent.mkdir(parents=True, exist_ok=True)
    link = store.connect(path, create=True)
    link.execute("begin")
    _build(link, source, zone, LocalTime(zone).day(now) - 1, report)
    link.execute("commit")
    link.executescript(store.INDEXES + "analyze;")
    store.put_meta(link, {"inputs": source.fingerprint()})
    link.close()


def _weeks(last_input_day: int, yesterday: int) -> int:
    weeks: int = -((last_input_day - yesterday) // 7)
    return weeks


def _build(
    link: sqlite3.Connection,
    source: Input,
    zone: str,
    yesterday: int,
    report: Callable[[str], None],
) -> None:
    local = LocalTime(zone)
    first, last = source.bounds()
    last_input_day = local.day(last)
    weeks = _weeks(last_input_day, yesterday)
    span = last_input_day - local.day(first) + 1
    plan = Plan(
        first_day=local.day(first) + weeks * 7,
        last_day=last_input_day + weeks * 7,
        zone=zone,
        period=max(min(364, span // 7 * 7), 7),
        guests=isinstance(source, Journey),
        product_changes=0,
    )
    life = Life(link, plan, live=False)
    life.people = {person.id: person for person in source.people()}
    _products(life, source)
    orders = 0
    for day, baskets in _by_day(local, source, weeks * 7):
        life.day(day, baskets)
        if life.order_number - orders > 10_000:
            orders = life.order_number
            life.write()
            report(f"seeded {orders - 1000} orders up to {local.date(day)}")
    # Guests of CSV files are known only after their orders.
    life.people = {person.id: person for person in source.people()}
    for key in life.people:
        life._put("people", (key, life.document(key)))
    life.close()
    store.put_meta(
        link,
        {
            "version": VERSION,
            "zone": zone,
            "weeks": weeks,
            "last_input_day": last_input_day,
            "plan": asdict(plan),
            "written_to": plan.last_day,
            "shop": source.shop,
        },
    )


def _products(life: Life, source: Input) -> None:
    start = life.local.start(life.plan.first_day)
    for item in source.items():
        created = start - 30 * DAY - number("listed", item.id) % (400 * DAY)
        life._put("products", (item.id, created, json.dumps(item.document)))
        life.products[item.id] = Stocked(created, item.price, item.stock)
        life.product_ids.append(item.id)
    life.plan.product_changes = min(100, len(life.product_ids) // 20)


def _by_day(local: LocalTime, source: Input, days: int) -> Iterator[tuple[int, Iterator[Basket]]]:
    """The baskets of each local day, moved by `days`; order of time is kept at clock changes."""

    def moved() -> Iterator[tuple[int, Basket]]:
        newest = 0
        for basket in source.baskets():
            newest = max(newest, local.shift(basket.at, days))
            basket.at = newest
            yield local.day(newest), basket

    for day, group in groupby(moved(), key=lambda pair: pair[0]):
        yield day, (basket for _, basket in group)


def extend(link: sqlite3.Connection, now: int) -> int:
    """Write the days up to some after `now`: those of 52 weeks earlier again, with new ids.

    Repeated orders carry the label `derived`. Returns the number of days written.
    """
    known = store.meta(link)
    plan = Plan(**known["plan"])
    local = LocalTime(plan.zone)
    begin, end = int(known["written_to"]) + 1, local.day(now) + AHEAD
    if end < begin:
        return 0
    link.execute("begin immediate")
    life = Life(link, plan, live=True)
    life.registered = _column(link, "select distinct id from customer_versions order by id")
    life.product_ids = _column(link, "select id from products order by id")
    life.order_number = _column(link, "select max(number) from orders")[0] or 1000
    life.checkout_number = _column(link, "select max(number) from checkouts")[0] or 1000
    for day in range(begin, end + 1):
        life.day(day, _repeated(link, local, plan, day), "derived")
        life.write()
    life.close()
    store.put_meta(link, {"written_to": end})
    link.execute("commit")
    return end - begin + 1


def _column(link: sqlite3.Connection, statement: str) -> list[int]:
    return [value for (value,) in link.execute(statement)]


def _repeated(link: sqlite3.Connection, local: LocalTime, plan: Plan, day: int) -> Iterator[Basket]:
    """The baskets of the same day some periods of 52 weeks earlier, moved here."""
    cycles = -((plan.last_day - day) // plan.period)
    days = cycles * plan.period
    rows = link.execute(
        "select id, at, person, gross, net, lines, is_registered from orders"
        " where at >= ? and at < ? and label = '' order by at, id",
        (local.start(day - days), local.start(day - days + 1)),
    ).fetchall()
    for key, at, person, gross, net, lines, is_registered in rows:
        basket = Basket(key + cycles * REPEAT_IDS, person, local.shift(at, days), gross, net, lines)
        yield replace(basket, is_guest=not is_registered and not plan.guests)
