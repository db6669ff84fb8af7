"""Random runs against the sandbox: changes, faults, kills, and at each checkpoint the truth."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import psycopg
from psycopg import sql

from marketing_ops import clock, settings
from marketing_ops.sources import registry
from marketing_ops.sync.tables import qualified
from marketing_ops.warehouse import Warehouse
from marketing_ops.window import Window
from sandbox import seed, store
from sandbox.faults import Faults
from sandbox.hubspot import seed as hubspot
from sandbox.hubspot.crm import Crm
from sandbox.shopify.world import World
from tests.sandbox_fixtures import SandboxServer, start_sandbox
from tests.soak.audience import Audience
from tests.soak.draw import Draw
from tests.soak.portal import Portal
from tests.soak.shop import Shop
from tests.soak.vendor import Vendor
from tests.soak.worker import Order, Outcome, Place, Workers
from tests.sync.conftest import include_copy

BEGIN = datetime(2026, 3, 2, 12, tzinfo=UTC)
"""The shop's year ends then; whatever the day, a seed is the same soak."""

CACHE = Path(__file__).resolve().parents[2] / ".cache"
VENDORS = (Shop, Portal, Audience)
_STEPS = (1, 7, 60, 61, 600, 3600, 3599, 7200, 21_600, 40_000, 86_400)
_SETTLED = timedelta(minutes=10)
_BATCHES = (40, 150, 700, 20_000)
_PAGES = (0, 10, 25, 100)

Say = Callable[[str], None]


@dataclass
class Tally:
    """What a soak did, for a look that it did enough.

    Attributes:
        acts: runs by kind. ends: how they ended. faults: by kind. findings: what was not right.
    """

    runs: int = 0
    checkpoints: int = 0
    acts: dict[str, int] = field(default_factory=dict)
    ends: dict[str, int] = field(default_factory=dict)
    findings: list[str] = field(default_factory=list)

    def line(self) -> str:
        """One line of counts."""
        acts = ", ".join(f"{count} {name}" for name, count in sorted(self.acts.items()))
        ends = ", ".join(f"{count} {name}" for name, count in sorted(self.ends.items()))
        return f"{self.runs} runs, {self.checkpoints} checkpoints; {acts}; ended: {ends}"


def _seed(home: Path) -> None:
    """A small shop and portal as they would be if it were `BEGIN` today: a seed is the same soak
    whatever the date.
    """
    now, zone = int(BEGIN.timestamp()), settings.settings().reporting_timezone
    shop = home / "shop.sqlite"
    seed.build(shop, seed.choose(None, small=True), now=now, zone=zone, report=str)
    world = World(shop, str, Faults())
    crm = Crm(home / "hubspot.sqlite", world)
    hubspot.seed(crm, now * 1000)
    known = {name: store.meta(world.reader)[name] for name in ("inputs", "weeks", "zone")}
    crm.records.put_meta({"seeded": {**known, "version": hubspot.VERSION}})
    crm.records.close()


@contextmanager
def sandbox(folder: Path) -> Iterator[SandboxServer]:
    """A small sandbox of its own whose clock is held at `BEGIN`."""
    home, kept = folder / "sandbox", CACHE / f"soak-{seed.VERSION}-{hubspot.VERSION}"
    if not kept.exists():
        made = folder / "seed"
        made.mkdir()
        _seed(made)
        shutil.copytree(made, kept, dirs_exist_ok=True)
    shutil.copytree(kept, home)
    clock.freeze(home / "clock", BEGIN)
    process, server = start_sandbox(home, folder / "sandbox.log", "--small")
    try:
        yield server
    finally:
        process.terminate()
        process.wait(timeout=10)


