"""Conditions of campaigns as SQL: segment rules for the people at hand, and frozen properties."""

from __future__ import annotations

import re
from typing import Any

from psycopg.types.json import Jsonb
from pydantic import TypeAdapter

from marketing_ops import sqlfile
from marketing_ops.segments.compiler import rule_sql
from marketing_ops.segments.definition import Registry, SegmentFile, references
from marketing_ops.segments.grammar import Rule

Condition = tuple[str, dict[str, Any]]
"""SQL that is true, false or null for one row `d`, and the parameters it needs."""

_RULE: TypeAdapter[Any] = TypeAdapter(Rule)
_ORDER = {"gt": ">", "gte": ">=", "lt": "<", "lte": "<="}
_MARKS = re.compile(r"/\* rule \*/.*?/\* end \*/", re.DOTALL)


def parse(rule: Any) -> Any:
    """The rule of an `if`, checked. Raises pydantic's ValidationError."""
    return _RULE.validate_python(rule)


def segments_of(rule: Any) -> list[str]:
    """The segments that a rule names, not those they name in turn."""
    return references(parse(rule))


def registry(frozen: dict[str, Any]) -> Registry:
    """The segments of a version, as they were when it went live."""
    return {name: SegmentFile.model_validate(document) for name, document in frozen.items()}


def segment_condition(rule: Any, known: Registry) -> Condition:
    """Whether contact `d.contact_id`, one of `tick_scope`, meets the rule.

    By what was known at the tick: facts of batches up to `%(batch)s`, at the instant `%(at)s`.
    """
    sql, params = rule_sql(
        parse(rule), scope="tick_scope", registry=known, mode="known_at", prefix="rule_"
    )
    return f"d.contact_id in ({sql})", params


def property_condition(wanted: dict[str, Any]) -> Condition:
    """Whether the properties `d.props` are as `wanted`: name -> value, list or comparisons.

    Order (gt, gte, lt, lte) is that of numbers; a property that is not there meets nothing
    but `neq`.
    """
    parts: list[str] = []
    params: dict[str, Any] = {}

    def bind(value: Any) -> str:
        name = f"prop_{len(params)}"
        params[name] = value
        return f"%({name})s"

    for name, given in wanted.items():
        prop = f"(d.props -> {bind(name)}::text)"
        comparisons = given if isinstance(given, dict) else {"in": given}
        for comparison, operand in comparisons.items():
            parts.append(_comparison(prop, comparison, operand, bind))
    return " and ".join(parts) or "true", params


def _comparison(prop: str, comparison: str, operand: Any, bind: Any) -> str:
    if comparison in _ORDER:
        number = f"case when jsonb_typeof({prop}) = 'number' then ({prop} #>> '{{}}')::numeric end"
        return f"({number}) {_ORDER[comparison]} {bind(operand)}::numeric"
    operands = operand if isinstance(operand, list) else [operand]
    # 17 and "17" are the same key to a person who writes YAML
    texts = [_text(item) for item in operands]
    same = (
        f"coalesce({bind(Jsonb(operands))} @> {prop}"
        f" or {prop} #>> '{{}}' = any({bind(texts)}::text[]), false)"
    )
    return f"not {same}" if comparison == "neq" else same


def _text(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def into(file: str, condition: Condition) -> str:
    """include/sql/<file>.sql with the condition in the place it is marked."""
    sql, _ = condition
    return _MARKS.sub(lambda _: sql, sqlfile.load(file))
