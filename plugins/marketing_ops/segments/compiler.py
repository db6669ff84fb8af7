"""Segment rules compiled to SQL: one syntax tree over per-contact aggregates, shared by all rules.

Each event rule becomes a column of a per-contact aggregate; rules over the same events share one
scan of them. A segment is then a boolean expression over those columns, and every segment that is
asked for is answered by one statement.

Modes:
    live       what the warehouse holds now, seen from the instant `at`.
    as_of      what was true at `at` by all we know now.
    known_at   what we knew at `at`: only facts of batches up to `batch`.
    unheard    live, without the facts of the batches in `unheard` (an array).
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from decimal import Decimal
from typing import Any, Literal

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import ARRAY, BIT, array
from sqlalchemy.dialects.postgresql.psycopg import PGDialect_psycopg

from marketing_ops.errors import FatalError
from marketing_ops.segments import names, predicates
from marketing_ops.segments.definition import Constant, Registry, Resolved, leaves, resolve
from marketing_ops.segments.grammar import (
    AllRule,
    AnyRule,
    AttributeRule,
    ConsentRule,
    EventRule,
    NoneRule,
    NotRule,
    SampleRule,
    condition_of,
)
from marketing_ops.segments.predicates import INSTANT, Expression, Value
from marketing_ops.segments.tables import REAL, Tables
from marketing_ops.segments.values import When, end_of, start_of
from marketing_ops.settings import settings

Mode = Literal["live", "as_of", "known_at", "unheard"]
EVERYONE = "mkt_core.contacts"
"""The scope that is no restriction."""

_DIALECT: Any = PGDialect_psycopg()  # type: ignore[no-untyped-call]
_SAMPLE_BITS = 28


@dataclass(frozen=True)
class Statement:
    """SQL with `%(name)s` parameters and the values bound to them.

    The caller adds `at` (an aware instant) and, by mode, `batch` or `unheard`.
    """

    sql: str
    params: dict[str, Any]


def rule_sql(
    rule: Any,
    *,
    scope: str = EVERYONE,
    registry: Registry,
    mode: Mode = "live",
    prefix: str = "p",
) -> tuple[str, dict[str, Any]]:
    """A select of the `contact_id`s of relation `scope` for whom `rule` holds at `%(at)s`.

    Args:
        scope: a table, view or CTE with a column contact_id, unique in it.
        registry: the segments that nested `segment` rules may name.
        prefix: begins the names of the parameters, so that statements can be combined.
    """
    compiler = Compiler(scope, mode=mode, prefix=prefix)
    tree = resolve(rule, registry)
    compiler.collect(tree)
    source, contact_id, is_there = compiler.people()
    query = sa.select(contact_id).select_from(source).where(*is_there, compiler.holds(tree))
    statement = render(query)
    return statement.sql, statement.params


def members_sql(
    trees: Mapping[str, Resolved],
    *,
    scope: str = EVERYONE,
    mode: Mode = "live",
    tables: Tables = REAL,
) -> Statement:
    """A select of (contact_id, segment) for every resolved rule of `trees`, in one pass."""
    compiler = Compiler(scope, mode=mode, tables=tables)
    for tree in trees.values():
        compiler.collect(tree)
    source, contact_id, is_there = compiler.people()
    names_of = [
        sa.case((compiler.holds(tree), compiler.bind(name, sa.Text)))
        for name, tree in trees.items()
    ]
    found = sa.func.unnest(sa.func.array_remove(array(names_of), sa.null()))
    query = sa.select(contact_id, found.label("segment")).select_from(source)
    return render(query.where(*is_there))


def render(query: sa.Select[Any]) -> Statement:
    """A query as SQL for psycopg and the values of its parameters."""
    compiled = query.compile(dialect=_DIALECT)
    bound = {name: value for name, value in compiled.params.items() if value is not None}
    return Statement(str(compiled), bound)


@dataclass
class _EventGroup:
    """One scan: events of one type that meet one `where`, and the aggregates taken of them."""

    rule: EventRule
    aggregates: dict[str, EventRule] = field(default_factory=dict)


class Compiler:
    """Collects what rules need, then says how to get it: `collect`, `people`, `holds`."""

    def __init__(
        self, scope: str, *, mode: Mode = "live", prefix: str = "p", tables: Tables = REAL
    ) -> None:
        if re.fullmatch(r"[a-z_][a-z0-9_]*(\.[a-z_][a-z0-9_]*)?", scope) is None:
            raise FatalError(f"`{scope}` is not the name of a relation")
        self.tables = tables
        self.mode = mode
        self.zone = settings().reporting_timezone
        self.prefix = prefix
        self.at: Expression = sa.bindparam("at", type_=INSTANT)
        self._relation = None if scope == EVERYONE else tables.named(scope)
        self.contacts = tables.contacts.alias("c")
        self._events: dict[str, _EventGroup] = {}
        self._consents: dict[str, ConsentRule] = {}
        self._columns: dict[str, Expression] = {}
        self._attributes: Any = self.contacts
        self._count = 0

    def bind(self, value: Any, type_: Any) -> Expression:
        """A parameter of its own name for `value`."""
        self._count += 1
        return sa.bindparam(f"{self.prefix}{self._count}", value, type_=type_)

    # What is needed -------------------------------------------------------------------------

    def collect(self, tree: Resolved) -> None:
        """Note the aggregates and consents that `tree` reads; equal ones are noted once."""
        for leaf in leaves(tree):
            if isinstance(leaf, EventRule):
                group = self._events.setdefault(_group_key(leaf), _EventGroup(leaf))
                group.aggregates.setdefault(_aggregate_key(leaf), leaf)
            elif isinstance(leaf, ConsentRule):
                self._consents.setdefault(leaf.consent.model_dump_json(), leaf)

    # Where it comes from --------------------------------------------------------------------

    def people(self) -> tuple[Any, Expression, list[Expression]]:
        """(from-clause, contact_id, conditions): one row for each living contact of the scope."""
        contacts = self.contacts
        contact_id = contacts.c.contact_id
        source: Any = contacts
        if self._relation is not None:
            scope = self._relation.alias("s")
            source = scope.join(contacts, contact_id == scope.c.contact_id)
        is_there: list[Expression] = [contacts.c.created_at <= self.at]
        if self.mode == "live":
            is_there.append(sa.not_(contacts.c.is_deleted))
        else:
            history = self._history()
            source = source.join(history, history.c.contact_id == contact_id)
            is_there += [sa.not_(history.c.is_deleted), sa.not_(self._is_merged_away())]
            self._attributes = history
        for number, (key, group) in enumerate(self._events.items(), start=1):
            events = self._event_columns(group, f"e{number}")
            source = source.outerjoin(events, events.c.contact_id == contact_id)
            for position, name in enumerate(group.aggregates, start=1):
                self._columns[f"{key}|{name}"] = events.c[f"a{position}"]
        for number, (key, rule) in enumerate(self._consents.items(), start=1):
            source = self._with_consent(source, key, rule, f"n{number}", contact_id)
        return source, contact_id, is_there

    def _event_columns(self, group: _EventGroup, name: str) -> Any:
        """Per-contact aggregates of one group of events, as a derived table."""
        events = self._event_source()
        source = self._in_scope(events)
        conditions = [
            events.c.event_type == self.bind(group.rule.event, sa.Text),
            events.c.occurred_at <= self.at,
            sa.not_(events.c.is_machine),
            *self._known(events),
            *self._where(events, group.rule),
        ]
        rules = list(group.aggregates.values())
        windows = {_window_key(rule) for rule in rules}
        is_shared = len(windows) == 1
        if is_shared:
            conditions += self._in_window(events, rules[0])
        else:
            conditions += self._widest(events, rules)
        columns = []
        for position, rule in enumerate(rules, start=1):
            column = self._aggregate(events, rule)
            inside = [] if is_shared else self._in_window(events, rule)
            if rule.currency is not None:
                inside.append(events.c.currency == self.bind(rule.currency, sa.Text))
            kept = column.filter(sa.and_(*inside)) if inside else column
            columns.append(kept.label(f"a{position}"))
        query = sa.select(events.c.contact_id, *columns).select_from(source).where(*conditions)
        return query.group_by(events.c.contact_id).subquery(name)

    def _event_source(self) -> Any:
        """The events; under known_at, versions that were replaced later stand in for theirs."""
        events, versions = self.tables.events, self.tables.event_versions
        if self.mode != "known_at":
            return events.alias("e")
        shared = [column.name for column in versions.c if column.name != "gone_batch"]
        never = sa.cast(sa.null(), sa.BigInteger).label("gone_batch")
        # Conditions inside the arms would keep Postgres from looking a few contacts up by index.
        current = sa.select(*(events.c[name] for name in shared), never)
        replaced = sa.select(*(versions.c[name] for name in shared), versions.c.gone_batch)
        return sa.union_all(current, replaced).subquery("e")

    def _known(self, table: Any) -> list[Expression]:
        """Which facts of a table with a `batch` the mode may see."""
        if self.mode == "known_at":
            batch = sa.bindparam("batch", type_=sa.BigInteger)
            known = [table.c.batch <= batch]
            if "gone_batch" in table.c:
                gone = table.c.gone_batch
                known.append(sa.or_(gone.is_(None), gone > batch))
            return known
        if self.mode == "unheard":
            batches = sa.bindparam("unheard", type_=ARRAY(sa.BigInteger))
            return [table.c.batch != sa.func.all(batches)]
        return []

    def _where(self, events: Any, rule: EventRule) -> list[Expression]:
        found = []
        for name, given in rule.where.items():
            condition = condition_of(given)
            if name == "campaign":
                campaigns = self.tables.campaigns.alias("k")
                value = Value("text", campaigns.c.campaign)
                ids = sa.select(campaigns.c.campaign_id).where(self._compare(value, condition))
                found.append(events.c.campaign_id.in_(ids))
            elif name == "product_category":
                found.append(self._bought(events, condition))
            elif name in names.EVENT_FIELDS:
                value = Value(names.EVENT_FIELDS[name], events.c[name])
                found.append(self._compare(value, condition))
            else:
                value = predicates.member(
                    events.c.properties, name.removeprefix("properties."), self.bind
                )
                found.append(self._compare(value, condition))
        return found

    def _bought(self, events: Any, condition: Any) -> Expression:
        """Whether a line of the event's order is of such a category."""
        lines, products = self.tables.order_lines.alias("l"), self.tables.products.alias("g")
        return sa.exists(
            sa.select(sa.literal_column("1"))
            .select_from(lines.join(products, products.c.product_id == lines.c.product_id))
            .where(
                lines.c.order_id == events.c.order_id,
                self._compare(Value("text", products.c.category), condition),
            )
        )

    def _compare(self, value: Value, condition: Any) -> Expression:
        return predicates.comparison(value, condition, self.bind, self.zone)

    def _aggregate(self, events: Any, rule: EventRule) -> Any:
        if rule.aggregate == "count":
            return sa.func.count()
        field_name = str(rule.of)
        if field_name.startswith("properties."):
            value = predicates.member(
                events.c.properties, field_name.removeprefix("properties."), self.bind
            )
        elif field_name == "amount":
            own = rule.currency is not None
            value = Value("number", events.c.amount if own else events.c.reporting_amount)
        elif field_name == "campaign":
            value = Value("number", events.c.campaign_id)
        else:
            value = Value("text", events.c[field_name])
        if rule.aggregate == "distinct":
            return sa.func.count(value.column.distinct())
        functions: dict[str, Any] = {"sum": sa.func.sum, "min": sa.func.min, "max": sa.func.max}
        functions["avg"] = sa.func.avg
        return functions[rule.aggregate](value.number)

    def _in_window(self, events: Any, rule: EventRule) -> list[Expression]:
        """An event counts from its instant until, not at, the end of its span."""
        start, end = rule.window()
        found = []
        if isinstance(start, timedelta):
            found.append(events.c.occurred_at > self.at - predicates.span(start, self.bind))
        elif start is not None:
            found.append(events.c.occurred_at >= self.bind(start_of(start, self.zone), INSTANT))
        if isinstance(end, timedelta):
            found.append(events.c.occurred_at <= self.at - predicates.span(end, self.bind))
        elif end is not None:
            edge = start_of if rule.before is not None else end_of
            found.append(events.c.occurred_at < self.bind(edge(end, self.zone), INSTANT))
        return found

    def _widest(self, events: Any, rules: list[EventRule]) -> list[Expression]:
        """The bound that all windows share, so that older events are not read."""
        starts: list[When | None] = [rule.window()[0] for rule in rules]
        spans = [start for start in starts if isinstance(start, timedelta)]
        if len(spans) < len(starts):
            return []
        return [events.c.occurred_at > self.at - predicates.span(max(spans), self.bind)]

    def _with_consent(
        self, source: Any, key: str, rule: ConsentRule, name: str, contact_id: Expression
    ) -> Any:
        wanted = rule.consent
        if self.mode == "live":
            consents = self.tables.consent_now.alias(name)
            on = [consents.c.contact_id == contact_id, *self._consent_key(consents, wanted)]
        else:
            consents = self._consent_then(wanted, name)
            on = [consents.c.contact_id == contact_id]
        self._columns[key] = consents.c.status
        return source.outerjoin(consents, sa.and_(*on))

    def _consent_key(self, consents: Any, wanted: Any) -> list[Expression]:
        return [
            consents.c.brand == self.bind(wanted.brand, sa.Text),
            consents.c.channel == self.bind(wanted.channel, sa.Text),
            consents.c.topic == self.bind(wanted.topic, sa.Text),
        ]

    def _consent_then(self, wanted: Any, name: str) -> Any:
        """Each contact's latest consent; at one instant the refusal wins."""
        consents = self.tables.consents.alias("q")
        refusal_first = sa.case(
            (consents.c.status == sa.literal_column("'denied'"), sa.literal_column("0")),
            (consents.c.status == sa.literal_column("'pending'"), sa.literal_column("1")),
            else_=sa.literal_column("2"),
        )
        conditions = self._consent_key(consents, wanted)
        if self.mode == "as_of":
            conditions.append(consents.c.changed_at <= self.at)
        order = [consents.c.changed_at.desc(), refusal_first]
        return self._latest(consents, [consents.c.status], conditions, order, name)

    def _history(self) -> Any:
        """Each contact's attributes then; the first observation holds before it was made, too."""
        history = self.tables.contact_history.alias("v")
        order: list[Any] = [history.c.valid_from.desc(), history.c.batch.desc()]
        if self.mode == "as_of":
            was_valid = history.c.valid_from <= self.at
            then = sa.case((was_valid, history.c.valid_from))
            order = [then.desc().nulls_last(), history.c.valid_from, history.c.batch.desc()]
        columns = [column for column in history.c if column.name != "contact_id"]
        return self._latest(history, columns, [], order, "h")

    def _latest(
        self,
        table: Any,
        columns: list[Any],
        conditions: list[Expression],
        order: list[Any],
        name: str,
    ) -> Any:
        """Of each contact the first row by `order`, among those the mode may see."""
        contact_id = table.c.contact_id
        place = sa.func.row_number().over(partition_by=contact_id, order_by=order)
        ranked = (
            sa.select(contact_id, *columns, place.label("place"))
            .select_from(self._in_scope(table))
            .where(*conditions, *self._known(table))
            .subquery(f"{name}_ranked")
        )
        first = ranked.c.place == predicates.literal(1)
        kept = [column for column in ranked.c if column.name != "place"]
        return sa.select(*kept).where(first).subquery(name)

    def _in_scope(self, table: Any) -> Any:
        """The table's rows of the scope: a small scope reads them by index, contact by contact."""
        if self._relation is None:
            return table
        scope = self._relation.alias("t")
        return scope.join(table, table.c.contact_id == scope.c.contact_id)

    def _is_merged_away(self) -> Expression:
        merges = self.tables.contact_merges.alias("m")
        conditions = [
            merges.c.from_contact_id == self.contacts.c.contact_id,
            merges.c.undone_batch.is_(None),
            *self._known(merges),
        ]
        return sa.exists(sa.select(sa.literal_column("1")).select_from(merges).where(*conditions))

    # Whether a rule holds -------------------------------------------------------------------

    def holds(self, tree: Resolved) -> Expression:
        """The rule as a boolean over what `people` joined; never null."""
        if isinstance(tree, AllRule):
            return sa.and_(*(self.holds(child) for child in tree.all_))
        if isinstance(tree, AnyRule):
            return sa.or_(*(self.holds(child) for child in tree.any_))
        if isinstance(tree, NoneRule):
            return sa.not_(sa.or_(*(self.holds(child) for child in tree.none_)))
        if isinstance(tree, NotRule):
            return sa.not_(self.holds(tree.not_))
        if isinstance(tree, EventRule):
            return self._event_holds(tree)
        if isinstance(tree, AttributeRule):
            return self.attribute_holds(tree, self.at)
        if isinstance(tree, ConsentRule):
            status = self._columns[tree.consent.model_dump_json()]
            return sa.func.coalesce(status == sa.literal_column("'granted'"), sa.false())
        if isinstance(tree, SampleRule):
            return self._is_sampled(tree)
        if isinstance(tree, Constant):
            return sa.true() if tree.is_true else sa.false()
        raise FatalError(f"no rule of the grammar: {type(tree).__name__}")

    def _event_holds(self, rule: EventRule) -> Expression:
        column = self._columns[f"{_group_key(rule)}|{_aggregate_key(rule)}"]
        is_zero = rule.aggregate in ("count", "sum", "distinct")
        if is_zero:
            # Of no events these are zero; the smallest, largest and average are unknown.
            column = sa.func.coalesce(column, sa.literal_column("0"))
        parts = [
            predicates.compare(column, name, self.bind(operand, sa.Numeric))
            for name, operand in rule.comparisons()
        ]
        holds = sa.and_(*parts)
        return holds if is_zero else sa.func.coalesce(holds, sa.false())

    def attribute_holds(self, rule: AttributeRule, at: Expression) -> Expression:
        """An attribute rule seen from the instant `at`; see `flips` for why it is an argument."""
        name = rule.attribute
        if name in names.COLUMNS:
            has_history = self.mode != "live" and name not in names.WITHOUT_HISTORY
            source = self._attributes if has_history else self.contacts
            value = Value(names.COLUMNS[name], source.c[name])
        else:
            key = name.removeprefix("attributes.")
            value = predicates.member(self._attributes.c.attributes, key, self.bind)
        parts = [self._compare(value, rule)]
        if has_date_rule(rule):
            parts.append(predicates.date_rule(value, rule, at, self.bind, self.zone))
        return sa.and_(*parts)

    def _is_sampled(self, rule: SampleRule) -> Expression:
        """Whether the hash of salt and contact falls into the share: md5, the same everywhere."""
        salted = self.bind(f"{rule.sample.salt}:", sa.Text).concat(
            sa.cast(self.contacts.c.contact_id, sa.Text)
        )
        first = sa.func.substr(
            sa.func.md5(salted), predicates.literal(1), predicates.literal(_SAMPLE_BITS // 4)
        )
        digits = sa.literal_column("'x'").concat(first)
        number = sa.cast(sa.cast(digits, BIT(_SAMPLE_BITS)), sa.Integer)
        share = round(Decimal(str(rule.sample.percent)) * 2**_SAMPLE_BITS)
        return number < self.bind(share, sa.Integer)


def has_date_rule(rule: AttributeRule) -> bool:
    """Whether the rule looks at a date from the present."""
    spans = (rule.within, rule.before, rule.anniversary_within)
    return any(span is not None for span in spans)


def _dumped(value: Any) -> str:
    return json.dumps(value, default=repr, sort_keys=True)


def _group_key(rule: EventRule) -> str:
    where = {name: condition_of(given).model_dump() for name, given in rule.where.items()}
    return _dumped([rule.event, where])


def _aggregate_key(rule: EventRule) -> str:
    return _dumped([rule.aggregate, rule.of, rule.currency, _window_key(rule)])


def _window_key(rule: EventRule) -> str:
    return _dumped([*rule.window(), rule.before is not None])
