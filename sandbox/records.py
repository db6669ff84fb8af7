"""Versioned JSON documents of one simulated system: SQLite keeps them, memory answers.

A version is visible from its `at` until the next version of the same record, so that the clock may
stand anywhere, move on or be set back, and the answers are those of that moment.
"""

from __future__ import annotations

import json
import sqlite3
import threading
from bisect import bisect_right
from collections import defaultdict
from collections.abc import Iterable
from pathlib import Path
from typing import Any, NamedTuple

import orjson

SCHEMA = """
create table if not exists meta (name text primary key, value text not null);
create table if not exists versions (
    kind text, key text, at integer, document text, primary key (kind, key, at)
) without rowid;
"""
FOREVER = 1 << 62

Document = dict[str, Any]
Row = tuple[str, str, int, Document | None]


class Version(NamedTuple):
    """What a record was from `at` on (epoch ms); the document is shared, not to be changed."""

    key: str
    at: int
    created_at: int
    document: Document


class Change(NamedTuple):
    """One new version beside the one before it; None: the record was not there."""

    kind: str
    key: str
    at: int
    before: Document | None
    after: Document | None


class _Life(NamedTuple):
    """A record's versions, oldest first; a document of None means gone from then on."""

    times: list[int]
    documents: list[Document | None]

    def put(self, at: int, document: Document | None) -> None:
        place = bisect_right(self.times, at)
        if place and self.times[place - 1] == at:
            self.documents[place - 1] = document
        else:
            self.times.insert(place, at)
            self.documents.insert(place, document)

    def version(self, key: str, now: int) -> Version | None:
        place = bisect_right(self.times, now) - 1
        if place < 0:
            return None
        document = self.documents[place]
        return None if document is None else self._made(key, place, document)

    def gone(self, key: str, now: int) -> Version | None:
        """The last document of a record that is gone, `at` being when it went."""
        place = bisect_right(self.times, now) - 1
        if place < 1 or self.documents[place] is not None:
            return None
        document = self.documents[place - 1]
        return None if document is None else self._made(key, place, document)

    def _made(self, key: str, place: int, document: Document) -> Version:
        return Version(key, self.times[place], self.times[0], document)


class _Snapshot(NamedTuple):
    """The visible and the gone records of a kind: true from `since` until before `until`."""

    since: int
    until: int
    all: list[Version]
    gone: list[Version]


class Records:
    """The documents of one system. Safe for many threads of one process."""

    def __init__(self, path: Path) -> None:
        """Open the file, or make it, and read what it holds into memory."""
        self._lock = threading.RLock()
        self._link = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
        self._link.execute("pragma journal_mode = wal")
        self._link.execute("pragma synchronous = off")
        self._link.executescript(SCHEMA)
        self._lives: dict[str, dict[str, _Life]] = defaultdict(dict)
        self._snapshots: dict[str, _Snapshot] = {}
        stored = "select kind, key, at, document from versions order by kind, key, at"
        for kind, key, at, text in self._link.execute(stored):
            self._remember(kind, key, at, orjson.loads(text))

    def put(self, kind: str, key: str, at: int, document: Document | None) -> None:
        """A new version of a record from `at` (epoch ms) on; None: it is gone."""
        self.put_many([(kind, key, at, document)])

    def put_many(self, rows: Iterable[Row]) -> None:
        """New versions in one transaction: (kind, key, at, document or None)."""
        kept = list(rows)
        texts = [
            (kind, key, at, orjson.dumps(document).decode()) for kind, key, at, document in kept
        ]
        with self._lock:
            self._link.execute("begin immediate")
            statement = "insert or replace into versions values (?, ?, ?, ?)"
            self._link.executemany(statement, texts)
            self._link.execute("commit")
            for row in kept:
                self._remember(*row)
            for kind in {row[0] for row in kept}:
                self._snapshots.pop(kind, None)

    def get(self, kind: str, key: str, now: int) -> Version | None:
        """The record as it is at an instant; None when it is not there."""
        with self._lock:
            life = self._lives[kind].get(key)
            return life.version(key, now) if life else None

    def history(self, kind: str, key: str, now: int) -> list[Version]:
        """The versions of a record up to an instant, oldest first, without its absences."""
        with self._lock:
            life = self._lives[kind].get(key)
            found = [life.version(key, at) for at in life.times if at <= now] if life else []
        return [version for version in found if version is not None]

    def all(self, kind: str, now: int) -> list[Version]:
        """The records visible at an instant, by key. The list is shared, not to be changed."""
        return self._snapshot(kind, now).all

    def gone(self, kind: str, now: int) -> list[Version]:
        """The records deleted by an instant: their last document, `at` being when they went."""
        return self._snapshot(kind, now).gone

    def changes(self, kinds: Iterable[str], after: int, until: int) -> list[Change]:
        """What happened to records of these kinds in (after, until], oldest first."""
        with self._lock:
            found = [
                Change(kind, key, at, life.documents[place - 1] if place else None, document)
                for kind in kinds
                for key, life in self._lives[kind].items()
                if life.times[-1] > after
                for place, (at, document) in enumerate(zip(life.times, life.documents, strict=True))
                if after < at <= until
            ]
        return sorted(found, key=lambda change: (change.at, change.kind, change.key))

    def close(self) -> None:
        """Let go of the file."""
        self._link.close()

    def meta(self) -> dict[str, Any]:
        """Facts about the whole, such as how far it was seeded."""
        with self._lock:
            rows = self._link.execute("select name, value from meta").fetchall()
        return {name: json.loads(value) for name, value in rows}

    def put_meta(self, values: dict[str, Any]) -> None:
        """Store facts about the whole, replacing those of the same name."""
        rows = [(name, json.dumps(value)) for name, value in values.items()]
        with self._lock:
            self._link.executemany("insert or replace into meta values (?, ?)", rows)

    def _remember(self, kind: str, key: str, at: int, document: Document | None) -> None:
        self._lives[kind].setdefault(key, _Life([], [])).put(at, document)

    def _snapshot(self, kind: str, now: int) -> _Snapshot:
        """What is true of a kind at an instant, worked out once until its next change."""
        with self._lock:
            found = self._snapshots.get(kind)
            if found is None or not found.since <= now < found.until:
                found = self._snapshots[kind] = self._made(kind, now)
            return found

    def _made(self, kind: str, now: int) -> _Snapshot:
        seen: list[Version] = []
        gone: list[Version] = []
        since, until = -FOREVER, FOREVER
        for key, life in sorted(self._lives[kind].items()):
            place = bisect_right(life.times, now)
            if place < len(life.times):
                until = min(until, life.times[place])
            if not place:
                continue
            since = max(since, life.times[place - 1])
            version = life.version(key, now)
            if version is not None:
                seen.append(version)
            elif (last := life.gone(key, now)) is not None:
                gone.append(last)
        return _Snapshot(since, until, seen, gone)
