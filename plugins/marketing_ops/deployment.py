"""What a deployment consists of: every user file checked, pools and sending modes taken over."""

from __future__ import annotations

from marketing_ops import settings as configuration
from marketing_ops.connections import Resolver
from marketing_ops.errors import FatalError
from marketing_ops.paths import include_root
from marketing_ops.warehouse import Warehouse
from marketing_ops.yamlfile import FileProblemsError, Problem


def problems() -> list[Problem]:
    """Everything wrong in the users' files, found offline, in the order of the rooms."""
    from marketing_ops.campaigns import lint as campaigns
    from marketing_ops.kpis import lint as kpis
    from marketing_ops.segments import lint as segments

    found: list[Problem] = []
    try:
        known = configuration.settings()
    except FileProblemsError as error:
        return error.problems  # nothing else can be judged without the brands
    sources, source_problems = configuration.sources()
    found.extend(source_problems)
    folder = include_root() / "sources"
    for name, source in sources.items():
        if source.brand not in known.brands:
            message = f"`{source.brand}` is no brand of settings.yaml"
            found.append(Problem(folder / f"{name}.yaml", 1, "brand", message))
    return [*found, *segments.problems(), *campaigns.problems(), *kpis.problems()]


def file_count() -> int:
    """How many YAML files the users have."""
    return sum(1 for _ in include_root().rglob("*.yaml"))


def pools() -> dict[str, dict[str, object]]:
    """The Airflow pools the accounts need, in the form that `airflow pools import` reads."""
    return {
        source.pool: {
            "slots": source.pool_slots,
            "description": f"calls of {source.source} ({source.system}) at the same time",
            "include_deferred": False,
        }
        for source in configuration.sources()[0].values()
    }


def apply(warehouse: Warehouse, resolve: Resolver, actor: str) -> list[str]:
    """Take the sending modes over and check the connections; returns a line for each account.

    Raises:
        FatalError: connections are missing; every one is named.
    """
    from marketing_ops.delivery import modes

    modes.apply_sending_modes(warehouse, actor)
    lines, missing = [], []
    for name, source in configuration.sources()[0].items():
        try:
            resolve(source.connection)
            lines.append(f"{name}: connection {source.connection} found, sending {source.sending}")
        except FatalError as error:
            missing.append(str(error))
    if missing:
        raise FatalError("\n".join(missing))
    return lines
