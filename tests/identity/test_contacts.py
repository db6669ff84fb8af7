"""What is known of a contact: fields by priority, attributes, zones, history and tombstones."""

from __future__ import annotations

from datetime import date
from typing import Any

import pytest

from marketing_ops.warehouse import Warehouse
from tests.identity.story import Shop, hours, rows

PHONE = "+381641234567"


def contact(db: Warehouse, column: str) -> Any:
    """One column of the only contact."""
    ((value,),) = rows(db, f"select {column} from mkt_core.contacts")
    return value


@pytest.mark.parametrize(
    ("tags", "country", "region", "expected"),
    [
        (["timezone:Europe/Belgrade"], "US", "OH", "Europe/Belgrade"),
        (["timezone:america/chicago"], "US", "OH", "America/Chicago"),
        (["timezone:Mars/Olympus"], "US", "oh", "America/New_York"),
        (["timezone:"], "US", "AZ", "America/Phoenix"),
        ([], "RS", None, "Europe/Belgrade"),
        ([], "US", None, None),
        ([], None, None, None),
    ],
)
def test_a_zone_that_does_not_exist_drops_nobody(
    shop: Shop,
    db: Warehouse,
    tags: list[str],
    country: str | None,
    region: str | None,
    expected: str | None,
) -> None:
    """The contact's own zone if Postgres knows it, else its region's, its country's, else null."""
    shop.customer(1, tags=tags, country_code=country, region=region)
    shop.unify()
    assert contact(db, "time_zone") == expected


def test_every_default_zone_is_one_postgres_knows(db: Warehouse) -> None:
    """A zone of our own table would otherwise stop a tick."""
    assert rows(
        db,
        "select count(*) filter (where z.time_zone is null), count(*) > 90"
        " from mkt_core.region_time_zones r left join mkt_core.time_zones z using (time_zone)",
    ) == [(0, True)]


def test_tags_become_attributes(shop: Shop, db: Warehouse) -> None:
    """`key:value` tags are attributes, numbers where they are numbers; plain tags are a list."""
    shop.customer(
        1,
        tags=[
            "age:45-54",
            "Household_Size: 2",
            "kids:1",
            "zip:01234",
            "link:https://example.com",
            "vip",
            "derived",
            ":nothing",
            "empty:",
            "birthday:1980-05-17",
            "timezone:America/Chicago",
        ],
    )
    shop.unify()
    assert contact(db, "attributes") == {
        "age": "45-54",
        "household_size": 2,
        "kids": 1,
        "zip": "01234",
        "link": "https://example.com",
        "tags": ["derived", "vip"],
    }
    assert contact(db, "birth_date") == date(1980, 5, 17)


@pytest.mark.parametrize("value", ["1980-02-31", "17.5.1980", "2026-13-01", "soon"])
def test_a_birthday_that_is_no_date_stops_nothing(shop: Shop, db: Warehouse, value: str) -> None:
    """It is left out; the contact is there."""
    shop.customer(1, tags=[f"birthday:{value}"])
    shop.unify()
    assert contact(db, "birth_date") is None


@pytest.mark.parametrize("tags", [None, "vip", {"a": 1}, [None, 5, ""]])
def test_tags_of_an_odd_shape_stop_nothing(shop: Shop, db: Warehouse, tags: Any) -> None:
    """Anything but a list of words is ignored word by word."""
    from psycopg.types.json import Jsonb

    shop.customer(1, tags=None if tags is None else Jsonb(tags))
    shop.unify()
    assert contact(db, "attributes") in ({}, {"tags": ["5"]})


def test_addresses_are_lower_case_and_trimmed(shop: Shop, db: Warehouse) -> None:
    """Two writings of one address are one address; an empty one is none."""
    shop.customer(1, email="  C1@Example.COM ", first_name=" ", country_code="us", locale="sr-Latn")
    shop.unify()
    found = rows(db, "select email, first_name, country, language from mkt_core.contacts")
    assert found == [("c1@example.com", None, "US", "sr")]


def test_each_field_comes_from_the_best_record_that_has_it(shop: Shop, db: Warehouse) -> None:
    """The newer record wins field by field; an address is taken whole from one record."""
    shop.customer(
        1, phone=PHONE, updated_at=hours(1), first_name="Old", last_name="Kept",
        country_code="US", region="OH", city="Cincinnati", postal_code="45202",
        tags=["kids:1", "home:Renter"],
    )  # fmt: skip
    shop.customer(
        2, phone=PHONE, updated_at=hours(9), first_name="New", last_name=None,
        country_code="RS", city="Novi Sad", tags=["kids:2"],
    )  # fmt: skip
    shop.unify()
    assert rows(
        db,
        "select first_name, last_name, country, region, city, postal_code, attributes"
        " from mkt_core.contacts",
    ) == [("New", "Kept", "RS", None, "Novi Sad", None, {"kids": 2, "home": "Renter"})]


def test_history_grows_by_what_changed(shop: Shop, db: Warehouse) -> None:
    """The first version is assumed; a name is no attribute; the last (valid_from, batch) holds."""
    shop.customer(1, tags=["kids:1"], updated_at=hours(1))
    shop.unify()
    shop.customer(1, tags=["kids:1"], first_name="Renamed", updated_at=hours(2))
    shop.unify()
    shop.customer(1, tags=["kids:2"], first_name="Renamed", updated_at=hours(3))
    shop.unify()
    shop.order(2, 1)
    shop.unify()
    assert rows(
        db,
        "select valid_from, batch, is_assumed, attributes, lifecycle from mkt_core.contact_history"
        " order by valid_from, batch",
    ) == [
        (hours(1), 1, True, {"kids": 1}, "lead"),
        (hours(3), 3, False, {"kids": 2}, "lead"),
        (hours(3), 4, False, {"kids": 2}, "customer"),
    ]


def test_a_deleted_customer_is_a_tombstone(shop: Shop, db: Warehouse) -> None:
    """The contact stays, marked; its orders and events stay; a return unmarks it."""
    shop.customer(1)
    shop.order(1, 1)
    shop.unify()
    shop.customer(1, is_deleted=True, updated_at=hours(5))
    shop.unify()
    assert contact(db, "is_deleted") is True
    assert rows(db, "select count(*) from mkt_core.events where event_type = 'order_placed'") == [
        (1,)
    ]
    shop.customer(1, updated_at=hours(6))
    shop.unify()
    assert contact(db, "is_deleted") is False
