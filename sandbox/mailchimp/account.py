"""The account: its records, its settings, and the one way in which a record changes."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from marketing_ops import clock
from sandbox import store
from sandbox.faults import Faults
from sandbox.mailchimp.book import Book
from sandbox.mailchimp.life import Life, Shop
from sandbox.mailchimp.names import contact_id, key_of, members
from sandbox.records import FOREVER, Document, Row, Version
from sandbox.shopify.world import World

VERSION = 1
"""Changes when the same shop would give another account."""


@dataclass
class Settings:
    """What a test or the demo may turn."""

    api_key: str = "sandbox-us1"
    access_token: str = "sandbox-token"  # noqa: S105 - the sandbox's own, known to everyone
    connections: int = 10
    """One more at the same time is answered 429."""
    delay_seconds: float = 0.0
    """How long each answer takes, in real time."""
    batch_delay_seconds: float = 0.0
    signs_webhooks: bool = True
    """False: webhooks made from now on are of the older kind, without a signature."""
    changes_per_hour: int = 10


class Account:
    """One account. Its records begin with the shop's people and live on with the clock."""

    def __init__(self, folder: Path, world: World, faults: Faults) -> None:
        self._folder, self._world, self._faults = folder, world, faults
        self.settings = Settings()
        self.lock = threading.RLock()

    @cached_property
    def life(self) -> Life:
        """The account's life; the first look at it seeds an account of this shop."""
        link = self._world.another_reader()
        facts = store.meta(link)
        link.close()
        seed = json.dumps([VERSION, facts["inputs"], facts["plan"]])
        path = self._folder / f"mailchimp-{key_of(seed)[:8]}.sqlite"
        for other in self._folder.glob("mailchimp-*.sqlite*"):
            if not other.name.startswith(path.name):
                other.unlink()
        shop = Shop(self._world.name, facts["plan"]["last_day"], self._people)
        return Life(Book(path), shop)

    @property
    def is_awake(self) -> bool:
        """Whether anybody has looked at the account yet."""
        return "life" in vars(self)

    @property
    def records(self) -> Book:
        """Everything the account holds."""
        return self.life.records

    def now(self) -> int:
        """The product's clock in milliseconds; what has happened by then is written first."""
        at = int(clock.now().timestamp() * 1000)
        with self.lock:
            self.life.extend(at, self.settings.changes_per_hour)
        return at

    def member(self, audience: str, key: str, now: int) -> Version | None:
        """A member by the hash of the address, by the address itself or by contact id."""
        return self.records.member(audience, key, now)

    def edit(
        self, kind: str, key: str, at: int, change: Callable[[Document], Document | None]
    ) -> None:
        """Make a new version of a record; versions that the clock will reach are changed too."""
        self.edit_many(kind, [key], at, change)

    def edit_many(
        self, kind: str, keys: list[str], at: int, change: Callable[[Document], Document | None]
    ) -> None:
        """`edit` of several records at once; those not visible are left alone."""
        known = [self.records.get(kind, key, at) for key in keys]
        rows: list[Row] = [(kind, one.key, at, change(one.document)) for one in known if one]
        if at < self.life.written_to and keys:
            wanted = set(keys)
            rows += [
                (kind, one.key, one.at, change(one.after))
                for one in self.records.changes([kind], at, FOREVER)
                if one.key in wanted and one.after is not None
            ]
        self.records.put_many(rows)

    def add_member(self, audience: str, at: int, document: Document) -> str:
        """A new member; returns its key. Somebody who would join later joins now instead."""
        kind = members(audience)
        number = None
        if at < self.life.written_to:
            later = self.records.changes([kind], at, FOREVER)
            same = (one.after["n"] for one in later if one.after and _is_same(one.after, document))
            number = next(same, None)
        number = number or self.life.next_number()
        kept = {**document, "n": number, "contact": contact_id(number)}
        self.records.put(kind, str(number), at, kept)
        return str(number)

    def is_busy(self, address: str) -> bool:
        """Whether this address was added to many lists a moment ago: a fault says so."""
        return self._faults.take("mailchimp", "recent_signups", address) is not None

    def base_url(self) -> str:
        """Where the sandbox is reached."""
        return self._world.base_url()

    def _people(self) -> list[tuple[int, str]]:
        link = self._world.another_reader()
        rows = link.execute("select id, document from people order by id").fetchall()
        link.close()
        return rows


def _is_same(one: Document, other: Document) -> bool:
    return bool(one["hash"] == other["hash"])
