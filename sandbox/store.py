"""The shop's records in SQLite: each record has versions, each version the time it held.

A version is visible at an instant when `at <= instant < until`, so that the clock may stand
anywhere, move on or be set back, and the answers are those of that moment.
"""

from __future__ import annotations

import json
import sqlite3
import struct
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

FOREVER = 1 << 62
LINE = struct.Struct("<qiii")
"""One order line: product id, quantity, cents before discounts, cents paid."""

SCHEMA = """
create table meta (name text primary key, value text not null);
create table people (id integer primary key, document text not null);
create table customer_versions (
    id integer, at integer, until integer, orders integer, spent integer,
    consent text, consent_at integer, patch text
);
create table orders (
    id integer primary key, at integer, person integer, is_registered integer, number integer,
    name text, gross integer, net integer, codes text, visit text, label text, lines blob
);
create table order_versions (
    id integer, at integer, until integer, refunded integer, cancelled_at integer,
    refunds text, patch text
);
create table products (id integer primary key, at integer, document text not null);
create table product_versions (
    id integer, at integer, until integer, price integer, stock integer, patch text
);
create table checkouts (
    id integer primary key, at integer, person integer, number integer, lines blob, patch text
);
create table checkout_versions (
    id integer, at integer, until integer, completed_at integer, lines integer, patch text
);
create table deletions (id integer primary key, at integer, subject_type text, subject integer);
create table discounts (id integer primary key, at integer, code text unique, document text);
create table subscriptions (id integer primary key, at integer, topic text, uri text);
"""
INDEXES = """
create index customer_versions_at on customer_versions (at, id, until);
create index customer_versions_id on customer_versions (id, at, until);
create index orders_at on orders (at, id);
create index orders_person on orders (person, at);
create index order_versions_at on order_versions (at, id, until);
create index order_versions_id on order_versions (id, at, until);
create index product_versions_at on product_versions (at, id, until);
create index product_versions_id on product_versions (id, at, until);
create index checkouts_at on checkouts (at, id);
create index checkout_versions_at on checkout_versions (at, id, until);
create index checkout_versions_id on checkout_versions (id, at, until);
create index deletions_at on deletions (at, id);
"""
VERSION_TABLES = {
    "customer": "customer_versions",
    "order": "order_versions",
    "product": "product_versions",
    "checkout": "checkout_versions",
}


def connect(path: Path, *, create: bool = False) -> sqlite3.Connection:
    """An autocommit connection to the shop's records.

    A connection belongs to one thread at a time; the sandbox opens one for each that reads.
    """
    link = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
    link.execute("pragma journal_mode = wal")
    link.execute("pragma synchronous = off")
    link.execute("pragma mmap_size = 1000000000")
    link.execute("pragma busy_timeout = 30000")
    if create:
        link.executescript(SCHEMA)
    return link


def meta(link: sqlite3.Connection) -> dict[str, Any]:
    """What the seed wrote about itself; empty while there is none or it was not finished."""
    try:
        rows = link.execute("select name, value from meta").fetchall()
    except sqlite3.OperationalError:
        return {}
    return {name: json.loads(value) for name, value in rows}


def put_meta(link: sqlite3.Connection, values: dict[str, Any]) -> None:
    """Store facts about the seed, replacing those of the same name."""
    rows = [(name, json.dumps(value)) for name, value in values.items()]
    link.executemany("insert or replace into meta values (?, ?)", rows)


def insert(link: sqlite3.Connection, table: str, rows: Iterable[tuple[Any, ...]]) -> None:
    """Append rows to one of the tables above."""
    rows = iter(rows)
    first = next(rows, None)
    if first is None:
        return
    marks = ", ".join("?" * len(first))
    statement = f"insert into {table} values ({marks})"  # noqa: S608 - our own table names
    link.execute(statement, first)
    link.executemany(statement, rows)


def unpack(lines: bytes) -> Iterator[tuple[int, int, int, int]]:
    """The order lines in a blob: product id, quantity, cents before discounts, cents paid."""
    return LINE.iter_unpack(lines)
