"""include/kpis/*.yaml: what each KPI means, for whom, and which SQL file computes it."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from functools import lru_cache
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, StringConstraints

from marketing_ops import sqlfile, yamlfile
from marketing_ops.paths import include_root

Grain = Literal["day", "week", "month"]
DimensionSet = Literal["total", "campaign", "channel", "region"]
Group = Literal["orders", "carts", "email", "consents", "contacts"]
Sentence = Annotated[str, StringConstraints(min_length=3, strip_whitespace=True)]


class Kpi(BaseModel):
    """One KPI. Its SQL returns (kpi, grain, date, dimension_set, dims, numerator, denominator,
    currency); what is not listed here under `grain` and `dimension_sets` is not stored.

    Attributes:
        is_additive: True when numerators (and denominators) of days may be summed over days and
            dimension values. Distinct people are not additive: use the week's or month's own row.
        kpi_group: what its facts are, as in `mkt_ops.dirty_days`.
        source: the file include/sql/marts/<source>.sql; KPIs of one group may share one.
        decisions: which of several right answers was taken, and why it is not another.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    kpi: str
    name: Sentence
    description: Sentence
    formula: Sentence
    unit: Literal["ratio", "money", "count", "seconds"]
    direction: Literal["up", "down", "neutral"]
    grain: list[Grain] = Field(min_length=1)
    dimension_sets: list[DimensionSet] = Field(min_length=1)
    is_additive: bool
    kpi_group: Group
    questions: list[Sentence] = Field(min_length=1)
    decisions: list[Sentence] = Field(min_length=1)
    source: Annotated[str, StringConstraints(pattern=r"^kpi_[a-z0-9_]+$")]


def load_all() -> tuple[dict[str, Kpi], list[yamlfile.Problem]]:
    """Every KPI by name, and the problems of the files that cannot be used.

    Files are read again only when one of them changed.
    """
    folder = include_root() / "kpis"
    files = sorted(folder.glob("*.yaml"))
    return _load(tuple((str(file), file.stat().st_mtime_ns) for file in files))


@lru_cache(maxsize=2)
def _load(
    signature: tuple[tuple[str, int], ...],
) -> tuple[dict[str, Kpi], list[yamlfile.Problem]]:
    folder = include_root() / "kpis"
    found, problems = yamlfile.load_folder(folder, Kpi)
    for name, kpi in list(found.items()):
        if kpi.kpi != name:
            message = f"says `{kpi.kpi}`, the file is named `{name}`: make them equal"
            problems.append(yamlfile.Problem(folder / f"{name}.yaml", 1, "kpi", message))
            del found[name]
    return found, problems


def definition_hashes(kpis: Iterable[Kpi], zone: str, currency: str) -> dict[str, str]:
    """A hash per KPI group of all that decides its numbers: SQL, what is stored, zone, currency."""
    parts: dict[str, list[object]] = {}
    for kpi in sorted(kpis, key=lambda each: each.kpi):
        text = sqlfile.load(f"marts/{kpi.source}")
        stored = [kpi.kpi, kpi.grain, kpi.dimension_sets, kpi.is_additive, text]
        parts.setdefault(kpi.kpi_group, [zone, currency]).append(stored)
    return {
        group: hashlib.sha256(json.dumps(part).encode()).hexdigest()
        for group, part in parts.items()
    }
