"""kill -9 of unify after any of its statements, and a rerun: the warehouse it would have been."""

from __future__ import annotations

import os
import signal
from typing import Any

import psycopg
import pytest

from marketing_ops.identity.runner import unify
from marketing_ops.identity.statements import Batch
from marketing_ops.warehouse import Warehouse
from tests.identity.story import Ledger, Shop, contact_of, forget, hours, natural, rows

PHONE = "+381641234567"


def tell(shop: Shop) -> None:
    """A baseline, then a live hour with a merge, late children, an open and an accepted send."""
    shop.customer(9)
    shop.unify()
    reader = contact_of(shop.db, 9)
    shop.customer(1, phone=PHONE)
    shop.order(1, 1)
    shop.line(1, 1)
    shop.sync(is_baseline=True)
    shop.customer(2, phone=PHONE)
    shop.order(2, 2)
    shop.product(1)
    shop.line(2, 3)
    shop.refund(2, 1)
    shop.cart(3, 2)
    shop.sync()
    ledger = Ledger(shop.db)
    ledger.act("unsubscribed", ledger.send(ledger.enrol(reader), reader), at=hours(2))


def killed_after(uri: str, statement: int) -> bool:
    """Run unify in a child that kills itself after its n-th statement; False = it finished."""
    child = os.fork()
    if child == 0:
        try:
            run, count = Batch.run, 0

            def counting(batch: Batch, name: str, **more: Any) -> dict[str, Any]:
                nonlocal count
                found = run(batch, name, **more)
                count += 1
                if count == statement:
                    os.kill(os.getpid(), signal.SIGKILL)
                return found

            Batch.run = counting  # type: ignore[method-assign]
            with psycopg.connect(uri, autocommit=True) as connection:
                unify(connection, report=lambda line: None)
        finally:
            os._exit(0)
    _, status = os.waitpid(child, 0)
    return os.WIFSIGNALED(status)


@pytest.mark.slow
def test_killed_after_any_statement_and_rerun(
    shop: Shop, db: Warehouse, warehouse_uri: str
) -> None:
    """Each kill leaves whole batches only; the rerun ends with the uninterrupted warehouse."""
    tell(shop)
    unify(db, report=lambda line: None)
    expected = natural(db)
    assert len(expected["events"]) > 5
    statement = 0
    while True:
        statement += 1
        forget(db)
        tell(shop)
        if not killed_after(warehouse_uri, statement):
            break
        batches = rows(db, "select batch from mkt_ops.batches order by batch")
        marked = rows(db, "select distinct unified_batch from mkt_ops.sync_runs order by 1")
        assert {row for row in marked if row[0]} <= set(batches)
        unify(db, report=lambda line: None)
        assert natural(db) == expected, statement
    assert natural(db) == expected
    assert statement > 15
