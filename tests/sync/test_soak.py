"""The short soak: some of the random runs that `make soak` does two hundred of."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from marketing_ops import clock
from tests.soak.soak import Soak, sandbox
from tests.soak.vendor import compare

SEED = 3
RUNS = 12


@pytest.fixture
def soak(warehouse_uri: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Soak]:
    """A soak over all three systems."""
    with sandbox(tmp_path) as server:
        monkeypatch.setenv(clock.CLOCK_FILE_VARIABLE, str(server.clock_file))
        soak = Soak(warehouse_uri, server, tmp_path, SEED)
        yield soak
        soak.close()


@pytest.mark.slow
def test_random_runs_end_equal(soak: Soak) -> None:
    """Changes, faults and kills at all three vendors: at the end each raw table is the vendor's
    truth, every book balances, nothing is left running, and a second sync writes nothing.
    """
    lines = [soak.run(number) for number in range(1, RUNS + 1)]
    soak.checkpoint()
    assert not soak.tally.findings, "\n".join(lines)
    assert soak.tally.ends["killed"] >= 2
    for vendor in soak.vendors:
        assert any(f"{vendor.system} " in line.partition("; ")[2] for line in lines)


def test_a_difference_names_ids_and_fields_and_no_values() -> None:
    """Rows that are missing, left over or other are told apart; equal ones are none."""
    names = ("id", "email", "city")
    here = [("1", "a@example.com", "A"), ("2", "b@example.com", "B"), ("4", None, None)]
    there = [("2", "b@example.com", "C"), ("1", "a@example.com", "A"), ("3", "c@example.com", None)]
    assert compare("people", names, 1, here, list(reversed(here))) is None
    found = compare("people", names, 1, here, there)
    assert found is not None
    assert (found.missing, found.left_over, found.fields) == (2, 2, ["city"])
    assert "@" not in found.line()
