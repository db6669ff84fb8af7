"""Every rule of the grammar: golden members, and the instants at the edges."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from typing import Any

import pytest

from tests.segments.conftest import NOW, World, days

SECOND = timedelta(seconds=1)


@pytest.mark.parametrize(
    ("rule", "expected"),
    [
        ({"eq": "RS"}, [1]),
        ({"neq": "RS"}, [2, 3]),
        ({"in": ["RS", "DE"]}, [1, 2]),
        ({"not_in": ["RS", "DE"]}, [3]),
        ({"contains": "r"}, [1]),
        ({"starts_with": "d"}, [2]),
        ({"exists": True}, [1, 2]),
        ({"exists": False}, [3]),
        ({"eq": "rs"}, []),
        ({"exists": True, "neq": "RS"}, [2]),
    ],
)
def test_text_column(world: World, rule: dict[str, Any], expected: list[int]) -> None:
    """A missing value meets neq, not_in and `exists: false` and nothing else; eq minds the case,
    contains and starts_with do not; several comparisons must all hold."""
    with world.batch():
        world.contact(1, country="RS")
        world.contact(2, country="DE")
        world.contact(3)
    assert world.members({"attribute": "country", **rule}) == expected


@pytest.mark.parametrize(
    ("rule", "expected"),
    [
        ({"eq": 30}, [1, 2]),
        ({"eq": "30"}, [1, 2]),
        ({"in": [30, "x"]}, [1, 2, 3]),
        ({"gt": 30}, [4]),
        ({"gte": 30}, [1, 2, 4]),
        ({"lt": 30.5}, [1, 2]),
        ({"neq": 30}, [3, 4, 5]),
        ({"contains": "x"}, [3]),
    ],
)
def test_attribute_number_or_text(world: World, rule: dict[str, Any], expected: list[int]) -> None:
    """Numbers compare as numbers whether the source wrote 30 or "30"; text is no number."""
    with world.batch():
        for number, value in enumerate([30, "30", "x", 31.5], start=1):
            world.contact(number, attributes={"age": value})
        world.contact(5)
    assert world.members({"attribute": "attributes.age", **rule}) == expected


def test_attribute_true_false_and_lists(world: World) -> None:
    """`eq: true` meets a true; contains finds an item of a list exactly, a part of a text."""
    with world.batch():
        world.contact(1, attributes={"vip": True, "tags": ["gold", "shoes"]})
        world.contact(2, attributes={"vip": False, "tags": "golden"})
    assert world.members({"attribute": "attributes.vip", "eq": True}) == [1]
    assert world.members({"attribute": "attributes.vip", "neq": True}) == [2]
    assert world.members({"attribute": "attributes.tags", "contains": "gold"}) == [1, 2]
    assert world.members({"attribute": "attributes.tags", "contains": "gol"}) == [2]


@pytest.mark.parametrize(
    ("rule", "expected"),
    [
        ({"gt": "1980-05-17"}, [2]),
        ({"gte": "1980-05-17"}, [1, 2]),
        ({"lt": date(1980, 5, 18)}, [1]),
        ({"eq": "1980-05-17"}, [1]),
        ({"before": "1990-01-01"}, [1]),
        ({"before": "3650d"}, [1, 2]),
        ({"within": "20000d"}, [1, 2]),
        ({"within": "3650d"}, []),
    ],
)
def test_date_column(world: World, rule: dict[str, Any], expected: list[int]) -> None:
    """Dates compare as dates, and nobody without one is in."""
    with world.batch():
        world.contact(1, birth_date=date(1980, 5, 17))
        world.contact(2, birth_date=date(1990, 1, 1))
        world.contact(3)
    assert world.members({"attribute": "birth_date", **rule}) == expected


def test_date_attribute_never_raises(world: World) -> None:
    """A text that is no date, or an impossible one, is not in; it never stops the segment."""
    with world.batch():
        for number, value in enumerate(["2026-03-01", "2026-02-31", "soon", "9999", 5], start=1):
            world.contact(number, attributes={"renewal": value})
    rule = {"attribute": "attributes.renewal", "within": "7d"}
    # 31 February is read as 3 March, which has not come yet.
    assert world.members(rule) == [1]
    assert world.members({"attribute": "attributes.renewal", "gte": "2026-01-01"}) == [1, 2]


def test_within_of_a_date_includes_today_only_so_far(world: World) -> None:
    """`within: 2d` is today and yesterday in the reporting zone; `before: 2d` is the rest."""
    with world.batch():
        for number, day in enumerate([3, 2, 1], start=1):
            world.contact(number, attributes={"seen": f"2026-03-0{day}"})
        world.contact(4, attributes={"seen": "2026-02-28"})
    rule = {"attribute": "attributes.seen", "within": "2d"}
    assert world.members(rule) == [2, 3]
    assert world.members({"attribute": "attributes.seen", "before": "2d"}) == [4]
    # 04:59 UTC is still 1 March in New York, the reporting zone.
    assert world.members(rule, datetime(2026, 3, 2, 4, 59, tzinfo=UTC)) == [3, 4]
    assert world.members(rule, datetime(2026, 3, 2, 5, tzinfo=UTC)) == [2, 3]


@pytest.mark.parametrize(
    ("today", "expected"),
    [
        (datetime(2026, 2, 28, 12, tzinfo=UTC), [1, 2]),
        (datetime(2026, 2, 20, 12, tzinfo=UTC), []),
        (datetime(2026, 2, 21, 12, tzinfo=UTC), [1]),
        (datetime(2028, 2, 29, 12, tzinfo=UTC), [1, 2]),
        (datetime(2026, 12, 28, 12, tzinfo=UTC), [3]),
        (datetime(2027, 1, 2, 12, tzinfo=UTC), []),
    ],
)
def test_anniversary(world: World, today: datetime, expected: list[int]) -> None:
    """An anniversary is in from `within` days before until its day; 29 February is the 28th in
    other years; the turn of the year is no border."""
    with world.batch():
        world.contact(1, since=NOW - days(2000), birth_date=date(1980, 2, 29))
        world.contact(2, since=NOW - days(2000), birth_date=date(1999, 3, 2))
        world.contact(3, since=NOW - days(2000), birth_date=date(1999, 1, 1))
    assert world.members({"attribute": "birth_date", "anniversary_within": "7d"}, today) == expected


def test_created_at_is_an_instant(world: World) -> None:
    """`within` counts hours for created_at; a bare day means that whole day."""
    with world.batch():
        world.contact(1, since=NOW - timedelta(hours=4))
        world.contact(2, since=NOW - timedelta(hours=4) + SECOND)
        world.contact(3, since=NOW + SECOND)
    assert world.members({"attribute": "created_at", "within": "4h"}) == [2]
    assert world.members({"attribute": "created_at", "before": "4h"}) == [1]
    assert world.members({"attribute": "created_at", "eq": "2026-03-02"}) == [1, 2]
    assert world.members({"attribute": "created_at", "lte": "2026-03-02"}) == [1, 2]
    assert world.members({"attribute": "created_at", "gt": "2026-03-01"}) == [1, 2]


AMOUNTS = {"event": "order_placed", "of": "amount"}


@pytest.mark.parametrize(
    ("rule", "expected"),
    [
        ({"event": "order_placed"}, [1, 2]),
        ({"event": "order_placed", "gte": 2}, [1]),
        ({"event": "order_placed", "eq": 0}, [3]),
        ({"event": "order_placed", "lt": 1}, [3]),
        ({"event": "order_placed", "neq": 2}, [2, 3]),
        ({"event": "order_placed", "between": [1, 2]}, [1, 2]),
        ({"event": "order_placed", "gt": 0, "lt": 2}, [2]),
        ({**AMOUNTS, "aggregate": "sum", "gte": 100}, [1]),
        ({**AMOUNTS, "aggregate": "sum", "gte": 100.01}, []),
        ({**AMOUNTS, "aggregate": "sum", "lt": 50}, [2, 3]),
        ({**AMOUNTS, "aggregate": "min", "lte": 40}, [1, 2]),
        ({**AMOUNTS, "aggregate": "max", "gte": 60}, [1]),
        ({**AMOUNTS, "aggregate": "avg", "eq": 50}, [1]),
        ({**AMOUNTS, "aggregate": "max", "neq": 60}, [2]),
        ({**AMOUNTS, "aggregate": "sum", "currency": "EUR", "gte": 20}, [2]),
        ({**AMOUNTS, "aggregate": "sum", "currency": "EUR", "eq": 0}, [1, 3]),
        ({"event": "order_placed", "aggregate": "distinct", "of": "key", "eq": 2}, [1]),
        ({"event": "order_placed", "aggregate": "distinct", "of": "key", "eq": 0}, [3]),
    ],
)
def test_event_aggregates(world: World, rule: dict[str, Any], expected: list[int]) -> None:
    """Count, sum and distinct of nothing are 0; min, max and avg of nothing meet no comparison."""
    with world.batch():
        for number in (1, 2, 3):
            world.contact(number)
        world.event(1, "order_placed", NOW - days(1), key="a", amount=40, currency="USD")
        world.event(1, "order_placed", NOW - days(2), key="b", amount=60, currency="USD")
        world.event(2, "order_placed", NOW, key="c", amount=20, currency="EUR", reporting_amount=22)
    assert world.members(rule) == expected


@pytest.mark.parametrize(
    ("window", "expected"),
    [
        ({"within": "10d"}, [2, 3]),
        ({"before": "10d"}, [1]),
        ({"between": ["20d", "5d"]}, [1, 2]),
        ({"between": ["2026-02-20", "2026-02-20"]}, [1, 2]),
        ({"between": ["2026-02-21", "2026-03-02"]}, [3]),
        ({"before": "2026-03-02"}, [1, 2]),
        ({}, [1, 2, 3]),
    ],
)
def test_event_windows(world: World, window: dict[str, Any], expected: list[int]) -> None:
    """An event counts from its instant until, not at, the end of its span; the last day named is
    included; what lies in the future of the instant does not count."""
    with world.batch():
        for number in (1, 2, 3, 4):
            world.contact(number)
        world.event(1, "order_placed", NOW - days(10))
        world.event(2, "order_placed", NOW - days(10) + SECOND)
        world.event(3, "order_placed", NOW)
        world.event(4, "order_placed", NOW + SECOND)
    assert world.members({"event": "order_placed", **window}) == expected


@pytest.mark.parametrize(
    ("where", "expected"),
    [
        ({"key": "c1"}, [1]),
        ({"amount": {"gte": 100}}, [2]),
        ({"amount": [50, 100]}, [1, 2]),
        ({"currency": {"neq": "USD"}}, [2, 3]),
        ({"campaign": "welcome"}, [1]),
        ({"properties.utm": "ad"}, [1]),
        ({"properties.n": {"gt": 5}}, [2]),
        ({"properties.n": {"exists": False}}, [3]),
        ({"properties.tags": {"contains": "red"}}, [1]),
        ({"key": "c1", "currency": "EUR"}, []),
    ],
)
def test_event_where(world: World, where: dict[str, Any], expected: list[int]) -> None:
    """`where` tests typed columns and properties; a value means eq, a list means in."""
    with world.batch():
        for number in (1, 2, 3):
            world.contact(number)
        world.db.execute(
            "insert into mkt_engage.campaigns (campaign, brand, state_changed_at,"
            " state_changed_by) values ('welcome', 'journey', %s, 'test')",
            (NOW,),
        )
        tags = {"utm": "ad", "n": "5", "tags": ["red"]}
        world.event(
            1,
            "cart_updated",
            NOW,
            key="c1",
            amount=50,
            currency="USD",
            campaign_id=1,
            properties=tags,
        )
        world.event(
            2, "cart_updated", NOW, key="c2", amount=100, currency="EUR", properties={"n": 6}
        )
        world.event(3, "cart_updated", NOW, key="c3", amount=1)
    assert world.members({"event": "cart_updated", "where": where}) == expected


def test_product_category_comes_through_order_lines(world: World) -> None:
    """An order counts if one of its lines is of the category; it counts once."""
    with world.batch():
        for number in (1, 2, 3):
            world.contact(number)
        world.product_order(1, NOW - days(1), 11, "shoes")
        world.product_order(2, NOW - days(1), 12, "hats")
        world.event(3, "order_placed", NOW)
    rule = {"event": "order_placed", "where": {"product_category": "shoes"}}
    assert world.members(rule) == [1]
    assert world.members({**rule, "eq": 0}) == [2, 3]
    assert world.members(
        {"event": "order_placed", "where": {"product_category": ["shoes", "hats"]}}
    ) == [1, 2]


def test_machine_opens_do_not_count(world: World) -> None:
    """An open by a mail program's proxy is not an open."""
    with world.batch():
        world.contact(1)
        world.event(1, "email_opened", NOW, is_machine=True)
    assert world.members({"event": "email_opened"}) == []


