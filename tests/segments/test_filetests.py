"""The tests inside segment files really test, and touch nothing real."""

from __future__ import annotations

from marketing_ops.segments import filetests
from marketing_ops.warehouse import Warehouse
from tests.segments.conftest import NOW, Files, World

TESTS = """
tests:
  - name: fits
    as_of: 2026-03-02T12:00:00Z
    contact: {country: RS, attributes.age: 30, consents: [{brand: journey}], segments: [other]}
    events:
      - {event: order_placed, at: 2026-02-01, amount: 620, product_category: shoes}
      - {event: email_opened, at: 2026-02-01, campaign: welcome, properties: {n: 1}}
    expect: in
  - name: expects the wrong thing
    as_of: 2026-03-02T12:00:00Z
    contact: {country: RS}
    expect: in
"""
WHERE = """
all:
  - attribute: country
    eq: RS
  - attribute: attributes.age
    gte: 30
  - consent: {brand: journey}
  - event: order_placed
    aggregate: sum
    of: amount
    gte: 500
    where: {product_category: shoes}
  - event: email_opened
    where: {campaign: welcome, properties.n: 1}
  - segment: other
"""


def test_own_examples_pass(db: Warehouse) -> None:
    """Every example that comes with the product has tests of both kinds, and they hold."""
    results = filetests.run(db)
    assert [str(result) for result in results if not result.is_ok] == []
    for segment in {result.segment for result in results}:
        expected = {result.expected for result in results if result.segment == segment}
        assert expected == {"in", "out"}, segment


def test_wrong_expectation_is_found(world: World, files: Files) -> None:
    """A test that expects what is not so fails by name; given segments replace nested ones."""
    files.write("other", "event: cart_updated")
    files.write("it", WHERE, TESTS)
    good, bad = filetests.run(world.db, ["it"])
    assert good.is_ok
    assert not bad.is_ok
    assert str(bad) == "it test 2 (expects the wrong thing): FAILED: expected in, found out"


def test_nothing_real_is_read_or_written(world: World, files: Files) -> None:
    """Real people do not get into a test, and its people do not get into the warehouse."""
    files.write("it", "event: order_placed", "tests: [{as_of: 2026-03-02, expect: out}]")
    with world.batch():
        world.contact(1)
        world.event(1, "order_placed", NOW)
    assert filetests.run(world.db)[0].is_ok
    count = (
        "select (select count(*) from mkt_core.contacts), (select count(*) from mkt_core.events)"
    )
    assert world.db.execute(count).fetchone() == (1, 1)
    row = world.db.execute("select to_regclass('pg_temp.contacts')").fetchone()
    assert row == (None,)
