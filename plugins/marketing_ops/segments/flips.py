"""Who has to be looked at again: new facts, windows that ended, dates that came."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from functools import cache
from typing import Any
from zoneinfo import ZoneInfo

import sqlalchemy as sa

from marketing_ops import sqlfile
from marketing_ops.segments import names
from marketing_ops.segments.compiler import Compiler, Statement, has_date_rule, render
from marketing_ops.segments.definition import Resolved, leaves
from marketing_ops.segments.grammar import AttributeRule, EventRule
from marketing_ops.segments.predicates import INSTANT
from marketing_ops.segments.tables import REAL
from marketing_ops.settings import settings
from marketing_ops.warehouse import Warehouse

TOUCHED = "pg_temp.segment_touched"
_NOW = timedelta(0)


@dataclass
class Dependencies:
    """What a set of rules reads that may change: event types, windows, dates.

    Attributes:
        windows: (event type, span) for each edge at which an event starts or ceases to count.
        created: spans at which the age of a contact matters.
        dates: rules that look at a date attribute from the present.
    """

    event_types: set[str] = field(default_factory=set)
    windows: set[tuple[str, timedelta]] = field(default_factory=set)
    created: set[timedelta] = field(default_factory=lambda: {_NOW})
    dates: list[AttributeRule] = field(default_factory=list)
    has_categories: bool = False


def dependencies(trees: Iterable[Resolved]) -> Dependencies:
    """What the resolved rules depend on."""
    found = Dependencies()
    for tree in trees:
        for leaf in leaves(tree):
            if isinstance(leaf, EventRule):
                spans = [edge for edge in leaf.window() if isinstance(edge, timedelta)]
                found.event_types.add(leaf.event)
                found.windows |= {(leaf.event, span) for span in (_NOW, *spans)}
                found.has_categories |= "product_category" in leaf.where
            elif isinstance(leaf, AttributeRule) and has_date_rule(leaf):
                if names.COLUMNS.get(leaf.attribute) == "instant":
                    given = (leaf.within, leaf.before)
                    found.created |= {span for span in given if isinstance(span, timedelta)}
                else:
                    found.dates.append(leaf)
    return found


def touch(
    warehouse: Warehouse,
    trees: Iterable[Resolved],
    *,
    last_batch: int,
    last_at: datetime,
    at: datetime,
) -> int:
    """Fill pg_temp.segment_touched with every contact whose answers may differ from those at
    (last_at, last_batch); returns how many.

    A superset is harmless, a missing contact is not. Calendar dates change answers at midnight of
    the reporting zone only, so their scan runs once a day.
    """
    needs = dependencies(trees)
    facts = {
        "last_batch": last_batch,
        "event_types": sorted(needs.event_types),
        "has_categories": needs.has_categories,
    }
    count = sqlfile.execute(warehouse, "engage/segment_touch_facts", facts).rowcount
    if at == last_at:
        return count
    statements = [_window_flips(needs, last_at, at)]
    zone = ZoneInfo(settings().reporting_timezone)
    if last_at.astimezone(zone).date() != at.astimezone(zone).date():
        statements += [_date_flips(rule) for rule in needs.dates]
    for statement in statements:
        text = f"insert into {TOUCHED} (contact_id, is_merged) {statement.sql}"
        text += " on conflict (contact_id) do nothing"
        values = {**statement.params, "at": at, "last_at": last_at}
        count += warehouse.execute(text.encode(), values).rowcount
    return count


def _window_flips(needs: Dependencies, last_at: datetime, at: datetime) -> Statement:
    """Contacts with an event, or a birth in our books, that crossed the edge of a window.

    One short range per edge, its instants bound as values: Postgres then plans for the one
    partition each lies in.
    """
    windows, created = sorted(needs.windows), sorted(needs.created)
    params: dict[str, Any] = {}
    for number, (event_type, span) in enumerate(windows):
        params |= {f"t{number}": event_type, f"a{number}": last_at - span, f"u{number}": at - span}
    for number, span in enumerate(created, start=len(windows)):
        params |= {f"a{number}": last_at - span, f"u{number}": at - span}
    return Statement(_ranges_sql(len(windows), len(created)), params)


@cache
def _ranges_sql(windows: int, created: int) -> str:
    """The union of so many ranges of events and of contacts; compiled once a process."""
    events, contacts = REAL.events, REAL.contacts
    ranges = []
    for number in range(windows + created):
        after = sa.bindparam(f"a{number}", type_=INSTANT)
        until = sa.bindparam(f"u{number}", type_=INSTANT)
        if number < windows:
            kind = sa.bindparam(f"t{number}", type_=sa.Text)
            happened = events.c.occurred_at
            crossed = [events.c.event_type == kind, happened > after, happened <= until]
            ranges.append(sa.select(events.c.contact_id).where(*crossed))
        else:
            born = contacts.c.created_at
            ranges.append(sa.select(contacts.c.contact_id).where(born > after, born <= until))
    found = sa.union_all(*ranges).subquery("f")
    return render(sa.select(found.c.contact_id, sa.false()).distinct()).sql


def _date_flips(rule: AttributeRule) -> Statement:
    """Contacts whose date answers otherwise at `at` than at `last_at`."""
    compiler = Compiler("mkt_core.contacts")
    earlier: Any = sa.bindparam("last_at", type_=INSTANT)
    now = compiler.attribute_holds(rule, compiler.at)
    then = compiler.attribute_holds(rule, earlier)
    contacts = compiler.contacts
    return render(sa.select(contacts.c.contact_id, sa.false()).where(now.is_distinct_from(then)))
