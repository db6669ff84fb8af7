"""A simulated vendor: what happens there, how it misbehaves, and whether we hold its truth."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import dataclass
from typing import Any

from marketing_ops.connections import Connection
from marketing_ops.warehouse import Warehouse
from tests.sandbox_fixtures import SandboxServer
from tests.soak.draw import Draw

Fault = dict[str, Any]
Row = tuple[Any, ...]


@dataclass(frozen=True)
class Difference:
    """A stream that is not its truth; ids and names of fields only."""

    stream: str
    missing: int
    left_over: int
    ids: list[str]
    fields: list[str]

    def line(self) -> str:
        """One line without anybody's data."""
        fields = f", fields {', '.join(self.fields)}" if self.fields else ""
        return (
            f"{self.stream}: {self.missing} rows of the truth are not here, {self.left_over} here"
            f" are not true; ids {', '.join(self.ids)}{fields}"
        )


def compare(
    stream: str, names: tuple[str, ...], keys: int, held: list[Row], true: list[Row]
) -> Difference | None:
    """How rows differ from the truth, None = in nothing; the first `keys` fields are the key."""
    here, there = Counter(map(_text, held)), Counter(map(_text, true))
    if here == there:
        return None
    missing = [row for row in true if here[_text(row)] < there[_text(row)]]
    over = [row for row in held if there[_text(row)] < here[_text(row)]]
    ids = list(dict.fromkeys(str(row[:keys]) for row in [*missing, *over]))[:5]
    by_key = {row[:keys]: row for row in over}
    fields = {
        name
        for row in missing
        if row[:keys] in by_key
        for name, one, other in zip(names, row, by_key[row[:keys]], strict=True)
        if _text(one) != _text(other)
    }
    return Difference(stream, len(missing), len(over), ids, sorted(fields))


def _text(value: Any) -> str:
    """The same for equal values, whatever the order of an object's fields."""
    return json.dumps(value, sort_keys=True, default=str)


class Vendor:
    """One account of one simulated system."""

    system = ""
    account = ""
    streams: tuple[str, ...] = ()
    backfilled: tuple[str, ...] = ()
    """Streams with a history that a backfill can read."""
    faults: tuple[Fault, ...] = ()

    def __init__(self, server: SandboxServer) -> None:
        self.server = server

    def connection(self) -> Connection:
        """The account's address and secret."""
        raise NotImplementedError

    def calm(self) -> None:
        """The usual settings; limits that nobody waits for."""
        raise NotImplementedError

    def change(self, draw: Draw, name: str) -> str:
        """One change at the clock; `name` is new each time. Returns what was done."""
        raise NotImplementedError

    def differences(self, db: Warehouse) -> list[Difference]:
        """The streams whose raw tables are not the truth."""
        raise NotImplementedError

    def disturb(self, draw: Draw) -> str:
        """One misbehaviour from now on; returns what."""
        fault = dict(draw.pick("fault", self.faults))
        settings = fault.pop("settings", None)
        if settings is not None:
            self.server.call("POST", f"/_sandbox/{self.system}/settings", settings)
            return f"{self.system} {settings}"
        fault["times"] = 1 + draw.number("times", fault.pop("most", 3))
        self.server.call("POST", "/_sandbox/faults", {"system": self.system, **fault})
        return f"{self.system} {fault}"
