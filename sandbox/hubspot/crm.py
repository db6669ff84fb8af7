"""The portal's state: settings, objects with their properties and links, and the writes on them."""

from __future__ import annotations

import itertools
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Any

from marketing_ops import clock
from sandbox.hashing import number
from sandbox.hubspot import KEPT, properties
from sandbox.hubspot.life import API_IDS, Life
from sandbox.hubspot.merging import merged
from sandbox.hubspot.pipeline import STAGES
from sandbox.hubspot.values import instant, iso, text
from sandbox.records import Records, Row, Version
from sandbox.shopify.world import World

DAY_MS = 86_400_000

Links = dict[str, list[str]]


@dataclass
class Settings:
    """What a test or the demo may turn."""

    token: str = "pat-na1-sandbox"  # noqa: S105 - the sandbox's own, known to everyone
    client_id: str = "hubspot-client"
    client_secret: str = "hubspot-secret"  # noqa: S105 - as above
    refresh_token: str = "hubspot-refresh"  # noqa: S105 - as above
    is_rotating: bool = False
    """Each refresh gives another refresh token and forgets the one used."""
    token_seconds: float = 1800.0
    burst: int = 190
    burst_oauth: int = 110
    search_per_second: int = 5
    daily: int = 625_000
    daily_used: int = 0
    """Calls of other apps of the account today, on top of those made here."""
    search_lag_seconds: float = 0.0
    search_cap: int = 10_000
    archived_days: int = 90
    page_cap: int = 100
    missing_scopes: list[str] = field(default_factory=list)
    subscriptions: list[dict[str, Any]] = field(default_factory=list)
    """Webhooks: `{"url": ..., "types": ["contact.creation", ...]}`; no types, all of them."""
    is_living: bool = True
    """False: nothing changes by itself."""


class View:
    """The visible objects of a kind in the orders that answers need; made once per change."""

    def __init__(self, kind: str, source: list[Version]) -> None:
        self.kind, self.source = kind, source
        self.searches: dict[str, list[Version]] = {}

    @cached_property
    def by_id(self) -> list[Version]:
        """In the order of their ids."""
        return sorted(self.source, key=lambda one: int(one.key))

    @cached_property
    def ids(self) -> list[int]:
        """The ids of `by_id`."""
        return [int(one.key) for one in self.by_id]

    @cached_property
    def _modified(self) -> list[tuple[int, int, Version]]:
        name = properties.modified(self.kind)
        found = [
            (instant(one.document["properties"][name]), chance(one.key), one) for one in self.source
        ]
        return sorted(found, key=lambda row: row[:2])

    @cached_property
    def by_modified(self) -> list[Version]:
        """In the order of their last change; within one ms in an order unlike that of ids."""
        return [row[2] for row in self._modified]

    @cached_property
    def times(self) -> list[int]:
        """The ms of the last change of each in `by_modified`."""
        return [row[0] for row in self._modified]

    @cached_property
    def _emails(self) -> dict[str, Version]:
        found = ((one.document["properties"].get("email"), one) for one in self.source)
        return {email.lower(): one for email, one in found if email}

    @cached_property
    def _pointing(self) -> dict[tuple[str, str], list[str]]:
        found: dict[tuple[str, str], list[str]] = defaultdict(list)
        for one in self.by_id:
            for target, keys in one.document["links"].items():
                for other in keys:
                    found[target, other].append(one.key)
        return found

    def email(self, address: str) -> Version | None:
        """The contact with an address."""
        return self._emails.get(address.lower())

    def pointing(self, kind: str, key: str) -> list[str]:
        """The objects of this view that hold a link to an object of another kind."""
        return self._pointing.get((kind, key), [])


