"""The account's records, which also know who ever had an address: a member is found at once."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from pathlib import Path

from sandbox.mailchimp.names import key_of, members
from sandbox.records import FOREVER, Records, Row, Version


class Book(Records):
    """Versioned documents; a member is one of the kind `member:<audience>`."""

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        self._keys: dict[tuple[str, str], set[str]] = defaultdict(set)
        for audience in self.all("audience", FOREVER - 1):
            kind = members(audience.key)
            for one in self.changes([kind], -FOREVER, FOREVER):
                self._note((kind, one.key, one.at, one.after))

    def put_many(self, rows: Iterable[Row]) -> None:
        """New versions in one transaction: (kind, key, at, document or None)."""
        kept = list(rows)
        super().put_many(kept)
        for row in kept:
            self._note(row)

    def member(self, audience: str, key: str, now: int) -> Version | None:
        """A member by the hash of the address, by the address itself or by contact id."""
        kind, key = members(audience), key_of(key) if "@" in key else key.lower()
        for one in self._keys.get((kind, key), ()):
            found = self.get(kind, one, now)
            if found and key in (found.document["hash"], found.document["contact"]):
                return found
        return None

    def _note(self, row: Row) -> None:
        kind, key, _, document = row
        if document is not None and kind.startswith(members("")):
            self._keys[kind, document["hash"]].add(key)
            self._keys[kind, document["contact"]].add(key)
