"""Who has to be looked at again: new facts, windows that ended, dates that came."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import sqlalchemy as sa

from marketing_ops import sqlfile
from marketing_ops.segments import names
from marketing_ops.segments.compiler import Compiler, Statement, has_date_rule, render
from marketing_ops.segments.definition import Resolved, leaves
from marketing_ops.segments.grammar import AttributeRule, EventRule
from marketing_ops.segments.predicates import INSTANT
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
    windows = sorted(needs.windows)
    edges = {
        "at": at,
        "last_at": last_at,
        "event_types": [event_type for event_type, _ in windows],
        "spans": [span for _, span in windows],
        "created_spans": sorted(needs.created),
    }
    count += sqlfile.execute(warehouse, "engage/segment_touch_flips", edges).rowcount
    zone = ZoneInfo(settings().reporting_timezone)
    if needs.dates and last_at.astimezone(zone).date() != at.astimezone(zone).date():
        for rule in needs.dates:
            statement = _date_flips(rule)
            values = {**statement.params, "at": at, "last_at": last_at}
            text = f"insert into {TOUCHED} (contact_id, is_merged) {statement.sql}"
            text += " on conflict (contact_id) do nothing"
            count += warehouse.execute(text.encode(), values).rowcount
    return count


def _date_flips(rule: AttributeRule) -> Statement:
    """Contacts whose date answers otherwise at `at` than at `last_at`."""
    compiler = Compiler("mkt_core.contacts")
    earlier: Any = sa.bindparam("last_at", type_=INSTANT)
    now = compiler.attribute_holds(rule, compiler.at)
    then = compiler.attribute_holds(rule, earlier)
    contacts = compiler.contacts
    return render(sa.select(contacts.c.contact_id, sa.false()).where(now.is_distinct_from(then)))
