"""Everybody who is due moves: waits end, ways part, sends are claimed, until nothing moves."""

from __future__ import annotations

from collections import Counter
from typing import Any

from marketing_ops import sqlfile
from marketing_ops.campaigns import book as books
from marketing_ops.campaigns import rules
from marketing_ops.campaigns.book import Book
from marketing_ops.campaigns.entries import Facts, json
from marketing_ops.settings import settings
from marketing_ops.warehouse import Warehouse

MOST_ROUNDS = 40
"""Whoever still moves after so many rounds goes on in the next tick. A round is the instant steps,
the claims, or the computing of local times."""


class Advance:
    """One transaction's moves. `counts` tells how many were claimed, skipped and held."""

    def __init__(
        self, warehouse: Warehouse, book: Book, facts: Facts, senders: list[dict[str, Any]]
    ) -> None:
        self.warehouse = warehouse
        self.book = book
        self.facts = facts
        self.senders = senders
        self.counts: Counter[str] = Counter()
        self._seq = 10

    def run(self) -> None:
        """Move everybody in `tick_work` as far as this instant allows, and write it back."""
        for _ in range(MOST_ROUNDS):
            census = self._census()
            kinds = {row[0] for row in census}
            if "until" in kinds:
                self._until()
            elif kinds - {"send"}:
                self._move(census)
            elif census:
                self._claim()
            else:
                break
        written = sqlfile.execute(self.warehouse, "engage/tick_write_back", {"at": self.facts.at})
        self.counts["moved"] += written.rowcount

    def _census(self) -> list[tuple[Any, ...]]:
        """(kind, campaign, version, step, due, has_reset) of every node that can act now."""
        rows = sqlfile.execute(self.warehouse, "engage/tick_census", {"at": self.facts.at})
        may_send = {(row["campaign_id"], row["version"]) for row in self.senders}
        return [row for row in rows if row[0] != "send" or (row[1], row[2]) in may_send]

    def _move(self, census: list[tuple[Any, ...]]) -> None:
        kinds = {row[0] for row in census}
        if any(row[5] for row in census):
            params = {"at": self.facts.at, "batch": self.facts.batch}
            sqlfile.execute(self.warehouse, "engage/tick_resets", params)
        files = {"wait": "tick_waits", "split": "tick_splits", "exit": "tick_exit_steps"}
        for kind, file in files.items():
            if kind in kinds:
                params = {"at": self.facts.at, "seq": self._next()}
                sqlfile.execute(self.warehouse, f"engage/{file}", params)
        for kind, campaign_id, version, step_id, *_ in census:
            if kind == "if":
                self._decide(campaign_id, version, step_id)

    def _decide(self, campaign_id: int, version: int, step_id: int) -> None:
        row = self.warehouse.execute(
            "select s.step, (n.params ->> 'then')::integer, (n.params ->> 'else')::integer"
            " from mkt_engage.campaign_nodes as n"
            " inner join mkt_engage.campaign_steps as s on s.step_id = n.step_id"
            " where n.campaign_id = %s and n.version = %s and n.step_id = %s",
            (campaign_id, version, step_id),
        ).fetchone()
        assert row is not None
        condition = self.book.versions[(campaign_id, version)].conditions[row[0]]
        params = {
            "campaign_id": campaign_id,
            "version": version,
            "step_id": step_id,
            "then_id": row[1],
            "else_id": row[2],
            "at": self.facts.at,
            "batch": self.facts.batch,
            "seq": self._next(),
            **condition[1],
        }
        self.warehouse.execute(rules.into("engage/tick_if", condition).encode(), params)

    def _claim(self) -> None:
        params = {
            "at": self.facts.at,
            "tick_id": self.facts.tick_id,
            "seq": self._next(),
            "reporting_zone": settings().reporting_timezone,
            "campaigns": json(self.senders),
            "policies": json(books.policies()),
        }
        for reason, count in sqlfile.execute(self.warehouse, "engage/tick_claim", params):
            self.counts[str(reason).split(":", 1)[0]] += int(count)

    def _until(self) -> None:
        params = {"reporting_zone": settings().reporting_timezone}
        sqlfile.execute(self.warehouse, "engage/tick_until", params)

    def _next(self) -> int:
        self._seq += 1
        return self._seq