def test_consent_needs_a_grant(world: World) -> None:
    """No record, pending and denied are not granted; brand, channel and topic are kept apart."""
    with world.batch():
        for number in range(1, 7):
            world.contact(number)
        world.consent(1, "granted", NOW - days(1))
        world.consent(2, "pending", NOW - days(1))
        world.consent(3, "denied", NOW - days(1))
        world.consent(4, "granted", NOW - days(1), brand="other")
        world.consent(5, "granted", NOW - days(1), topic="billing")
    assert world.members({"consent": {"brand": "journey"}}) == [1]
    assert world.members({"not": {"consent": {"brand": "journey"}}}) == [2, 3, 4, 5, 6]
    assert world.members({"consent": {"brand": "journey", "topic": "billing"}}) == [5]


def test_consent_refusal_wins_a_tie_in_the_past(world: World) -> None:
    """At one instant the refusal wins, whatever came first; later changes are later."""
    with world.batch():
        for number in (1, 2):
            world.contact(number)
        world.consent(1, "denied", NOW - days(3), source="a")
        world.consent(1, "granted", NOW - days(3), source="b")
        world.consent(2, "denied", NOW - days(3))
        world.consent(2, "granted", NOW - days(1))
    rule = {"consent": {"brand": "journey"}}
    assert world.members(rule) == world.members(rule, mode="as_of") == [2]
    assert world.members(rule, NOW - days(1) - SECOND, mode="as_of") == []
    assert world.members(rule, NOW - days(1), mode="as_of") == [2]


