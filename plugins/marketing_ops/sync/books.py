"""The books of a run: every record that came in is accounted for, stream by stream."""

from __future__ import annotations

from dataclasses import asdict, dataclass, fields

from marketing_ops.errors import FatalError


@dataclass
class Counts:
    """What became of the records of one stream in one run.

    `fetched` includes the absences that count as news: a line its parent no longer has is fetched
    and tombstoned.
    """

    fetched: int = 0
    inserted: int = 0
    updated: int = 0
    unchanged: int = 0
    duplicates: int = 0
    stale: int = 0
    rejected: int = 0
    tombstoned: int = 0

    @property
    def accounted(self) -> int:
        """The sum of all outcomes; equal to `fetched` in a balanced book."""
        return sum(value for name, value in asdict(self).items() if name != "fetched")

    @property
    def is_balanced(self) -> bool:
        """Whether every fetched record has exactly one outcome."""
        return self.fetched == self.accounted

    @property
    def written(self) -> int:
        """Rows that changed in the warehouse."""
        return self.inserted + self.updated + self.tombstoned

    def add(self, other: Counts) -> None:
        """Add another count, outcome by outcome."""
        for field in fields(self):
            setattr(self, field.name, getattr(self, field.name) + getattr(other, field.name))


def check(stream: str, counts: Counts) -> None:
    """Refuse books that do not balance.

    Raises:
        FatalError: says by how much.
    """
    if not counts.is_balanced:
        raise FatalError(
            f"the books of {stream} do not balance: {counts.fetched} fetched,"
            f" {counts.accounted} accounted for ({counts}); nothing of this batch was stored."
            " Look for a trigger or rule on its raw table"
        )


def check_rejects(stream: str, counts: Counts, max_ratio: float) -> None:
    """Refuse a run in which more records are unusable than a handful or `max_ratio` of them.

    Raises:
        FatalError: says how many, and where to look.
    """
    if counts.rejected > max(REJECTS_TOLERATED, max_ratio * counts.fetched):
        raise FatalError(
            f"{counts.rejected} of {counts.fetched} records of {stream} are unusable, more than"
            f" max_reject_ratio ({max_ratio:.0%}) allows: the vendor's data or its shape changed;"
            " see mkt_ops.rejected_records"
        )


REJECTS_TOLERATED = 5
"""So many rejected records never stop a stream, however small the run."""
