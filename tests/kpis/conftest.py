from __future__ import annotations

from datetime import UTC, datetime

import pytest

from marketing_ops.warehouse import Warehouse
from tests.conftest import FrozenClock
from tests.kpis.facts import Facts


@pytest.fixture
def facts(db: Warehouse, frozen_clock: FrozenClock) -> Facts:
    """Facts to write; the clock stands at noon of 20 March 2026 (a Friday)."""
    frozen_clock.move(datetime(2026, 3, 20, 16, tzinfo=UTC))
    return Facts(db)
