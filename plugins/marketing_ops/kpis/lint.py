"""What is wrong in include/kpis, found offline."""

from __future__ import annotations

from pathlib import Path

from marketing_ops import yamlfile
from marketing_ops.kpis import definition
from marketing_ops.paths import include_root
from marketing_ops.yamlfile import Problem


def problems() -> list[Problem]:
    """Every problem of the KPI files: keys, names, and SQL files that do not compute them."""
    kpis, found = definition.load_all()
    folder = include_root() / "kpis"
    sources = {path.stem for path in (include_root() / "sql" / "marts").glob("kpi_*.sql")}
    for name, kpi in kpis.items():
        path = folder / f"{name}.yaml"
        if kpi.source not in sources:
            hint = yamlfile.did_you_mean(kpi.source, sources)
            message = f"there is no include/sql/marts/{kpi.source}.sql.{hint}"
            found.append(_at(path, "source", message))
        elif f"'{name}'" not in _sql(kpi.source):
            message = f"include/sql/marts/{kpi.source}.sql does not return '{name}'"
            found.append(_at(path, "source", message))
        found.extend(_doubled(path, kpi))
    return found


def _doubled(path: Path, kpi: definition.Kpi) -> list[Problem]:
    return [
        _at(path, key, "names one value twice")
        for key, values in (("grain", kpi.grain), ("dimension_sets", kpi.dimension_sets))
        if len(set(values)) < len(values)
    ]


def _at(path: Path, key: str, message: str) -> Problem:
    return Problem(path, yamlfile.line_of(yamlfile.read(path), (key,)), key, message)


def _sql(source: str) -> str:
    return (include_root() / "sql" / "marts" / f"{source}.sql").read_text(encoding="utf-8")
