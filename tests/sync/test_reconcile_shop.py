"""The comparison of a shop's streams with the sandbox."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from marketing_ops import clock
from marketing_ops.connections import Connection
from marketing_ops.sources.shopify import compare
from marketing_ops.sync.reconcile import reconcile_stream
from marketing_ops.sync.runner import sync_stream
from marketing_ops.warehouse import Warehouse
from marketing_ops.window import Window
from tests.sandbox_fixtures import SandboxServer


@pytest.mark.slow
@pytest.mark.parametrize("few_pages", [20, 0], ids=["pages", "file"])
def test_a_shop_is_compared_and_repaired(
    db: Warehouse, sandbox_at: SandboxServer, monkeypatch: pytest.MonkeyPatch, few_pages: int
) -> None:
    """Lost orders with their lines come back, a deleted product goes, by pages and by file; an
    order the shop does not list is left alone, since apps may be shown 60 days only.
    """
    monkeypatch.setattr(compare, "_FEW_PAGES", few_pages)
    connection = Connection("shop_journey", host=sandbox_at.shop_url, password=sandbox_at.token)
    product = sandbox_at.insert("product", title="A tea")
    sandbox_at.set_clock(clock.now() + timedelta(seconds=5))

    def resolve(_conn_id: str) -> Connection:
        return connection

    window = Window(clock.now(), clock.now())
    for stream in ("orders", "products"):
        sync_stream(db, "shop_journey", stream, window, resolve=resolve)
    lost = [
        row[0]
        for row in db.execute(
            "delete from mkt_raw.shopify__orders where id in (select id from"
            " mkt_raw.shopify__orders order by updated_at limit 3) returning id"
        )
    ]
    db.execute("delete from mkt_raw.shopify__order_lines where order_id = any(%s)", (lost,))
    db.execute(
        "insert into mkt_raw.shopify__orders (account, id, row_hash, loaded_at, sync_run_id)"
        " values ('shop_journey', '1', '', now() - interval '400 days', 1)"
    )
    sandbox_at.delete("product", product)
    sandbox_at.set_clock(clock.now() + timedelta(hours=1))
    orders: Any = reconcile_stream(db, "shop_journey", "orders", resolve=resolve)
    assert (orders.missing, orders.gone, orders.unrepaired) == (3, 0, 0)
    assert orders.counts["order_lines"]["inserted"] > 0
    products = reconcile_stream(db, "shop_journey", "products", resolve=resolve)
    # The shop is shared with other tests, which may have deleted products of that hour too.
    assert (products.missing, products.gone >= 1, products.unrepaired) == (0, True, 0)
    alive = {
        row[0]
        for row in db.execute("select id from mkt_raw.shopify__products where not is_deleted")
    }
    assert alive == {row["id"] for row in sandbox_at.truth("products")}
    assert product not in alive
    again = reconcile_stream(db, "shop_journey", "orders", resolve=resolve)
    assert (again.missing, again.outdated) == (0, 0)
