"""Segment files: what is refused, with which words, at which line."""

from __future__ import annotations

from typing import Any

import pytest

from marketing_ops.errors import DefinitionError
from marketing_ops.segments import definition, lint
from marketing_ops.segments.definition import definition_hash, load_all
from tests.segments.conftest import Files


def said(files: Files, where: str, more: str = "") -> str:
    """The one problem of a segment file `it` with this rule."""
    files.write("it", where, more)
    found = [str(problem) for problem in lint.problems()]
    assert len(found) == 1, found
    return found[0]


@pytest.mark.parametrize(
    ("where", "line", "words"),
    [
        (
            "event: order_placed\nwithn: 7d",
            6,
            "`where.withn` is not a known key. Did you mean `within`?",
        ),
        ("evnt: order_placed", 4, "`evnt` begins no rule. Did you mean `event`?"),
        ("event: order_plced", 5, "is no event type. Did you mean `order_placed`?"),
        ("attribute: contry\neq: RS", 5, "is no attribute of contacts. Did you mean `country`?"),
        ("attribute: attributes.\neq: RS", 5, "is no attribute"),
        ("attribute: country", 4, "compares nothing"),
        ("attribute: country\neq:", 4, "`eq` is empty"),
        ("event: order_placed\ngte: null", 4, "`gte` is empty"),
        ("attribute: country\ngt: 5", 4, "`country` is text"),
        ("attribute: country\nwithin: 5d", 4, "`country` is text, not a date"),
        ("attribute: birth_date\ngt: 5", 4, "needs a date"),
        ("attribute: birth_date\neq: soon", 4, "`soon` is none"),
        ("attribute: birth_date\nwithin: 5h", 4, "count in whole days"),
        ("attribute: birth_date\nanniversary_within: 400d", 4, "comes every year"),
        ("attribute: country\nin: []", 6, "at least 1 item"),
        ("attribute: country\nin: RS", 6, "valid list"),
        ("attribute: country\neq: [RS]", 6, "must be one text"),
        ('attribute: country\neq: "a\\0b"', 6, "no database text can hold"),
        ('attribute: country\neq: "\\ud800"', 6, "no database text can hold"),
        ("attribute: attributes.age\ngt: 50\nlt: 40", 4, "nothing is above 50 and below 40"),
        ("attribute: attributes.age\ngt: yes", 6, "compares numbers and dates"),
        ("event: order_placed\nwithin: 7 days", 6, "is not a duration: write 30m"),
        ("event: order_placed\nwithin: 0d", 4, "empty window"),
        ("event: order_placed\nwithin: 99999999999999999999d", 6, "longer than a hundred years"),
        ("event: order_placed\nwithin: 7d\nbefore: 9d", 4, "one window at a time"),
        ("event: order_placed\nbetween: [1d, 5d]", 4, "ends before it begins"),
        ("event: order_placed\nbetween: [2026-02-01, 2026-01-01]", 4, "ends before it begins"),
        ("event: order_placed\nlt: 0", 4, "never below 0"),
        ("event: order_placed\neq: 1.5\ngte: x", 7, "must be a number"),
        ("event: order_placed\naggregate: total\nof: amount", 6, "'count', 'sum'"),
        ("event: order_placed\naggregate: sum\ngte: 1", 4, "needs `of:`"),
        ("event: order_placed\naggregate: sum\nof: amount", 4, "needs a comparison"),
        ("event: order_placed\naggregate: sum\nof: amont\ngte: 1", 4, "Did you mean `amount`?"),
        ("event: order_placed\nof: amount\ngte: 1", 4, "add `aggregate:`"),
        ("event: order_placed\ncurrency: EUR", 4, "belongs to `of: amount`"),
        ("event: order_placed\nwhere: {product_categry: x}", 6, "Did you mean `product_category`?"),
        ("event: order_placed\nwhere: {amount: big}", 6, "compared with numbers only"),
        ("event: cart_updated\nwhere: {product_category: x}", 4, "only order events"),
        ("event: order_placed\nwhere: {key: {equals: 1}}", 6, "is not a known key"),
        ("all: []", 5, "at least 1 item"),
        ("all:\n  - event: order_placed\n  - {}", 7, "is an empty rule"),
        ("all:\n  - any:\n      - attribut: x\n        eq: 1", 7, "Did you mean `attribute`?"),
        ("- event: order_placed", 4, "is not a rule"),
        ("metric: order_count\ngte: 5", 4, "`metric` rules are not available yet"),
        ("consent: {brand: jurney}", 5, "is no brand of settings.yaml. Did you mean `journey`?"),
        ("consent: {chanel: email, brand: journey}", 5, "Did you mean `channel`?"),
        ("sample: {percent: 10, salt: a}", 5, "is not a share: write 5%"),
        ("segment: itt", 4, "refers to segment `itt`, which is not there"),
        ("segment: it", 4, "refers to itself: it -> it"),
    ],
)
def test_problems_name_line_and_cure(files: Files, where: str, line: int, words: str) -> None:
    """Each mistake gives one problem, with its line and what to write instead."""
    found = said(files, where)
    assert words in found
    assert found.startswith(f"segments/it.yaml:{line}:"), found


