"""Comparisons of one value as SQL. Every value is bound; nothing a user wrote becomes SQL text."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from decimal import Decimal
from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import ARRAY, JSONB

from marketing_ops.segments.grammar import AttributeRule, Condition
from marketing_ops.segments.names import Kind
from marketing_ops.segments.values import end_of, is_number, start_of

Expression = sa.ColumnElement[Any]
Bind = Callable[[Any, Any], Expression]
"""A new bound parameter of (value, SQL type)."""

INSTANT = sa.DateTime(timezone=True)
_NUMBER = sa.literal_column(r"'^-?[0-9]{1,30}([.][0-9]{1,30})?$'", sa.Text)
_DAY = sa.literal_column(r"'^[12][0-9]{3}-(0[1-9]|1[0-2])-(0[1-9]|[12][0-9]|3[01])'", sa.Text)


@dataclass(frozen=True)
class Value:
    """What is compared: a column (`text`, `number`, `date`, `instant`) or a member of a jsonb."""

    kind: Kind
    column: Expression
    json: Expression | None = None

    @property
    def number(self) -> Expression:
        """The value as a number, null when it is none: sources write numbers as text, too."""
        if self.kind == "number":
            return self.column
        return sa.case((self.column.op("~")(_NUMBER), sa.cast(self.column, sa.Numeric)))

    @property
    def day(self) -> Expression:
        """The value as a date, null when it is none. 31 February is 3 March, never an error."""
        if self.kind == "date":
            return self.column
        month = sa.func.substr(self.column, literal(1), literal(7)).concat(
            sa.literal_column("'-01'")
        )
        first = sa.func.to_date(month, sa.literal_column("'YYYY-MM-DD'"))
        rest: Expression = sa.cast(sa.func.substr(self.column, literal(9), literal(2)), sa.Integer)
        rest = rest - literal(1)
        return sa.case((self.column.op("~")(_DAY), sa.cast(first, sa.Date) + rest))


def member(json: Expression, key: str, bind: Bind) -> Value:
    """The member `key` of a jsonb column."""
    name = bind(key, sa.Text)
    return Value("json", json.op("->>")(name), json.op("->", return_type=JSONB())(name))


def comparison(value: Value, rule: Condition, bind: Bind, zone: str) -> Expression:
    """True or false, never null: whether `value` meets every comparison of `rule`."""
    parts: list[Expression] = []
    if rule.eq is not None:
        parts.append(_or_false(_equals(value, [rule.eq], bind, zone)))
    if rule.neq is not None:
        parts.append(sa.not_(_or_false(_equals(value, [rule.neq], bind, zone))))
    if rule.in_ is not None:
        parts.append(_or_false(_equals(value, rule.in_, bind, zone)))
    if rule.not_in is not None:
        parts.append(sa.not_(_or_false(_equals(value, rule.not_in, bind, zone))))
    parts += [_or_false(_ordered(value, *pair, bind, zone)) for pair in rule.ordered()]
    if rule.contains is not None:
        parts.append(_or_false(_contains(value, rule.contains, bind)))
    if rule.starts_with is not None:
        text = bind(rule.starts_with, sa.Text)
        begins = sa.func.starts_with(sa.func.lower(value.column), sa.func.lower(text))
        parts.append(_or_false(begins))
    if rule.exists is not None:
        parts.append(value.column.isnot(None) if rule.exists else value.column.is_(None))
    return sa.and_(sa.true(), *parts)


def _or_false(expression: Expression) -> Expression:
    return sa.func.coalesce(expression, sa.false())


def _equals(value: Value, operands: list[Any], bind: Bind, zone: str) -> Expression:
    if value.kind == "text":
        return _any(value.column, [plain_text(one) for one in operands], sa.Text, bind)
    if value.kind == "date":
        days = [_as_day(one) for one in operands]
        return _any(value.column, [day for day in days if day is not None], sa.Date, bind)
    if value.kind == "instant":
        spans = [
            sa.and_(
                value.column >= bind(start_of(day, zone), INSTANT),
                value.column < bind(end_of(day, zone), INSTANT),
            )
            for day in map(_as_day, operands)
            if day is not None
        ]
        return sa.or_(sa.false(), *spans)
    return _equals_untyped(value, operands, bind)


def _equals_untyped(value: Value, operands: list[Any], bind: Bind) -> Expression:
    """Numbers are compared as numbers, days as days, the rest as text."""
    numbers = [Decimal(one) for one in operands if is_number(one)]
    days = [_as_day(one) for one in operands if isinstance(one, date)]
    texts = [
        plain_text(one) for one in operands if not is_number(one) and not isinstance(one, date)
    ]
    parts: list[Expression] = []
    if numbers:
        parts.append(_any(value.number, numbers, sa.Numeric, bind))
    if days:
        parts.append(_any(value.day, days, sa.Date, bind))
    if texts and value.kind != "number":
        parts.append(_any(value.column, texts, sa.Text, bind))
    return sa.or_(sa.false(), *parts)


def _any(column: Expression, operands: list[Any], type_: Any, bind: Bind) -> Expression:
    if len(operands) == 1:
        return column == bind(operands[0], type_)
    return column == sa.func.any(bind(operands, ARRAY(type_)))


def _ordered(value: Value, name: str, operand: Any, bind: Bind, zone: str) -> Expression:
    if isinstance(operand, Decimal):
        left, right = value.number, bind(operand, sa.Numeric)
    elif value.kind == "instant":
        # A bare day is a whole day: `gt` means after it, `lte` up to its end.
        edge = end_of if name in ("gt", "lte") else start_of
        left, right = value.column, bind(edge(operand, zone), INSTANT)
        if type(operand) is date:
            name = {"gt": "gte", "lte": "lt"}.get(name, name)
    else:
        left, right = value.day, bind(_as_day(operand), sa.Date)
    return compare(left, name, right)


def compare(left: Expression, name: str, right: Expression) -> Expression:
    """`left` compared with `right` by the comparison a user names."""
    found: dict[str, Callable[[], Expression]] = {
        "eq": lambda: left == right,
        "neq": lambda: left != right,
        "gt": lambda: left > right,
        "gte": lambda: left >= right,
        "lt": lambda: left < right,
        "lte": lambda: left <= right,
    }
    return found[name]()


def _contains(value: Value, text: str, bind: Bind) -> Expression:
    """Part of a text, whatever its case; of a list, one of its items exactly."""
    words = bind(text, sa.Text)
    is_part = sa.func.strpos(sa.func.lower(value.column), sa.func.lower(words)) > literal(0)
    if value.json is None:
        return is_part
    is_list = sa.func.jsonb_typeof(value.json) == sa.literal_column("'array'")
    return sa.case((is_list, value.json.op("@>")(sa.func.to_jsonb(words))), else_=is_part)


def date_rule(
    value: Value, rule: AttributeRule, at: Expression, bind: Bind, zone: str
) -> Expression:
    """True or false: whether a date lies in the spans of `rule`, seen from the instant `at`.

    Days are days of `zone`. A bare date on the file's side is that day's start.
    """
    parts: list[Expression] = []
    if value.kind == "instant":
        if rule.within is not None:
            parts += [value.column > at - span(rule.within, bind), value.column <= at]
        if isinstance(rule.before, timedelta):
            parts.append(value.column <= at - span(rule.before, bind))
        elif rule.before is not None:
            parts.append(value.column < bind(start_of(rule.before, zone), INSTANT))
        return _or_false(sa.and_(sa.true(), *parts))
    today = sa.cast(sa.func.timezone(bind(zone, sa.Text), at), sa.Date)
    if rule.within is not None:
        parts += [value.day > today - _days(rule.within, bind), value.day <= today]
    if isinstance(rule.before, timedelta):
        parts.append(value.day <= today - _days(rule.before, bind))
    elif rule.before is not None:
        parts.append(value.day < bind(_as_day(rule.before), sa.Date))
    if rule.anniversary_within is not None:
        parts.append(_anniversary(value.day, today, _days(rule.anniversary_within, bind)))
    return _or_false(sa.and_(sa.true(), *parts))


def _anniversary(day: Expression, today: Expression, days: Expression) -> Expression:
    """Whether the day comes round within `days` from today, today included.

    29 February comes round on the 28th in years without one.
    """

    def in_year(shift: int) -> Expression:
        years = (
            sa.cast(sa.extract("year", today), sa.Integer)
            - sa.cast(sa.extract("year", day), sa.Integer)
            + literal(shift)
        )
        return sa.cast(day + sa.func.make_interval(years), sa.Date)

    return sa.or_(*(in_year(shift).between(today, today + days) for shift in (0, 1)))


def span(length: timedelta, bind: Bind) -> Expression:
    """A span of time as a bound interval; sessions are UTC, so a day is 24 hours."""
    return bind(length, sa.Interval)


def _days(length: timedelta, bind: Bind) -> Expression:
    return bind(length.days, sa.Integer)


def literal(number: int) -> Expression:
    """A number of ours in the SQL text, so that parameters are the user's values only."""
    return sa.literal_column(str(int(number)), sa.Integer)


def plain_text(value: Any) -> str:
    """A plain value as the text it is compared as."""
    if isinstance(value, bool):
        return "true" if value else "false"
    return value.isoformat() if isinstance(value, date) else str(value)


def _as_day(value: Any) -> date | None:
    if isinstance(value, datetime):
        return value.date()
    if isinstance(value, date):
        return value
    try:
        return date.fromisoformat(str(value))
    except ValueError:
        return None
