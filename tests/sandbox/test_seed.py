"""The seeded shop: where it lies in time, that it is the same everywhere, and how it goes on."""

from __future__ import annotations

import hashlib
import shutil
import sqlite3
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from sandbox import convert_online_retail, seed, store
from sandbox.inputs import CsvFiles, Journey
from sandbox.zones import DAY, LocalTime
from tests.sandbox_fixtures import CACHE, SandboxServer

ZONE = "America/New_York"


def digest(path: Path) -> str:
    """A fingerprint of every record of a shop."""
    link = store.connect(path)
    found = hashlib.sha256()
    for table in (
        "people",
        "customer_versions",
        "orders",
        "order_versions",
        "product_versions",
        "checkouts",
        "checkout_versions",
        "deletions",
    ):
        for row in link.execute(f"select * from {table} order by 1, 2"):
            found.update(repr(row).encode())
    link.close()
    return found.hexdigest()


def build(path: Path, now: datetime, source: Any = None) -> Path:
    """A seeded shop as of an instant."""
    source = source or Journey(households=10, days=60)
    seed.build(path, source, now=int(now.timestamp()), zone=ZONE, report=lambda line: None)
    return path


@pytest.fixture(scope="module")
def shop(sandbox_server: SandboxServer, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the small shop."""
    assert sandbox_server.base_url
    folder = tmp_path_factory.mktemp("shop")
    for path in CACHE.glob("shop.sqlite*"):
        shutil.copy(path, folder)
    return folder / "shop.sqlite"


def test_last_day_is_yesterday_or_this_week(shop: Path) -> None:
    """The history is shifted by whole weeks, the fewest that leave no gap before today."""
    known = store.meta(store.connect(shop))
    last_day = known["plan"]["last_day"]
    yesterday = LocalTime(ZONE).day(int(datetime.now(UTC).timestamp())) - 1
    assert yesterday <= last_day < yesterday + 7
    assert last_day - known["last_input_day"] == known["weeks"] * 7


def test_time_of_day_survives_the_shift() -> None:
    """A shift keeps the wall clock across a change to summer time, the weekday with whole weeks."""
    local, zone = LocalTime(ZONE), ZoneInfo(ZONE)
    before = datetime(2026, 3, 1, 18, 30, tzinfo=zone)
    after = datetime.fromtimestamp(local.shift(int(before.timestamp()), 14), zone)
    assert (after.hour, after.minute, after.weekday()) == (18, 30, before.weekday())
    assert after.date() == before.date() + timedelta(days=14)


def test_seed_is_the_same_everywhere(tmp_path: Path) -> None:
    """Two seeds from the same input and week are equal; an existing one is kept unless told."""
    now = datetime(2026, 5, 6, 12, tzinfo=UTC)
    one, two = build(tmp_path / "a" / "shop.sqlite", now), build(tmp_path / "b" / "s.sqlite", now)
    assert digest(one) == digest(two)
    source, later = Journey(households=10, days=60), int(now.timestamp()) + 8 * DAY
    assert seed.is_current(one, source, now=later, zone=ZONE)
    assert not seed.is_current(one, source, now=later, zone=ZONE, is_fresh=True)
    other = Journey(households=11, days=60)
    assert not seed.is_current(one, other, now=later, zone=ZONE)
    assert not seed.is_current(one, source, now=later, zone="Europe/Belgrade")


def test_versions_do_not_overlap(shop: Path) -> None:
    """At any instant a record has one version at most; customers' totals follow their orders."""
    link = store.connect(shop)
    for table in store.VERSION_TABLES.values():
        overlaps = link.execute(
            f"select count(*) from {table} a join {table} b on a.id = b.id and a.rowid < b.rowid"
            " and a.at < b.until and b.at < a.until and a.at < a.until and b.at < b.until"
        ).fetchone()[0]
        assert overlaps == 0, table
    wrong = link.execute(
        "select count(*) from customer_versions v where v.until = ? and v.orders <>"
        " (select count(*) from orders o where o.person = v.id and o.is_registered = 1)",
        (store.FOREVER,),
    ).fetchone()[0]
    assert wrong == 0


def test_what_is_derived_says_so(shop: Path) -> None:
    """Every customer carries the tag, for names are derived; addresses and phones are nobody's."""
    link = store.connect(shop)
    people = link.execute(
        "select document ->> 'tags', document ->> 'email', document ->> 'phone' from people"
    ).fetchall()
    assert people
    assert all('"derived"' in tags and email.endswith("@example.com") for tags, email, _ in people)
    phones = [phone for *_, phone in people if phone]
    assert len(set(phones)) == len(phones)
    assert all(phone[5:10] == "55501" for phone in phones)


def test_life_goes_on_after_the_data(shop: Path) -> None:
    """Beyond the last day the weeks before are lived again: new ids, same weekday and hour."""
    link = store.connect(shop)
    known = store.meta(link)
    plan, local = known["plan"], LocalTime(ZONE)
    end = local.start(plan["last_day"] + 15)
    seed.extend(link, end)
    since = local.start(plan["last_day"] + 1)
    repeated = link.execute(
        "select id, at, person, net from orders where label = 'derived' and at >= ? and at < ?"
        " and id > 100000000000 and id % 100000000000 < 50000000000 order by at",
        (since, end),
    ).fetchall()
    assert len(repeated) > 30
    for key, at, person, net in repeated:
        first = link.execute(
            "select at, person, net from orders where id = ?", (key % 100_000_000_000,)
        ).fetchone()
        assert (local.shift(first[0], plan["period"]), *first[1:]) == (at, person, net)
    assert seed.extend(link, end) == 0
    test_versions_do_not_overlap(shop)


def test_life_goes_on_over_http(sandbox_at: SandboxServer) -> None:
    """A clock far beyond the data finds new orders, sign-ups and carts, up to it and not later."""
    before = sandbox_at.state()["shopify"]["streams"]
    sandbox_at.set_clock(datetime.now(UTC) + timedelta(days=40))
    after = sandbox_at.state()
    for stream in ("orders", "customers", "checkouts"):
        found = after["shopify"]["streams"][stream]
        assert found["count"] > before[stream]["count"]
        assert found["newest"] <= after["now"]


def write_csv(folder: Path, **files: str) -> Path:
    """CSV files for `--data`."""
    folder.mkdir(exist_ok=True)
    for name, text in files.items():
        (folder / f"{name}.csv").write_text(text, encoding="utf-8")
    return folder


CUSTOMERS = (
    "customer_id,first_name,email,marketing_state,tags\nc1,Ana,ana@example.com,SUBSCRIBED,vip\n"
)
PRODUCTS = "product_id,title,price,stock\np1,Tea,4.50,7\n"
ORDERS = (
    "order_id,customer_id,email,placed_at\n"
    "o1,c1,,2025-01-06T10:00:00\no2,,G@example.com,2025-01-07T11:00:00\n"
)
LINES = "order_id,product_id,quantity,unit_price,discount\no1,p1,2,4.50,1.00\no2,p1,1,4.50,\n"


def test_csv_files_become_a_shop(tmp_path: Path) -> None:
    """The documented columns give customers, guests, orders, lines and products with stock."""
    folder = write_csv(
        tmp_path / "data", customers=CUSTOMERS, products=PRODUCTS, orders=ORDERS, lines=LINES
    )
    path = build(tmp_path / "shop.sqlite", datetime(2026, 5, 6, tzinfo=UTC), CsvFiles(folder))
    link = store.connect(path)
    orders = link.execute(
        "select name, net, is_registered from orders where label = '' order by at"
    ).fetchall()
    assert orders == [("#o1", 800, 1), ("#o2", 450, 0)]
    email = link.execute(
        "select document ->> 'email' from people p join orders o on o.person = p.id"
        " where o.name = '#o2'"
    ).fetchone()[0]
    assert email == "g@example.com"
    consent = link.execute("select distinct consent from customer_versions where orders = 1")
    assert ("SUBSCRIBED",) in consent.fetchall()
    assert link.execute("select max(price), max(stock) from product_versions").fetchone()[0] == 450


@pytest.mark.parametrize(
    ("files", "says"),
    [
        ({"customers": CUSTOMERS}, "products.csv is missing"),
        ({"customers": "name\nAna\n", "products": PRODUCTS}, "no column customer_id"),
    ],
)
def test_bad_csv_is_told(tmp_path: Path, files: dict[str, str], says: str) -> None:
    """A missing file or column is named."""
    with pytest.raises(ValueError, match=says):
        CsvFiles(write_csv(tmp_path / "data", **files))


def test_lines_out_of_order_are_told(tmp_path: Path) -> None:
    """Lines whose order does not come are an error, not a silent loss."""
    lines = LINES + "o9,p1,1,4.50,\n"
    folder = write_csv(
        tmp_path / "data", customers=CUSTOMERS, products=PRODUCTS, orders=ORDERS, lines=lines
    )
    with pytest.raises(ValueError, match="order o9"):
        list(CsvFiles(folder).baskets())


def test_online_retail_is_converted(tmp_path: Path) -> None:
    """Invoices become orders, lines without a customer guests; cancellations are left out."""
    source = tmp_path / "online.csv"
    source.write_text(
        "InvoiceNo,StockCode,Description,Quantity,InvoiceDate,UnitPrice,CustomerID,Country\n"
        "1,A,TEA,2,2010-12-01 08:26:00,2.5,17850,United Kingdom\n"
        "1,B,CUP,1,2010-12-01 08:26:00,3.0,17850,United Kingdom\n"
        "2,A,TEA,1,2010-12-01 09:00:00,2.5,,France\n"
        "C3,A,TEA,-1,2010-12-02 09:00:00,2.5,17850,United Kingdom\n",
        encoding="utf-8",
    )
    assert convert_online_retail.main([str(source), str(tmp_path / "out")]) == 0
    files = CsvFiles(tmp_path / "out")
    assert files.shop["currency"] == "GBP"
    baskets = list(files.baskets())
    assert [(one.net, one.is_guest) for one in baskets] == [(800, False), (250, True)]


def test_an_unfinished_seed_is_not_taken(tmp_path: Path) -> None:
    """A seed that was interrupted is not taken for a finished one, and can be built over."""
    path = tmp_path / "shop.sqlite"
    source = Journey(households=10, days=60)
    sqlite3.connect(path).execute("create table meta (name text primary key, value text)")
    assert not seed.is_current(path, source, now=1_780_000_000, zone=ZONE)
    build(path, datetime(2026, 5, 6, tzinfo=UTC), source)
    assert seed.is_current(path, source, now=1_780_000_000, zone=ZONE)