def test_a_wrong_file_stops_itself_and_its_users_only(files: Files) -> None:
    """The others are loaded; whoever refers to the wrong one is told so."""
    files.write("good", "event: order_placed")
    files.write("wrong", "event: nothing")
    files.write("user", "not: {segment: wrong}")
    files.write("users_user", "all: [{segment: user}]")
    found, problems = load_all()
    assert list(found) == ["good"]
    assert sorted(problem.path.stem for problem in problems) == ["user", "users_user", "wrong"]


def test_circle_is_named(files: Files) -> None:
    """A circle through several files names the way round; nobody of it is loaded."""
    files.write("a", "segment: b")
    files.write("b", "any: [{segment: c}, {event: order_placed}]")
    files.write("c", "not: {segment: a}")
    found, problems = load_all()
    assert not found
    assert "a -> b -> c -> a" in " ".join(str(problem) for problem in problems)


def test_file_and_segment_have_one_name(files: Files) -> None:
    """The file name is the name."""
    path = files.write("it", "event: order_placed")
    path.rename(path.with_name("other.yaml"))
    assert "make them equal" in str(load_all()[1][0])


def test_a_changed_file_is_read_again(files: Files) -> None:
    """What is kept of a file is dropped when it changes."""
    files.write("it", "event: order_placed")
    load_all()
    files.write("it", "event: order_placed\nwithin: 7d")
    assert str(load_all()[0]["it"].where.within) == "7 days, 0:00:00"


@pytest.mark.parametrize(
    ("one", "other", "is_same"),
    [
        ("event: order_placed", "event: order_placed\naggregate: count", True),
        ("event: order_placed\nwithin: 7d", "event: order_placed\nwithin: 1w", True),
        ("event: order_placed\ngte: 5", "event: order_placed\ngte: 5.0", True),
        ("event: order_placed\ngte: 5", "event: order_placed\ngte: 6", False),
        ("attribute: attributes.a\neq: 5", 'attribute: attributes.a\neq: "5"', False),
        ("attribute: attributes.a\neq: true", "attribute: attributes.a\neq: 1", False),
        ("event: order_placed\nwithin: 7d", "event: order_placed\nbefore: 7d", False),
        ("all: [{event: subscribed}]", "any: [{event: subscribed}]", False),
        ("segment: inner", "segment: inner2", False),
    ],
)
def test_hash_covers_meaning_only(files: Files, one: str, other: str, is_same: bool) -> None:
    """Equal meaning, equal hash; another rule, inside a nested segment too, another hash."""
    files.write("inner", "event: cart_updated")
    files.write("inner2", "event: cart_updated\nwithin: 1d")
    files.write("it", one)
    before = definition_hash("it")
    files.write("it", other, more="tests: [{as_of: 2026-01-01, expect: in}]")
    assert (definition_hash("it") == before) is is_same
    with pytest.raises(DefinitionError, match="Did you mean `inner`"):
        definition_hash("iner")


def test_lint_of_what_is_not_there_yet_and_of_tests(files: Files) -> None:
    """sync_to is understood and refused; a test naming an unrelated segment tests nothing."""
    where = "event: order_placed"
    assert "not available yet" in said(files, where, "sync_to: [{source: mailchimp_main, tag: x}]")
    more = "tests: [{as_of: 2026-01-01, contact: {segments: [newsletter]}, expect: in}]"
    assert "is not referred to by this segment" in said(files, where, more)
    more = (
        "tests: [{as_of: 2026-01-01, events: [{event: order_paced, at: 2026-01-01}], expect: in}]"
    )
    assert "Did you mean `order_placed`?" in said(files, where, more)


def test_own_examples_have_no_problem() -> None:
    """The segments that come with the product pass their own lint, and there are several."""
    assert lint.problems() == []
    assert {"emailable", "new_subscribers", "lapsed_customers"} <= set(load_all()[0])


def test_ten_thousand_values_are_one_parameter(files: Files) -> None:
    """A long list is accepted up to its bound and compiled into one array."""
    from marketing_ops.segments import compiler

    values = ", ".join(f'"{number}"' for number in range(10_000))
    files.write("it", f"attribute: country\nin: [{values}]")
    found, problems = load_all()
    assert not problems
    sql, params = compiler.rule_sql(found["it"].where, registry=found)
    assert len(sql) < 500
    assert [len(value) for value in params.values()] == [10_000]


def test_schema_describes_a_segment() -> None:
    """The exported schema knows the rules, forbids other keys and writes durations as users do."""
    schema: dict[str, Any] = definition.json_schema()
    assert schema["additionalProperties"] is False
    assert {"segment", "description", "owner", "where"} == set(schema["required"])
    within = schema["$defs"]["EventRule"]["properties"]["within"]["anyOf"][0]
    assert within["pattern"] == r"^\d+\s*[smhdw]$"
    assert "duration" not in str(schema)
