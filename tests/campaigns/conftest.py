"""Fixtures of the campaign tests; see world.py."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from marketing_ops import clock
from marketing_ops.campaigns import book
from marketing_ops.paths import INCLUDE_VARIABLE, include_root
from marketing_ops.settings import settings
from marketing_ops.warehouse import Warehouse
from tests.campaigns.world import World, make_include


@pytest.fixture
def include(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """An include folder of the test's own, with the product's SQL."""
    real = include_root()
    folder = tmp_path / "include"
    make_include(folder, real)
    monkeypatch.setenv(INCLUDE_VARIABLE, str(folder))
    settings.cache_clear()
    book._relied_on.cache_clear()
    yield folder
    settings.cache_clear()
    book._relied_on.cache_clear()


@pytest.fixture
def world(db: Warehouse, include: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> World:
    """A world at T0 without policies; `world.settings` writes others."""
    path = tmp_path / "clock"
    monkeypatch.setenv(clock.CLOCK_FILE_VARIABLE, str(path))
    made = World(db, include, path)
    made.settings()
    return made
