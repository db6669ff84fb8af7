"""What the workers of one account share through the warehouse."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from datetime import UTC, datetime

import pytest

from marketing_ops.connections import Connection
from marketing_ops.sources.shared import Token
from marketing_ops.sync.account import AccountShare, another
from marketing_ops.warehouse import Warehouse

CONNECTION = Connection("crm", login="client", password="secret")


@pytest.fixture
def shares(db: Warehouse) -> Iterator[list[AccountShare]]:
    """Three workers of the account `crm`, each as a process of its own would be."""
    made = [AccountShare(another(db), "crm", CONNECTION) for _ in range(3)]
    yield made
    for share in made:
        share.close()


def test_workers_share_one_pace(shares: list[AccountShare]) -> None:
    """Two calls at once, then one a half second, whoever calls; another bucket is another pace."""
    waits = [shares[number % 3].reserve("search", 2.0, 2) for number in range(6)]
    assert waits[:2] == [0.0, 0.0]
    for place, wait in enumerate(waits[2:], start=1):
        assert place * 0.5 - 0.3 < wait <= place * 0.5
    assert shares[0].reserve("", 2.0, 2) == 0.0


def test_a_rested_bucket_is_full_again_and_no_fuller(
    shares: list[AccountShare], db: Warehouse
) -> None:
    """After a long rest the burst is what it was at the start."""
    shares[0].reserve("", 1.0, 2)
    db.execute("update mkt_ops.account_pace set full_at = full_at - interval '1 day'")
    waits = [shares[0].reserve("", 1.0, 2) for _ in range(3)]
    assert waits[:2] == [0.0, 0.0]
    assert waits[2] > 0.7


def test_a_token_is_stored_sealed_and_for_all(shares: list[AccountShare], db: Warehouse) -> None:
    """What one worker saves another loads; the warehouse shows no secret; another secret in the
    connection makes the stored token as good as none.
    """
    ends_at = datetime(2026, 3, 2, 13, tzinfo=UTC)
    with shares[0].token() as store:
        assert store.load() is None
        store.save(Token("access-1", ends_at, "refresh-1"))
    with shares[1].token() as store:
        found = store.load()
    assert found is not None
    assert (found.access, found.refresh, found.ends_at) == ("access-1", "refresh-1", ends_at)
    assert "access-1" not in repr(found)
    row = db.execute("select sealed from mkt_ops.account_tokens").fetchone()
    assert row is not None
    assert b"access-1" not in bytes(row[0])
    changed = AccountShare(another(db), "crm", Connection("crm", login="client", password="new"))
    with changed.token() as store:
        assert store.load() is None
    changed.close()


def test_one_refresher_at_a_time(shares: list[AccountShare]) -> None:
    """Whoever comes second waits, and finds the token the first one saved."""
    inside, order = threading.Event(), []

    def refresh(share: AccountShare, name: str) -> None:
        with share.token() as store:
            found = store.load()
            order.append((name, found.access if found else None))
            inside.set()
            time.sleep(0.2)
            store.save(Token(name, datetime(2026, 3, 2, 13, tzinfo=UTC)))

    first = threading.Thread(target=refresh, args=(shares[0], "first"))
    first.start()
    assert inside.wait(5)
    second = threading.Thread(target=refresh, args=(shares[1], "second"))
    second.start()
    first.join()
    second.join()
    assert order == [("first", None), ("second", "first")]


def test_a_saved_token_outlives_a_refresher_that_fails(shares: list[AccountShare]) -> None:
    """A rotated refresh token is stored before it is used: what fails later does not lose it."""
    with pytest.raises(RuntimeError), shares[0].token() as store:
        store.save(Token("a", datetime(2026, 3, 2, 13, tzinfo=UTC), "rotated"))
        raise RuntimeError
    with shares[1].token() as store:
        found = store.load()
    assert found is not None
    assert found.refresh == "rotated"


def test_slots_are_held_by_one_worker_each(shares: list[AccountShare]) -> None:
    """Four slots for all workers; who ends or hangs up gives them back."""
    assert shares[0].take_slots(2, 4) == [0, 1]
    assert shares[1].take_slots(4, 4) == [2, 3]
    assert shares[2].take_slots(1, 4) == []
    shares[0].free_slots([1])
    assert shares[2].take_slots(2, 4) == [1]
    shares[1].close()
    assert shares[2].take_slots(3, 4) == [2, 3]


def test_threads_of_one_worker_hold_different_slots(shares: list[AccountShare]) -> None:
    """To Postgres they are one session, which could lock the same slot twice."""
    assert shares[0].take_slots(1, 4) == [0]
    assert shares[0].take_slots(1, 4) == [1]


def test_a_full_account_is_waited_for(shares: list[AccountShare]) -> None:
    """A run says that it waits, and begins when a slot is free."""
    taken = shares[0].take_slots(1, 1)
    said: list[str] = []
    began = threading.Event()

    def run() -> None:
        with shares[1].slot(1, said.append):
            began.set()

    worker = threading.Thread(target=run)
    worker.start()
    assert not began.wait(0.3)
    shares[0].free_slots(taken)
    assert began.wait(5)
    worker.join()
    assert said == ["crm: waits for one of the account's 1 slots (pool_slots)"]
