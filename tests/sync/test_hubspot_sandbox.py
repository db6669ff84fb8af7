"""HubSpot's streams against the sandbox, through the life of their records, to its truth."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest

from marketing_ops import clock
from marketing_ops.errors import FatalError, QuotaExhaustedError
from marketing_ops.sources.hubspot import search
from marketing_ops.sources.hubspot.source import HUBSPOT
from marketing_ops.warehouse import Warehouse
from tests.sandbox_fixtures import SandboxServer
from tests.sync.hubspot_account import ACCOUNT, FAST, STREAMS, Account, prepare


@pytest.fixture
def crm(
    db: Warehouse, sandbox_at: SandboxServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Account]:
    """The portal at noon, nothing of it read yet."""
    prepare(tmp_path, monkeypatch, sandbox_at)
    yield Account(db, sandbox_at)
    sandbox_at.call("DELETE", "/_sandbox/hubspot/settings")


@pytest.mark.slow
def test_every_stream_equals_the_truth_through_its_life(crm: Account) -> None:
    """First load three days ago, then runs day by day: at each end the raw tables are the portal,
    row for row, and a second full read writes nothing.
    """
    today = clock.now()
    crm.server.set_clock(today - timedelta(days=3))
    crm.sync_all()
    crm.check()
    for days in (2, 1, 0):
        crm.server.set_clock(today - timedelta(days=days))
        crm.sync_all()
        crm.check()
    for stream in STREAMS:
        assert crm.sync(stream, kind="full_refresh").written == 0, stream