class Crm:
    """One portal. Reading methods answer as of the instant they are given (epoch ms)."""

    def __init__(self, path: Path, world: World) -> None:
        self.world = world
        self.settings = Settings()
        self.records = Records(path)
        self.life = Life(self)
        found = self.records.meta().get("properties", {})
        self.types = {kind: {**known, **found.get(kind, {})} for kind, known in _known().items()}
        self._views: dict[str, list[View]] = defaultdict(list)
        self._events: tuple[list[Version], list[dict[str, Any]]] = ([], [])
        self._ids = itertools.count(self._highest() + 1)

    def now(self) -> int:
        """The product's clock in ms; what happens by itself until then has happened."""
        now = int(clock.now().timestamp() * 1000)
        if self.settings.is_living:
            self.life.advance(now)
        return now

    def view(self, kind: str, now: int) -> View:
        """The visible objects of a kind; two instants (now, and what search knows) are kept."""
        source = self.records.all(kind, now)
        views = self._views[kind]
        for view in views:
            if view.source is source:
                return view
        views[:] = [View(kind, source), *views[:2]]
        return views[0]

    def email_events(self, now: int) -> list[dict[str, Any]]:
        """What became of mails, newest first."""
        source = self.records.all("email_event", now)
        if self._events[0] is not source:
            found = [one.document for one in source]
            self._events = source, sorted(found, key=lambda one: (-one["created"], one["id"]))
        return self._events[1]

    def get(self, kind: str, key: str, now: int) -> Version | None:
        """An object by its id; a merged one is gone under its old ids."""
        return self.records.get(kind, key, now)

    def archived(self, kind: str, now: int) -> list[Version]:
        """The archived objects by id: neither merged nor erased, not older than 90 days."""
        since = now - self.settings.archived_days * DAY_MS
        return sorted(
            (
                one
                for one in self.records.gone(kind, now)
                if one.at >= since and self.records.get("merged", f"{kind}:{one.key}", now) is None
            ),
            key=lambda one: int(one.key),
        )

    def linked(self, kind: str, key: str, other: str, now: int) -> list[str]:
        """The ids of the objects of another kind that an object is associated with."""
        if KEPT.index(kind) > KEPT.index(other):
            one = self.get(kind, key, now)
            return list(one.document["links"].get(other, ())) if one else []
        return self.view(other, now).pointing(kind, key)

    # -- writes -----------------------------------------------------------------------------------

    def create(
        self, kind: str, values: dict[str, Any], now: int, links: Links, key: str | None = None
    ) -> str:
        """A new object; returns its id."""
        key = key or str(API_IDS + next(self._ids))
        self.records.put(kind, key, now, self.made(kind, key, values, links, now))
        return key

    def made(
        self, kind: str, key: str, values: dict[str, Any], links: Links, now: int
    ) -> dict[str, Any]:
        """The document of a new object."""
        known = {"hs_object_id": key, properties.created(kind): iso(now), **values}
        return self._document(kind, known, links, now)

    def create_many(
        self, kind: str, objects: Iterable[tuple[dict[str, Any], Links]], now: int
    ) -> list[str]:
        """New objects of one instant."""
        rows: list[Row] = []
        for values, links in objects:
            key = str(API_IDS + next(self._ids))
            rows.append((kind, key, now, self.made(kind, key, values, links, now)))
        self.records.put_many(rows)
        return [row[1] for row in rows]

    def change(self, kind: str, key: str, values: dict[str, Any], now: int) -> bool:
        """Set properties of a visible object; False when there is none."""
        one = self.get(kind, key, now)
        if one is None:
            return False
        old = one.document["properties"]
        merged = {name: value for name, value in {**old, **values}.items() if value is not None}
        document = self._document(kind, merged, one.document["links"], now)
        if "plan" in one.document and merged.get("dealstage") == old.get("dealstage"):
            document["plan"] = one.document["plan"]
        self.records.put(kind, key, now, document)
        return True

    def archive(self, kind: str, key: str, now: int) -> bool:
        """Remove an object; a contact leaves its lists too. False when it is not there."""
        if self.get(kind, key, now) is None:
            return False
        rows: list[Row] = [(kind, key, now, None)]
        if kind == "contacts":
            rows += [(member, key, now, None) for member in self._memberships(key, now)]
        self.records.put_many(rows)
        return True

    def restore(self, kind: str, key: str, now: int) -> bool:
        """Bring an archived object back as it was, modified now."""
        for one in self.archived(kind, now):
            if one.key == key:
                document = one.document
                values = dict(document["properties"])
                self.records.put(
                    kind, key, now, self._document(kind, values, document["links"], now)
                )
                return True
        return False

    def erase(self, kind: str, key: str, now: int) -> None:
        """Delete for good: not even among the archived."""
        self.archive(kind, key, now)
        self.records.put("merged", f"{kind}:{key}", now, {"into": None})

    def merge(
        self, kind: str, primary: str, other: str, now: int, key: str | None = None
    ) -> str | None:
        """One object of a new id in place of two; None when one of them is not there."""
        first, second = self.get(kind, primary, now), self.get(kind, other, now)
        if first is None or second is None or primary == other:
            return None
        key = key or str(API_IDS + next(self._ids))
        moved = self._moved(kind, (primary, other), key, now)
        self.records.put_many([*merged(kind, key, first, second, now), *moved])
        return key

    def link(self, kind: str, key: str, other: str, target: str, now: int, *, on: bool) -> bool:
        """Associate two objects, or part them; False when one is not there."""
        one, two = self.get(kind, key, now), self.get(other, target, now)
        if one is None or two is None:
            return False
        name, version, to, to_key = kind, one, other, target
        if KEPT.index(kind) < KEPT.index(other):
            name, version, to, to_key = other, two, kind, key
        keys = [known for known in version.document["links"].get(to, ()) if known != to_key]
        links = {**version.document["links"], to: [*keys, to_key] if on else keys}
        self.records.put(name, version.key, now, self._relinked(name, version, links, now))
        return True

    def learn(self, kind: str, values: dict[str, Any]) -> None:
        """Make properties that nobody defined yet known, as text."""
        new = {name: "string" for name in values if name not in self.types[kind]}
        if new:
            self.types[kind].update(new)
            self.records.put_meta({"properties": self.types})

    def _document(
        self, kind: str, values: dict[str, Any], links: Links, now: int
    ) -> dict[str, Any]:
        values = {name: text(value) for name, value in values.items()}
        if kind == "deals" and values.get("dealstage") in STAGES:
            values |= STAGES[values["dealstage"]].properties()
            entered = f"hs_v2_date_entered_{values['dealstage']}"
            values.setdefault(entered, iso(now))
        return {"properties": {**values, properties.modified(kind): iso(now)}, "links": links}

    def _relinked(self, kind: str, one: Version, links: Links, now: int) -> dict[str, Any]:
        changed = {**one.document["properties"], properties.modified(kind): iso(now)}
        return {**one.document, "properties": changed, "links": links}

    def _moved(self, kind: str, old: tuple[str, str], new: str, now: int) -> list[Row]:
        """What pointed to merged objects points to the new one; memberships move along."""
        rows: list[Row] = []
        for other in KEPT[KEPT.index(kind) + 1 :]:
            view = self.view(other, now)
            for key in dict.fromkeys(key for one in old for key in view.pointing(kind, one)):
                one = self.records.get(other, key, now)
                assert one is not None
                kept = [new if known in old else known for known in one.document["links"][kind]]
                links = {**one.document["links"], kind: list(dict.fromkeys(kept))}
                rows.append((other, key, now, self._relinked(other, one, links, now)))
        if kind == "contacts":
            for gone in old:
                for member in self._memberships(gone, now):
                    rows += [(member, gone, now, None), (member, new, now, {"at": now})]
        return rows

    def _memberships(self, contact: str, now: int) -> list[str]:
        lists = (f"member:{one.key}" for one in self.records.all("list", now))
        return [kind for kind in lists if self.records.get(kind, contact, now) is not None]

    def _highest(self) -> int:
        now = 1 << 61
        keys = (
            int(one.key) - API_IDS
            for kind in KEPT
            for found in (self.records.all(kind, now), self.records.gone(kind, now))
            for one in found
        )
        return max((0, *keys))


@lru_cache(100_000)
def chance(key: str) -> int:
    """A number that has nothing to do with the order of ids."""
    return number(key)


def _known() -> dict[str, dict[str, str]]:
    return {kind: dict(known) for kind, known in properties.TYPES.items()}
