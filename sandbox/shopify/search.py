"""Shopify's search strings, with their traps.

- A timestamp without quotes loses its time: `updated_at:>=2026-11-01T10:00:00Z` means that day,
  in the shop's time zone.
- An unknown field is ignored, with a warning that nobody reads: the answer is everything.
- Some filters match whole days, whatever the time says (customers' `updated_at`).
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from sandbox.zones import DAY, LocalTime

TOKEN = re.compile(
    r"""\s*(?:
        (?P<open>\()|(?P<close>\))|
        (?P<word>AND|OR|NOT)(?=[\s(])|
        (?P<minus>-)?
        (?:(?P<field>[A-Za-z_]\w*):(?P<op><=|>=|<|>)?\s?)?
        (?P<value>'(?:[^'\\]|\\.)*'|"(?:[^"\\]|\\.)*"|[^\s()]+)
    )""",
    re.VERBOSE,
)


@dataclass(frozen=True)
class Filter:
    """How a field of a search string is looked up: kinds are time, day, id, text, flag, tag."""

    kind: str
    column: str


@dataclass
class Condition:
    """A piece of SQL with its parameters."""

    sql: str
    parameters: list[Any]


class Search:
    """One search string, turned into SQL over the columns that `filters` name."""

    def __init__(self, filters: dict[str, Filter], local: LocalTime) -> None:
        self.filters, self.local = filters, local
        self.warnings: list[dict[str, str]] = []

    def condition(self, text: str) -> Condition:
        """The condition of a search string; unknown fields only leave a warning."""
        self._tokens = [match for match in TOKEN.finditer(text) if match.group().strip()]
        self._position = 0
        found = self._any()
        return found or Condition("1", [])

    def _peek(self) -> re.Match[str] | None:
        return self._tokens[self._position] if self._position < len(self._tokens) else None

    def _any(self) -> Condition | None:
        parts = [self._all()]
        while (token := self._peek()) and token["word"] == "OR":
            self._position += 1
            parts.append(self._all())
        return _join(" or ", parts)

    def _all(self) -> Condition | None:
        parts: list[Condition | None] = []
        while (token := self._peek()) and token["word"] != "OR" and not token["close"]:
            if token["word"] == "AND":
                self._position += 1
                continue
            parts.append(self._one())
        return _join(" and ", parts)

    def _one(self) -> Condition | None:
        token = self._tokens[self._position]
        self._position += 1
        if token["word"] == "NOT":
            return _negated(self._one() if self._peek() else None)
        if token["open"]:
            inner = self._any()
            self._position += 1
            return inner
        found = self._term(token["field"], token["op"] or "=", token["value"])
        return _negated(found) if token["minus"] else found

    def _term(self, name: str | None, op: str, raw: str) -> Condition | None:
        is_quoted = raw[:1] in "'\"" and len(raw) > 1
        value = re.sub(r"\\(.)", r"\1", raw[1:-1]) if is_quoted else raw
        if name is None:
            column = self.filters["default"].column
            return Condition(f"{column} like ?", [f"%{value}%"])
        known = self.filters.get(name)
        if known is None or name == "default":
            warning = {"field": name, "code": "invalid_field"}
            self.warnings.append({**warning, "message": "Invalid search field for this query."})
            return None
        if known.kind in ("time", "day"):
            return self._time(name, known, op, value, is_quoted)
        if known.kind == "id":
            number = re.sub(r"^gid://.*/", "", value)
            return Condition(f"{known.column} {op} ?", [int(number) if number.isdigit() else -1])
        if known.kind == "flag":
            return Condition(f"{known.column} = ?", [int(value.lower() == "true")])
        if known.kind == "tag":
            return Condition(f"{known.column} like ?", [f'%"{value}"%'])
        if value == "*":
            return Condition(f"{known.column} is not null", [])
        return Condition(f"lower({known.column}) = ?", [value.lower()])

    def _time(
        self, name: str, known: Filter, op: str, value: str, is_quoted: bool
    ) -> Condition | None:
        span = self._span(value, is_quoted, whole_day=known.kind == "day")
        if span is None:
            warning = {"field": name, "code": "invalid_value"}
            self.warnings.append({**warning, "message": "Invalid value for this field."})
            return None
        start, end = span
        column = known.column
        if op == "=":
            return Condition(f"({column} >= ? and {column} < ?)", [start, end])
        if known.kind == "day":
            # The whole day matches, on whichever side the time was meant to cut.
            sides = {">=": (">=", start), ">": (">=", start), "<": ("<", end), "<=": ("<", end)}
        else:
            sides = {">=": (">=", start), ">": (">=", end), "<": ("<", start), "<=": ("<", end)}
        sign, bound = sides[op]
        return Condition(f"{column} {sign} ?", [bound])

    def _span(self, value: str, is_quoted: bool, *, whole_day: bool) -> tuple[int, int] | None:
        """First second of a value and the first one after it: a second, or a day of the shop."""
        if not is_quoted:
            value = value.split("T")[0]
        try:
            at = datetime.fromisoformat(value)
        except ValueError:
            return None
        if len(value) > 10:
            known = at if at.tzinfo else at.replace(tzinfo=self.local.zone)
            exact = int(known.astimezone(UTC).timestamp())
            if not whole_day:
                return exact, exact + 1
            day = self.local.day(exact)
            return self.local.start(day), self.local.start(day + 1)
        start = at.replace(tzinfo=self.local.zone)
        day = (start.date() - datetime(1970, 1, 1, tzinfo=UTC).date()) // timedelta(seconds=DAY)
        return self.local.start(day), self.local.start(day + 1)


def _join(word: str, parts: list[Condition | None]) -> Condition | None:
    known = [part for part in parts if part is not None]
    if not known:
        return None
    sql = word.join(part.sql for part in known)
    return Condition(f"({sql})", [value for part in known for value in part.parameters])


def _negated(found: Condition | None) -> Condition | None:
    return Condition(f"not {found.sql}", found.parameters) if found else None
