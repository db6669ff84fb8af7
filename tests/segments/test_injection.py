"""Whatever a user writes stays a value: nothing of it becomes SQL, nothing breaks on it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from marketing_ops.segments import compiler
from tests.segments.conftest import NOW, RULE, World

CORPUS = [
    "'",
    "''",
    '"',
    "'; drop table mkt_core.contacts; --",
    "x' or '1'='1",
    "%",
    "%%",
    "%s",
    "%(at)s",
    "%(p1)s",
    "%(x)s",
    "$1",
    ":at",
    "{0}",
    "\\",
    "\\'",
    "a\nb",
    "/* */ --",
    "naïve ☃ 漢字 \U0001f600",
    "٣",
    "1e400",
    "null",
    "a.b.c",
    "_%",
]

PLACES: dict[str, Callable[[str], Any]] = {
    "eq": lambda text: {"attribute": "country", "eq": text},
    "in": lambda text: {"attribute": "country", "in": [text, "ZZ"]},
    "contains": lambda text: {"attribute": "country", "contains": text},
    "starts_with": lambda text: {"attribute": "country", "starts_with": text},
    "attribute key": lambda text: {"attribute": f"attributes.{text}", "eq": text},
    "attribute list": lambda text: {"attribute": f"attributes.{text}", "contains": text},
    "event key": lambda text: {"event": "cart_updated", "where": {"key": text}},
    "property key": lambda text: {
        "event": "cart_updated",
        "where": {f"properties.{text}": {"in": [text]}},
    },
    "distinct of": lambda text: {
        "event": "cart_updated",
        "aggregate": "distinct",
        "of": f"properties.{text}",
        "gte": 1,
    },
    "consent": lambda text: {"consent": {"brand": text, "channel": text, "topic": text}},
}


@pytest.mark.parametrize("text", CORPUS)
def test_every_string_is_only_a_value(world: World, text: str) -> None:
    """In each place the text finds exactly the person who has it, and the SQL
    is the same whatever the text."""
    with world.batch():
        world.contact(1, country=text, attributes={text: text})
        world.contact(2, country="other")
        world.event(1, "cart_updated", NOW, key=text, properties={text: text})
        world.consent(1, "granted", NOW, brand=text, channel=text, topic=text)
    for place, rule in PLACES.items():
        for mode in ("live", "as_of"):
            assert world.members(rule(text), mode=mode) == [1], (place, mode)
        assert sql_of(rule(text)) == sql_of(rule("plain")), place


def sql_of(rule: Any) -> str:
    """The text that goes to the server, values apart."""
    return compiler.rule_sql(RULE.validate_python(rule), registry={})[0]


@pytest.mark.parametrize("text", CORPUS)
def test_names_and_salts_are_values_too(world: World, text: str) -> None:
    """Neither a salt nor the name of a campaign nor a category can break out."""
    with world.batch():
        world.contact(1)
    sampled = {"sample": {"percent": "100%", "salt": text}}
    assert world.members(sampled) == [1]
    for field in ("campaign", "product_category", "currency"):
        rule = {"event": "order_placed", "where": {field: text}}
        assert world.members(rule) == []


def test_patterns_are_no_patterns(world: World) -> None:
    """Neither `%` and `_` nor a regular expression means anything in contains and starts_with."""
    with world.batch():
        world.contact(1, country="a%c")
        world.contact(2, country="abc")
    assert world.members({"attribute": "country", "contains": "a%c"}) == [1]
    assert world.members({"attribute": "country", "starts_with": "a_"}) == []
    assert world.members({"attribute": "country", "contains": "(a+)+$"}) == []