def test_groups_without_any_fact(world: World) -> None:
    """`none` and `not` hold for someone of whom nothing is known; all and any do not."""
    with world.batch():
        world.contact(1)
    event = {"event": "order_placed"}
    country = {"attribute": "country", "eq": "RS"}
    assert world.members({"none": [event, country]}) == [1]
    assert world.members({"not": event}) == [1]
    assert world.members({"all": [{"not": country}, {"none": [event]}]}) == [1]
    assert world.members({"any": [event, country]}) == []
    assert world.members({"all": [{"not": country}, event]}) == []


def test_only_living_contacts_are_members(world: World) -> None:
    """A deleted contact and one created later than the instant are in no segment."""
    with world.batch():
        world.contact(1, is_deleted=True)
        world.contact(2, since=NOW + SECOND)
        world.contact(3)
    assert world.members({"not": {"event": "order_placed"}}) == [3]


def test_sample_is_fixed_and_about_its_share(world: World) -> None:
    """The same salt draws the same people, another salt others; 10 % is about 10 %; a larger
    share contains the smaller one."""
    with world.batch():
        world.db.execute(
            "insert into mkt_core.contacts (contact_id, created_at, batch)"
            " select i, %s, 1 from generate_series(1, 5000) as i",
            (NOW,),
        )
    ten = world.members({"sample": {"percent": "10%", "salt": "a"}})
    assert ten == world.members({"sample": {"percent": "10%", "salt": "a"}})
    assert 425 <= len(ten) <= 575
    other = world.members({"sample": {"percent": "10%", "salt": "b"}})
    assert 20 <= len(set(ten) & set(other)) <= 90
    assert set(ten) <= set(world.members({"sample": {"percent": "20%", "salt": "a"}}))
    assert len(world.members({"sample": {"percent": "100%", "salt": "a"}})) == 5000
    assert world.members({"sample": {"percent": "0%", "salt": "a"}}) == []