class Soak:
    """Runs that are drawn by seed and number, over one warehouse and one sandbox."""

    def __init__(
        self, uri: str, server: SandboxServer, folder: Path, seed: int, only: str = ""
    ) -> None:
        self.server, self.seed = server, seed
        self.vendors = [made(server) for made in VENDORS if only in ("", made.system)]
        self.now = BEGIN
        self.tally = Tally()
        self.db: Warehouse = psycopg.connect(uri, autocommit=True, options="-c timezone=UTC")
        include = _include(folder, self.vendors)
        connections = {vendor.account: vendor.connection() for vendor in self.vendors}
        self.workers = Workers(Place(uri, str(server.clock_file), str(include), connections))
        for vendor in self.vendors:
            vendor.calm()

    def run(self, number: int) -> str:
        """One run; a line that says what it was. What was not right goes into the tally."""
        draw = Draw(self.seed, number)
        self.tally.runs += 1
        done = [
            vendor.change(draw, f"soak.{number}.{place}")
            for place in range(draw.number("changes", 5))
            for vendor in [draw.pick("vendor", self.vendors)]
        ]
        orders = self._orders(draw)
        systems = [one for one in self.vendors if one.system == orders[0].system]
        fault = systems[0].disturb(draw) if draw.chance("disturb", 50) else ""
        outcomes = self.workers.run(orders)
        self._calm()
        for order, outcome in zip(orders, outcomes, strict=True):
            self._note(number, order, outcome, is_calm=not fault)
        self._move(timedelta(seconds=draw.pick("step", _STEPS)))
        ends = [
            f"{order.line()}: {_short(end)}" for order, end in zip(orders, outcomes, strict=True)
        ]
        return f"{number}: {', '.join(done) or 'no change'}; {fault or 'calm'}; {'; '.join(ends)}"

    def checkpoint(self) -> None:
        """Sync whatever is due; then everything has to be right."""
        self.tally.checkpoints += 1
        self._move(max(self._blocked(), _SETTLED))
        orders = [Order(vendor.system, vendor.account, act="settle") for vendor in self.vendors]
        for vendor, outcome in zip(self.vendors, self.workers.run(orders), strict=True):
            if outcome.end != "done":
                self._find(f"{vendor.system} does not settle: {outcome.end} {outcome.says}")
            for stream, rows in outcome.again.items():
                self._find(f"{vendor.system} {stream}: a second sync wrote {rows} rows")
            for difference in vendor.differences(self.db):
                self._find(f"{vendor.system} {difference.line()}")
            self._check_cursors(vendor)
        self._check_books()

    def close(self) -> None:
        """Give the connection back."""
        self.db.close()

    def _orders(self, draw: Draw) -> list[Order]:
        """One task, or two at once for one account."""
        vendor = draw.pick("system", self.vendors)
        orders = [self._order(draw, vendor) for _ in range(2 if draw.chance("pair", 25) else 1)]
        if draw.chance("forget", 15):
            self._forget(vendor, orders[0].stream)
        return orders

    def _order(self, draw: Draw, vendor: Vendor) -> Order:
        stream, window = draw.pick("stream", vendor.streams), None
        act = draw.pick("run", ("sync",) * 12 + ("full_refresh", "backfill", "reconcile", "replay"))
        if act == "backfill":
            stream = draw.pick("backfilled", vendor.backfilled)
            end = self.now - timedelta(minutes=draw.number("end", 2000))
            window = Window(end - timedelta(minutes=1 + draw.number("length", 9000)), end)
        elif act == "reconcile":
            system = registry.SYSTEMS[vendor.system]
            stream = draw.pick("reconciled", list(filter(system.can_reconcile, vendor.streams)))
        dies = draw.pick("dies", ("", "", "statement", "statement", "later"))
        return Order(
            vendor.system,
            vendor.account,
            stream,
            act,
            window,
            rows=draw.pick("rows", _BATCHES),
            page=draw.pick("page", _PAGES),
            dies_at=1 + draw.number("statement", 30) if dies == "statement" else 0,
            dies_after=(5 + draw.number("later", 600)) / 1000 if dies == "later" else 0.0,
        )

    def _forget(self, vendor: Vendor, name: str) -> None:
        """Nothing of a stream was ever loaded, so that its next run is a first load again."""
        stream = registry.SYSTEMS[vendor.system].stream(name)
        assert stream is not None
        for member in stream.family():
            if not member.deletes:
                self.db.execute(
                    sql.SQL("delete from {}").format(qualified(vendor.system, member.name))
                )
        self.db.execute(
            "delete from mkt_ops.sync_cursors where account = %s and stream = %s",
            (vendor.account, name),
        )

    def _calm(self) -> None:
        self.server.call("DELETE", "/_sandbox/faults")
        for vendor in self.vendors:
            vendor.calm()

    def _move(self, delta: timedelta) -> None:
        self.now += delta
        self.server.set_clock(self.now)

    def _blocked(self) -> timedelta:
        """For how long an account is still postponed."""
        row = self.db.execute("select max(blocked_until) from mkt_ops.account_state").fetchone()
        until = row[0] if row else None
        return until - self.now + timedelta(seconds=1) if until else timedelta(0)

    def _note(self, number: int, order: Order, outcome: Outcome, *, is_calm: bool) -> None:
        tally = self.tally
        end = outcome.says.partition(":")[0] if outcome.end == "error" else outcome.end
        tally.acts[order.act] = tally.acts.get(order.act, 0) + 1
        tally.ends[end] = tally.ends.get(end, 0) + 1
        if outcome.end == "crash" or (is_calm and outcome.end == "error" and _is_odd(outcome)):
            self._find(f"run {number}, {order.line()}: {outcome.says}")

    def _find(self, text: str) -> None:
        self.tally.findings.append(text)

    def _check_books(self) -> None:
        unbalanced = self._ids(
            "status = 'success' and fetched <> inserted + updated + unchanged + duplicates + stale"
            " + rejected + tombstoned"
        )
        if unbalanced:
            self._find(f"the books of sync runs {unbalanced} do not balance")
        if left := self._ids("status = 'running'"):
            self._find(f"sync runs {left} are left running")

    def _ids(self, condition: str) -> list[int]:
        query = f"select sync_run_id from mkt_ops.sync_runs where {condition} limit 5"
        return [key for (key,) in self.db.execute(query.encode())]

    def _check_cursors(self, vendor: Vendor) -> None:
        """No cursor lies beyond the newest change that was ever received."""
        for stream in registry.SYSTEMS[vendor.system].streams:
            if not stream.cursor or stream.deletes:
                continue
            query = sql.SQL(
                "select cursor_at from mkt_ops.sync_cursors where account = %s and stream = %s"
                " and cursor_at > greatest('1970-01-01',"
                " (select max(source_updated_at) from {}))"
            ).format(qualified(vendor.system, stream.name))
            if self.db.execute(query, (vendor.account, stream.name)).fetchone():
                self._find(f"{vendor.system} {stream.name}: its cursor lies beyond every change")


def _is_odd(outcome: Outcome) -> bool:
    """Whether an error cannot be explained by earlier runs of a calm account."""
    known = ("is postponed", "was not loaded yet", "no longer served")
    return not any(words in outcome.says for words in known)


def _short(outcome: Outcome) -> str:
    return outcome.end if outcome.end != "error" else outcome.says[:120]


def _include(folder: Path, vendors: list[Vendor]) -> Path:
    """The shipped include/ with the accounts of the vendors."""
    include = include_copy(folder)
    for vendor in vendors:
        streams = ", ".join(f"{name}: hourly" for name in vendor.streams)
        facts: dict[str, Any] = {
            "source": vendor.account,
            "system": vendor.system,
            "connection": vendor.account,
            "brand": "journey",
            "streams": f"{{{streams}}}",
            "pool_slots": 4,
            "quota_share": "100%",
        }
        text = "".join(f"{name}: {value}\n" for name, value in facts.items())
        (include / "sources" / f"{vendor.account}.yaml").write_text(text)
    return include
