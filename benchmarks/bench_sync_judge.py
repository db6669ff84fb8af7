"""Figures, tables and verdicts of the sync benchmark."""

from __future__ import annotations

import statistics
from dataclasses import dataclass
from typing import Any

from bench_sync_measure import Measured


@dataclass
class Series:
    """All runs of one method.

    Attributes:
        is_: what it is, for the table.
        rows: how many rows each run moved.
        problem: why there is no run.
    """

    name: str
    is_: str
    rows: int
    runs: list[Measured]
    problem: str = ""

    def median(self, of: str) -> float:
        """The median of one of a run's numbers."""
        return float(statistics.median(getattr(run, of) for run in self.runs))

    @property
    def rate(self) -> float:
        """Rows per second, by the median run."""
        return self.rows / self.median("seconds")

    def as_json(self) -> dict[str, Any]:
        """For the result file: medians, and every run."""
        found: dict[str, Any] = {"name": self.name, "is": self.is_, "rows": self.rows}
        if not self.runs:
            return {**found, "problem": self.problem}
        kept = ("seconds", "client_cpu", "postgres_cpu", "megabytes")
        return {
            **found,
            "rows_per_second": round(self.rate),
            **{name: round(self.median(name), 3) for name in kept},
            "runs": [{name: round(getattr(run, name), 3) for name in kept} for run in self.runs],
        }


@dataclass(frozen=True)
class Figure:
    """One measured figure beside what it is held against.

    Attributes:
        ours, other: what is compared; `other_is` says what the other one is.
        goal: the bound of `value`; None = shown only.
        is_most: the goal is an upper bound.
        aim: what we would like.
    """

    name: str
    unit: str
    ours: float
    other: float
    other_is: str
    goal: float | None = None
    is_most: bool = False
    aim: float | None = None
    value: float | None = None

    @property
    def judged(self) -> float:
        """What the goal bounds: `value`, else ours over the other."""
        return self.ours / self.other if self.value is None else self.value

    @property
    def is_met(self) -> bool:
        """Whether the goal is reached."""
        if self.goal is None:
            return True
        return self.judged <= self.goal if self.is_most else self.judged >= self.goal

    def as_json(self) -> dict[str, Any]:
        """One entry of the closing JSON line."""
        return {
            "name": self.name,
            "unit": self.unit,
            "ours": round(self.ours, 2),
            "other": round(self.other, 2),
            "other_is": self.other_is,
            "ratio": round(self.judged, 3),
            "goal": self.goal,
            "aim": self.aim,
            "met": self.is_met,
        }


def method_table(series: list[Series]) -> str:
    """Every method: rate, CPU a million rows, memory."""
    rows = [("method", "rows", "rows/s", "s", "client CPU/1M", "pg CPU/1M", "peak MB")]
    for one in series:
        if not one.runs:
            rows.append((one.is_, f"{one.rows}", one.problem[:60], "", "", "", ""))
            continue
        per_million = 1e6 / one.rows
        rows.append(
            (
                one.is_,
                f"{one.rows}",
                f"{one.rate:,.0f}",
                f"{one.median('seconds'):.2f}",
                f"{one.median('client_cpu') * per_million:.1f}",
                f"{one.median('postgres_cpu') * per_million:.1f}",
                f"{one.median('megabytes'):.0f}",
            )
        )
    return _aligned(rows)


def figure_table(figures: list[Figure]) -> str:
    """Every figure: goal, aim, verdict."""
    rows = [("figure", "ours", "other", "against", "value", "goal", "verdict")]
    for one in figures:
        sign = "<=" if one.is_most else ">="
        aim = "" if one.aim is None else f" (aim {one.aim:g})"
        goal = "-" if one.goal is None else f"{sign} {one.goal:g}{aim}"
        verdict = "-" if one.goal is None else ("met" if one.is_met else "NOT MET")
        ours, other = f"{one.ours:,.1f} {one.unit}", f"{one.other:,.1f}"
        rows.append((one.name, ours, other, one.other_is, f"{one.judged:.3f}", goal, verdict))
    return _aligned(rows)


def _aligned(rows: list[tuple[str, ...]]) -> str:
    widths = [max(len(row[place]) for row in rows) for place in range(len(rows[0]))]
    shape = "  ".join(f"{{:{width}}}" for width in widths)
    return "\n".join(shape.format(*row).rstrip() for row in rows)