def test_scope_restricts_and_is_checked(world: World) -> None:
    """Only contacts of the named relation come back, and a name is nothing but a name."""
    from marketing_ops.errors import FatalError
    from marketing_ops.segments import compiler
    from tests.segments.conftest import RULE

    with world.batch():
        for number in (1, 2, 3):
            world.contact(number)
            world.event(number, "order_placed", NOW)
    rule = RULE.validate_python({"event": "order_placed"})
    sql, params = compiler.rule_sql(rule, scope="due", registry={}, prefix="audience")
    assert all(name.startswith("audience") for name in params)
    text = f"with due as (select contact_id from mkt_core.contacts where contact_id < 3) {sql}"
    rows = world.db.execute(text.encode(), {**params, "at": NOW}).fetchall()
    assert sorted(rows) == [(1,), (2,)]
    with pytest.raises(FatalError):
        compiler.rule_sql(rule, scope="due; drop table x", registry={})


def test_as_of_reads_the_attributes_of_the_time(world: World) -> None:
    """The version valid then counts; the first observation also holds before it was made."""
    with world.batch():
        world.contact(1, since=NOW - days(400), country="RS")
    with world.batch():
        world.contact(1, since=NOW - days(10), country="DE")
    rule = {"attribute": "country", "eq": "RS"}
    assert world.members(rule) == []
    assert world.members(rule, NOW - days(10), mode="as_of") == []
    assert world.members(rule, NOW - days(10) - SECOND, mode="as_of") == [1]
    world.db.execute("update mkt_core.contacts set created_at = %s", (NOW - days(900),))
    assert world.members(rule, NOW - days(800), mode="as_of") == [1]
    assert world.members(rule, NOW - days(901), mode="as_of") == []


def test_known_at_sees_only_what_was_known(world: World) -> None:
    """Facts, corrections and removals of later batches are not seen under known_at."""
    with world.batch() as first:
        world.contact(1)
        key = world.event(1, "order_placed", NOW - days(5), "o1", amount=10)
        gone = world.event(1, "order_placed", NOW - days(6), "o2", amount=5)
    with world.batch() as second:
        world.event(1, "order_placed", NOW - days(5), "o1", amount=700)
        world.delete_event(gone)
    with world.batch() as third:
        world.delete_event(key)
    total = {"event": "order_placed", "aggregate": "sum", "of": "amount"}
    for batch, amount in ((first, 15), (second, 700), (third, 0)):
        rule = {**total, "eq": amount}
        assert world.members(rule, mode="known_at", batch=batch) == [1], batch
    assert world.members({**total, "eq": 0}) == [1]
