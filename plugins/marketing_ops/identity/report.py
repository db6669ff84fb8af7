"""What one call of unify did, in numbers."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field


@dataclass
class UnifyReport:
    """Counts of one call; no personal data.

    Attributes:
        batches: the numbers of the batches it wrote, in order; empty when nothing was new.
        runs: sync runs taken over, those without a changed row included.
        contacts: contacts created or changed.
        merges: identities that joined another contact.
        events: events written or corrected.
        changes: rows written by core table, and `removed_events`, `waiting`, `inbox_*`.
    """

    batches: list[int] = field(default_factory=list)
    runs: int = 0
    contacts: int = 0
    merges: int = 0
    events: int = 0
    changes: Counter[str] = field(default_factory=Counter)

    def line(self) -> str:
        """One readable line for a task log."""
        if not self.batches:
            return f"unify: nothing new in {self.runs} runs"
        rows = ", ".join(f"{count} {name}" for name, count in sorted(self.changes.items()) if count)
        return (
            f"unify: batches {', '.join(map(str, self.batches))} from {self.runs} runs:"
            f" {self.contacts} contacts, {self.merges} merges, {self.events} events; {rows}"
        )
