"""Whose brand an account is, read from include/sources once until a file changes."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

from marketing_ops.paths import include_root
from marketing_ops.settings import sources


@dataclass(frozen=True)
class Account:
    """What unify needs to know of a source."""

    system: str
    brand: str


def accounts() -> dict[str, Account]:
    """Every usable account by name. A wrong file stops itself only: its account is missing."""
    folder = include_root() / "sources"
    stats = ((path, path.stat()) for path in sorted(folder.glob("*.yaml")))
    return _accounts(tuple((str(path), stat.st_mtime_ns, stat.st_size) for path, stat in stats))


@lru_cache(maxsize=1)
def _accounts(files: tuple[tuple[str, int, int], ...]) -> dict[str, Account]:
    # Reading YAML takes longer than unifying an hour: `files` only says whether to read again.
    found, _ = sources()
    return {name: Account(source.system, source.brand) for name, source in found.items()}
