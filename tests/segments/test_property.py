"""Random rules over random histories: incremental = full = a slow reference = known_at."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from marketing_ops.segments import compiler
from marketing_ops.segments.definition import load_all
from marketing_ops.segments.runner import refresh
from tests.segments.conftest import NOW, Files, World, days

PEOPLE = (1, 2, 3)
ZONE = ZoneInfo("America/New_York")

numbers = st.integers(0, 3)
spans = st.integers(1, 6)
windows = st.one_of(
    st.just({}),
    spans.map(lambda n: {"within": f"{n}d"}),
    spans.map(lambda n: {"before": f"{n}d"}),
    st.tuples(st.integers(4, 7), st.integers(1, 3)).map(
        lambda pair: {"between": [f"{pair[0]}d", f"{pair[1]}d"]}
    ),
)
comparisons = st.tuples(st.sampled_from(["eq", "neq", "gt", "gte", "lt", "lte"]), numbers).filter(
    lambda pair: pair != ("lt", 0)
)
counts = st.builds(
    lambda event, pair, window: {"event": event, pair[0]: pair[1], **window},
    st.sampled_from(["order_placed", "cart_updated"]),
    comparisons,
    windows,
)
amounts = st.builds(
    lambda aggregate, pair, window: {
        "event": "order_placed",
        "aggregate": aggregate,
        "of": "amount",
        pair[0]: pair[1] * 10,
        **window,
    },
    st.sampled_from(["sum", "min", "max", "avg"]),
    comparisons,
    windows,
)
keyed = st.builds(
    lambda key, window: {"event": "cart_updated", "where": {"key": key}, **window},
    st.sampled_from(["a", "b"]),
    windows,
)
attributes = st.sampled_from(
    [
        {"attribute": "country", "eq": "RS"},
        {"attribute": "country", "neq": "RS"},
        {"attribute": "attributes.renewal", "within": "3d"},
        {"attribute": "attributes.renewal", "before": "2d"},
        {"consent": {"brand": "journey"}},
        {"segment": "inner"},
    ]
)
rules = st.recursive(
    st.one_of(counts, amounts, keyed, attributes),
    lambda inner: st.one_of(
        st.lists(inner, min_size=1, max_size=3).map(lambda found: {"all": found}),
        st.lists(inner, min_size=1, max_size=3).map(lambda found: {"any": found}),
        st.lists(inner, min_size=1, max_size=2).map(lambda found: {"none": found}),
        inner.map(lambda found: {"not": found}),
    ),
    max_leaves=5,
)
people = st.sampled_from(PEOPLE)
facts = st.one_of(
    # A name of few: the same again is a correction, of its amount, its time or its person.
    st.tuples(
        st.just("event"), people, st.integers(0, 5), st.integers(-8 * 24, 30), st.integers(0, 3)
    ),
    st.tuples(st.just("remove"), people, st.integers(0, 5), st.just(0), st.just(0)),
    st.tuples(st.just("country"), people, st.integers(0, 2), st.just(0), st.just(0)),
    st.tuples(st.just("renewal"), people, st.integers(-6, 3), st.just(0), st.just(0)),
    st.tuples(st.just("consent"), people, st.integers(0, 2), st.integers(-48, 0), st.just(0)),
    st.tuples(st.just("delete"), st.just(3), st.just(0), st.just(0), st.just(0)),
)
steps = st.lists(
    st.tuples(st.integers(1, 50), st.booleans(), st.lists(facts, max_size=4)),
    min_size=2,
    max_size=7,
)


@dataclass
class Reference:
    """The facts as plain Python values, and the rules read word by word."""

    contacts: dict[int, dict[str, Any]] = field(default_factory=dict)
    events: dict[int, tuple[int, str, datetime, int, str]] = field(default_factory=dict)
    consents: list[tuple[int, datetime, int]] = field(default_factory=list)
    inner: Any = None

    def members(self, rule: Any, at: datetime) -> list[int]:
        alive = [number for number in PEOPLE if not self.contacts[number]["is_deleted"]]
        return [number for number in alive if self.holds(rule, number, at)]

    def holds(self, rule: Any, number: int, at: datetime) -> bool:
        if "all" in rule:
            return all(self.holds(one, number, at) for one in rule["all"])
        if "any" in rule:
            return any(self.holds(one, number, at) for one in rule["any"])
        if "none" in rule:
            return not any(self.holds(one, number, at) for one in rule["none"])
        if "not" in rule:
            return not self.holds(rule["not"], number, at)
        if "segment" in rule:
            return self.holds(self.inner, number, at)
        if "consent" in rule:
            # Of one instant the smallest status wins: denied 0, pending 1, granted 2.
            own = [(when, -status) for who, when, status in self.consents if who == number]
            return bool(own) and max(own)[1] == -2
        if "event" in rule:
            return self.event_holds(rule, number, at)
        return self.attribute_holds(rule, number, at)

    def attribute_holds(self, rule: Any, number: int, at: datetime) -> bool:
        contact = self.contacts[number]
        if rule["attribute"] == "country":
            is_it = contact.get("country") == "RS"
            return is_it if "eq" in rule else not is_it
        if "renewal" not in contact:
            return False
        ago = (at.astimezone(ZONE).date() - contact["renewal"]).days
        return 0 <= ago < 3 if "within" in rule else ago >= 2

    def event_holds(self, rule: Any, number: int, at: datetime) -> bool:
        def span(text: str) -> timedelta:
            return days(int(text[:-1]))

        found = []
        for who, kind, when, amount, key in self.events.values():
            age = at - when
            inside = timedelta(0) <= age
            if "within" in rule:
                inside &= age < span(rule["within"])
            if "before" in rule:
                inside &= age >= span(rule["before"])
            if "between" in rule:
                inside &= span(rule["between"][1]) <= age < span(rule["between"][0])
            if "where" in rule:
                inside &= key == rule["where"]["key"]
            if who == number and kind == rule["event"] and inside:
                found.append(amount)
        aggregate = rule.get("aggregate", "count")
        if not found and aggregate in ("min", "max", "avg"):
            return False
        value: float = {
            "count": lambda: len(found),
            "sum": lambda: sum(found),
            "min": lambda: min(found),
            "max": lambda: max(found),
            "avg": lambda: sum(found) / len(found),
        }[aggregate]()
        compare: dict[str, Callable[[float], bool]] = {
            "eq": lambda n: value == n,
            "neq": lambda n: value != n,
            "gt": lambda n: value > n,
            "gte": lambda n: value >= n,
            "lt": lambda n: value < n,
            "lte": lambda n: value <= n,
        }
        asked = [(name, rule[name]) for name in compare if name in rule] or [("gte", 1)]
        return all(compare[name](operand) for name, operand in asked)


class Life:
    """Applies the same facts to the warehouse and to the reference."""

    def __init__(self, world: World) -> None:
        self.world, self.reference = world, Reference()
        self.sources = 0
        world.db.execute("set synchronous_commit = off")
        core = "contacts contact_history events event_versions consents consent_now"
        names = [f"mkt_core.{name}" for name in core.split()]
        names += ["mkt_engage.segments", "mkt_engage.segment_memberships", "mkt_ops.batches"]
        for name in names:
            world.db.execute(f"delete from {name}")
        with world.batch(closed_at=NOW - days(1)):
            for number in PEOPLE:
                self.reference.contacts[number] = {"is_deleted": False}
                self.write_contact(number, NOW - days(100))

    def write_contact(self, number: int, at: datetime) -> None:
        state = dict(self.reference.contacts[number])
        renewal = state.pop("renewal", None)
        self.world.contact(
            number, since=at, attributes={"renewal": str(renewal)} if renewal else {}, **state
        )

    def apply(self, fact: tuple[str, int, int, int, int], at: datetime) -> None:
        kind, number, what, hours, amount = fact
        contact = self.reference.contacts[number]
        if kind == "event":
            event_type = "order_placed" if what < 4 else "cart_updated"
            when, key = at + timedelta(hours=hours), "ab"[amount % 2]
            self.world.event(number, event_type, when, f"n{what}", amount=amount * 10, key=key)
            self.reference.events[what] = (number, event_type, when, amount * 10, key)
        elif kind == "remove":
            self.world.db.execute(
                "delete from mkt_core.events where key is not null and event_id ="
                " any(select event_id from mkt_core.events where contact_id = %s)",
                (number,),
            )
            own = [name for name, event in self.reference.events.items() if event[0] == number]
            for name in own:
                del self.reference.events[name]
        elif kind == "consent":
            self.sources += 1
            when = at + timedelta(hours=hours)
            status = ["denied", "pending", "granted"][what]
            self.world.consent(number, status, when, source=f"s{self.sources}")
            self.reference.consents.append((number, when, what))
        else:
            if kind == "country":
                contact["country"] = ["RS", "DE", None][what]
            elif kind == "renewal":
                contact["renewal"] = (at + days(what)).date()
            else:
                contact["is_deleted"] = True
            self.write_contact(number, at)


@settings(
    max_examples=40,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
    derandomize=True,
)
@given(first=rules, second=rules, inner=counts, history=steps)
def test_incremental_equals_full_and_reference(
    world: World, files: Files, first: Any, second: Any, inner: Any, history: Any
) -> None:
    """After every step the incremental memberships are what a full evaluation and the plain
    reading of the rules give; later, known_at gives for every step what was lived then. Events
    come late, ahead of time, corrected, moved to another person and removed."""
    life = Life(world)
    given_rules = {"inner": inner, "first": first, "second": second}
    for name, rule in given_rules.items():
        files.write(name, json.dumps(rule))
    registry, problems = load_all()
    assert not problems
    life.reference.inner = inner
    at, lived = NOW, []
    refresh(world.db, at)
    for hours, is_baseline, found in history:
        at += timedelta(hours=hours)
        with world.batch(is_baseline=is_baseline, closed_at=at) as batch:
            written = set()
            for fact in found:
                # The history's key is (contact, instant, batch): one version a batch.
                is_version = fact[0] in ("country", "renewal", "delete")
                if is_version and fact[1] in written:
                    continue
                life.apply(fact, at)
                if is_version:
                    written.add(fact[1])
        refresh(world.db, at)
        for name, rule in given_rules.items():
            members = world.lived(name)
            assert members == life.reference.members(rule, at), (name, at)
            assert members == world.members(rule, at, registry=registry), (name, at)
            lived.append((name, at, batch, members))
    for name, then, batch, members in lived:
        sql, params = compiler.rule_sql(registry[name].where, registry=registry, mode="known_at")
        rows = world.db.execute(sql.encode(), {**params, "at": then, "batch": batch})
        assert sorted(row[0] for row in rows) == members, (name, then)
