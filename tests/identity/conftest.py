"""Fixtures of the identity tests."""

from __future__ import annotations

from typing import Any

import pytest

from marketing_ops.warehouse import Warehouse
from tests.identity.story import Ledger, Shop


@pytest.fixture
def shop(db: Warehouse, frozen_clock: Any) -> Shop:
    """A shop on this test's warehouse, at a frozen clock."""
    return Shop(db)


@pytest.fixture
def ledger(db: Warehouse, frozen_clock: Any) -> Ledger:
    """The send ledger of this test's warehouse."""
    return Ledger(db)
