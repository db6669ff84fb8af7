"""Turns the UCI Online Retail file into the CSV files of `python -m sandbox serve --data`.

Usage: python -m sandbox.convert_online_retail online_retail.csv.xz FOLDER

Attribution: Chen, Sain and Guo (2012), Journal of Database Marketing & Customer Strategy
Management 19(3), doi:10.1057/dbm.2012.17.
"""

from __future__ import annotations

import argparse
import csv
import lzma
import sys
from collections.abc import Iterator, Sequence
from itertools import groupby
from pathlib import Path

COUNTRIES = {
    "United Kingdom": ("GB", "Europe/London"),
    "Germany": ("DE", "Europe/Berlin"),
    "France": ("FR", "Europe/Paris"),
    "EIRE": ("IE", "Europe/Dublin"),
    "Spain": ("ES", "Europe/Madrid"),
    "Netherlands": ("NL", "Europe/Amsterdam"),
    "Belgium": ("BE", "Europe/Brussels"),
    "Switzerland": ("CH", "Europe/Zurich"),
    "Portugal": ("PT", "Europe/Lisbon"),
    "Australia": ("AU", "Australia/Sydney"),
    "Norway": ("NO", "Europe/Oslo"),
    "Italy": ("IT", "Europe/Rome"),
    "Sweden": ("SE", "Europe/Stockholm"),
    "Japan": ("JP", "Asia/Tokyo"),
    "USA": ("US", "America/New_York"),
}
Row = dict[str, str]


def main(arguments: Sequence[str] | None = None) -> int:
    """Convert; returns the exit code. Prints what was written and what was left out."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("source", type=Path, help="online_retail.csv or .csv.xz")
    parser.add_argument("folder", type=Path, help="where the CSV files go")
    options = parser.parse_args(arguments)
    if not options.source.exists():
        print(f"{options.source} does not exist", file=sys.stderr)
        return 2
    options.folder.mkdir(parents=True, exist_ok=True)
    counts = convert(options.source, options.folder)
    print(", ".join(f"{count} {name}" for name, count in counts.items()))
    return 0


def convert(source: Path, folder: Path) -> dict[str, int]:
    """Write the files; returns how many of what. The source is read once, row by row.

    Cancellations (`C...`), negative quantities and prices of nothing are adjustments of the shop's
    books and not orders: they are left out and counted.
    """
    customers: dict[str, str] = {}
    products: dict[str, tuple[str, str]] = {}
    counts = {"orders": 0, "lines": 0, "left out": 0}
    with (
        (folder / "orders.csv").open("w", newline="", encoding="utf-8") as orders_file,
        (folder / "lines.csv").open("w", newline="", encoding="utf-8") as lines_file,
    ):
        orders, lines = csv.writer(orders_file), csv.writer(lines_file)
        orders.writerow(["order_id", "customer_id", "email", "placed_at"])
        lines.writerow(["order_id", "product_id", "quantity", "unit_price"])
        for invoice, group in groupby(_rows(source), key=lambda row: row["InvoiceNo"]):
            rows = list(group)
            good = [row for row in rows if _is_sale(row)]
            counts["left out"] += len(rows) - len(good)
            if not good:
                continue
            first = good[0]
            customer = first["CustomerID"]
            email = "" if customer else f"guest.{invoice}@example.com"
            if customer:
                customers.setdefault(customer, first["Country"])
            orders.writerow([invoice, customer, email, first["InvoiceDate"]])
            counts["orders"] += 1
            for row in good:
                products.setdefault(row["StockCode"], (row["Description"], row["UnitPrice"]))
                lines.writerow([invoice, row["StockCode"], row["Quantity"], row["UnitPrice"]])
                counts["lines"] += 1
    _write_rest(folder, customers, products)
    return {"customers": len(customers), "products": len(products), **counts}


def _write_rest(
    folder: Path, customers: dict[str, str], products: dict[str, tuple[str, str]]
) -> None:
    with (folder / "customers.csv").open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(["customer_id", "country", "time_zone"])
        for customer, name in customers.items():
            writer.writerow([customer, *COUNTRIES.get(name, ("GB", "Europe/London"))])
    with (folder / "products.csv").open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(["product_id", "title", "price"])
        writer.writerows(
            (key, title.title() or key, price) for key, (title, price) in products.items()
        )
    with (folder / "shop.csv").open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows(
            [("name", "value"), ("name", "Online Retail"), ("currency", "GBP")]
        )


def _is_sale(row: Row) -> bool:
    is_cancelled = row["InvoiceNo"].startswith("C")
    return not is_cancelled and int(row["Quantity"]) > 0 and float(row["UnitPrice"]) > 0


def _rows(source: Path) -> Iterator[Row]:
    if source.suffix == ".xz":
        with lzma.open(source, "rt", encoding="utf-8", newline="") as packed:
            yield from csv.DictReader(packed)
    else:
        with source.open(encoding="utf-8", newline="") as file:
            yield from csv.DictReader(file)


if __name__ == "__main__":
    sys.exit(main())
