"""The rules of a segment file as pydantic models; see docs/segments.md for what each means."""

from __future__ import annotations

from datetime import timedelta
from decimal import Decimal
from typing import Annotated, Any, Literal, Self

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Discriminator,
    Field,
    Tag,
    field_validator,
    model_validator,
)

from marketing_ops.durations import Share
from marketing_ops.segments import names
from marketing_ops.segments.values import (
    Comparable,
    Number,
    Scalar,
    Span,
    Text,
    When,
    end_of,
    is_moment,
    is_number,
    start_of,
)
from marketing_ops.yamlfile import did_you_mean

MAX_LIST = 10_000
RULE_KEYS = ("attribute", "event", "segment", "consent", "sample", "all", "any", "none", "not")

Values = Annotated[list[Scalar], Field(min_length=1, max_length=MAX_LIST)]


class Strict(BaseModel):
    """A mapping whose unknown keys are errors."""

    model_config = ConfigDict(extra="forbid", frozen=True, populate_by_name=True)

    @model_validator(mode="after")
    def _has_no_empty_key(self) -> Self:
        """A key without a value would silently ask for nothing, and let everyone in."""
        for name in sorted(self.model_fields_set):
            if getattr(self, name) is None:
                key = type(self).model_fields[name].alias or name
                raise ValueError(f"`{key}` is empty: give it a value, or leave the key out")
        return self


class Condition(Strict):
    """Comparisons of one value; all that are given must hold. `neq` and `not_in` hold for
    a value that is missing, every other comparison does not."""

    eq: Scalar | None = None
    neq: Scalar | None = None
    in_: Values | None = Field(default=None, alias="in")
    not_in: Values | None = None
    gt: Comparable | None = None
    gte: Comparable | None = None
    lt: Comparable | None = None
    lte: Comparable | None = None
    contains: Text | None = None
    starts_with: Text | None = None
    exists: bool | None = None

    @model_validator(mode="after")
    def _says_something(self) -> Condition:
        if not self.model_fields_set - {"attribute"}:
            raise ValueError("compares nothing: add for instance `eq:`, `in:` or `exists: true`")
        _check_range(self.gt, self.gte, self.lt, self.lte)
        return self

    def ordered(self) -> list[tuple[str, Any]]:
        """The comparisons of order that are given, as (name, operand)."""
        pairs = [(name, getattr(self, name)) for name in ("gt", "gte", "lt", "lte")]
        return [(name, operand) for name, operand in pairs if operand is not None]


class AttributeRule(Condition):
    """Tests a column of contacts or `attributes.<key>`."""

    attribute: Text
    within: Span | None = Field(default=None, description="a date in this span before now")
    before: When | None = Field(default=None, description="a date that long ago, or before a date")
    anniversary_within: Span | None = Field(default=None, description="whole days from today")

    @field_validator("attribute")
    @classmethod
    def _is_known(cls, value: str) -> str:
        if value in names.COLUMNS or _has_key(value, "attributes."):
            return value
        near = did_you_mean(value, [*names.COLUMNS, f"attributes.{value}"])
        raise ValueError(f"`{value}` is no attribute of contacts.{near}")

    @field_validator("within", "before", "anniversary_within")
    @classmethod
    def _is_positive(cls, value: Any) -> Any:
        if isinstance(value, timedelta) and value < timedelta(0):
            raise ValueError("a span cannot be negative")
        return value

    @model_validator(mode="after")
    def _fits_its_column(self) -> AttributeRule:
        kind = names.COLUMNS.get(self.attribute, "json")
        self._check_dates(kind)
        if kind == "text" and self.ordered():
            raise ValueError(f"`{self.attribute}` is text: gt, gte, lt and lte compare numbers")
        if kind in ("date", "instant"):
            if self.contains or self.starts_with:
                raise ValueError(f"`{self.attribute}` is a date: it has no text to search")
            for name, operand in self.ordered():
                if isinstance(operand, Decimal):
                    raise ValueError(f"`{self.attribute}` is a date: `{name}` needs a date")
            listed = [*(self.in_ or []), *(self.not_in or [])]
            for operand in (self.eq, self.neq, *listed):
                if operand is not None and not is_moment(operand):
                    raise ValueError(f"`{self.attribute}` is a date, `{operand}` is none")
        return self

    def _check_dates(self, kind: str) -> None:
        spans = [self.within, self.before, self.anniversary_within]
        if kind == "text" and any(span is not None for span in spans):
            raise ValueError(f"`{self.attribute}` is text, not a date")
        if self.within == timedelta(0):
            raise ValueError("`within: 0d` is an empty window: nothing is ever in it")
        for span in spans if kind != "instant" else [self.anniversary_within]:
            if isinstance(span, timedelta) and span % timedelta(days=1):
                raise ValueError(f"`{self.attribute}` is a date: count in whole days, as in 7d")
        if self.anniversary_within is not None and self.anniversary_within >= timedelta(days=365):
            raise ValueError("an anniversary comes every year: use less than 365d")


def _condition_kind(value: Any) -> str:
    if isinstance(value, dict | Condition):
        return "<mapping>"
    return "<list>" if isinstance(value, list) else "<value>"


WhereValue = Annotated[
    Annotated[Condition, Tag("<mapping>")]
    | Annotated[Values, Tag("<list>")]
    | Annotated[Scalar, Tag("<value>")],
    Discriminator(_condition_kind),
]


def condition_of(value: Any) -> Condition:
    """What follows a field in `where`: a value means `eq`, a list means `in`."""
    if isinstance(value, Condition):
        return value
    return Condition(in_=value) if isinstance(value, list) else Condition(eq=value)


def _pair_kind(value: Any) -> str:
    numbers = isinstance(value, list | tuple) and all(
        isinstance(item, int | float | Decimal) and not isinstance(item, bool) for item in value
    )
    return "<numbers>" if numbers else "<window>"


Between = Annotated[
    Annotated[tuple[Number, Number], Tag("<numbers>")]
    | Annotated[tuple[When, When], Tag("<window>")],
    Discriminator(_pair_kind),
]


class EventRule(Strict):
    """Compares an aggregate over a contact's events of one type; without a comparison: at least
    one event. `between` of two numbers compares the aggregate, of two dates or spans it is the
    window."""

    event: Text
    aggregate: Literal["count", "sum", "min", "max", "avg", "distinct"] = "count"
    of: Text | None = None
    currency: Text | None = None
    eq: Number | None = None
    neq: Number | None = None
    gt: Number | None = None
    gte: Number | None = None
    lt: Number | None = None
    lte: Number | None = None
    between: Between | None = None
    within: Span | None = None
    before: When | None = None
    where: dict[str, WhereValue] = Field(default_factory=dict)

    @field_validator("event")
    @classmethod
    def _event_is_known(cls, value: str) -> str:
        if value not in names.EVENT_TYPES:
            raise ValueError(
                f"`{value}` is no event type.{did_you_mean(value, list(names.EVENT_TYPES))}"
            )
        return value

    @field_validator("where")
    @classmethod
    def _fields_are_known(cls, value: dict[str, Any]) -> dict[str, Any]:
        for name in value:
            if name not in names.EVENT_FIELDS and not _has_key(name, "properties."):
                near = did_you_mean(name, [*names.EVENT_FIELDS, f"properties.{name}"])
                raise ValueError(f"`{name}` is no field of events.{near}")
        if "amount" in value:
            _check_numeric("amount", condition_of(value["amount"]))
        return value

    @model_validator(mode="after")
    def _is_possible(self) -> EventRule:
        self._check_aggregate()
        self._check_window()
        _check_range(self.gt, self.gte, self.lt, self.lte)
        if self.aggregate in ("count", "distinct") and self._never_negative_contradicted():
            raise ValueError(f"a {self.aggregate} is never below 0: nobody can be in here")
        if "product_category" in self.where and self.event not in names.ORDER_EVENTS:
            raise ValueError(f"`{self.event}` has no products: only order events have categories")
        return self

    def comparisons(self) -> list[tuple[str, Decimal]]:
        """What the aggregate is compared with, as (operator, number); all must hold."""
        pairs = [(name, getattr(self, name)) for name in ("eq", "neq", "gt", "gte", "lt", "lte")]
        found = [(name, operand) for name, operand in pairs if operand is not None]
        if self.between is not None and isinstance(self.between[0], Decimal):
            low, high = self.between
            found += [("gte", low), ("lte", high)]
        return found or [("gte", Decimal(1))]

    def window(self) -> tuple[When | None, When | None]:
        """(from, to) of the events that count; None means unbounded (to: the present)."""
        if self.within is not None:
            return self.within, None
        if self.before is not None:
            return None, self.before
        if self.between is not None and not isinstance(self.between[0], Decimal):
            return self.between[0], self.between[1]
        return None, None

    def _check_aggregate(self) -> None:
        has_comparison = self.model_fields_set & {"eq", "neq", "gt", "gte", "lt", "lte"} or (
            self.between is not None and isinstance(self.between[0], Decimal)
        )
        if self.aggregate == "count":
            if self.of is not None:
                raise ValueError("`of` belongs to sum, min, max, avg or distinct: add `aggregate:`")
        elif self.of is None:
            raise ValueError(f"`{self.aggregate}` needs `of:`, for instance `of: amount`")
        elif not has_comparison:
            raise ValueError(f"`{self.aggregate}` needs a comparison, for instance `gte:`")
        known = names.DISTINCT_FIELDS if self.aggregate == "distinct" else names.SUMMABLE
        if self.of is not None and self.of not in known and not _has_key(self.of, "properties."):
            near = did_you_mean(self.of, [*known, f"properties.{self.of}"])
            raise ValueError(f"`of: {self.of}` cannot be aggregated by {self.aggregate}.{near}")
        if self.currency is not None and self.of != "amount":
            raise ValueError("`currency` belongs to `of: amount`")

    def _check_window(self) -> None:
        given = [name for name in ("within", "before") if getattr(self, name) is not None]
        start, end = self.window()
        if self.between is not None and not isinstance(self.between[0], Decimal):
            given.append("between")
        if len(given) > 1:
            raise ValueError(f"has {' and '.join(given)}: one window at a time")
        if self.within == timedelta(0):
            raise ValueError("`within: 0d` is an empty window: nothing is ever in it")
        if "between" in given and start is not None and end is not None:
            if isinstance(start, timedelta) and isinstance(end, timedelta):
                is_empty = start <= end
            elif isinstance(start, timedelta) or isinstance(end, timedelta):
                is_empty = False
            else:
                is_empty = start_of(start, "UTC") >= end_of(end, "UTC")
            if is_empty:
                raise ValueError("the window ends before it begins: write [from, to], oldest first")

    def _never_negative_contradicted(self) -> bool:
        for name, operand in self.comparisons():
            if name == "lt" and operand <= 0:
                return True
            if name in ("lte", "eq") and operand < 0:
                return True
        return False


class SegmentRule(Strict):
    """Membership of another segment, evaluated inline at the same instant."""

    segment: Text


class ConsentKey(Strict):
    """Which consent; no record means not granted."""

    brand: Text
    channel: Text = "email"
    topic: Text = "marketing"


class ConsentRule(Strict):
    """Consent is granted."""

    consent: ConsentKey


class SampleKey(Strict):
    """A share of all contacts, the same ones for the same salt."""

    percent: Share
    salt: Text


class SampleRule(Strict):
    """A reproducible random share of contacts."""

    sample: SampleKey


class AllRule(Strict):
    """Every rule holds."""

    all_: list[Rule] = Field(alias="all", min_length=1)


class AnyRule(Strict):
    """At least one rule holds."""

    any_: list[Rule] = Field(alias="any", min_length=1)


class NoneRule(Strict):
    """No rule holds."""

    none_: list[Rule] = Field(alias="none", min_length=1)


class NotRule(Strict):
    """The rule does not hold."""

    not_: Rule = Field(alias="not")


_TYPES: dict[type[BaseModel], str] = {
    AttributeRule: "attribute",
    EventRule: "event",
    SegmentRule: "segment",
    ConsentRule: "consent",
    SampleRule: "sample",
    AllRule: "all",
    AnyRule: "any",
    NoneRule: "none",
    NotRule: "not",
}


def _leading_key(value: Any) -> str | None:
    """The tag of the rule; angle brackets keep it apart from the document's own keys."""
    if isinstance(value, dict):
        found = next((str(key) for key in value if key in RULE_KEYS), None)
    else:
        found = _TYPES.get(type(value))
    return f"<{found}>" if found else None


def _begins_like_a_rule(value: Any) -> Any:
    if not isinstance(value, dict):
        if type(value) in _TYPES:
            return value
        raise ValueError(f"is not a rule: a rule begins with one of {', '.join(RULE_KEYS)}")
    if not value:
        raise ValueError("is an empty rule")
    if any(key in RULE_KEYS for key in value):
        return value
    keys = [str(key) for key in value]
    later = [key for key in keys if key in names.LATER_RULES]
    if later:
        raise ValueError(f"`{later[0]}` rules are not available yet")
    for key in keys:
        near = did_you_mean(key, list(RULE_KEYS))
        if near:
            raise ValueError(f"`{key}` begins no rule.{near}")
    raise ValueError(f"`{keys[0]}` begins no rule: use one of {', '.join(RULE_KEYS)}")


Rule = Annotated[
    Annotated[AttributeRule, Tag("<attribute>")]
    | Annotated[EventRule, Tag("<event>")]
    | Annotated[SegmentRule, Tag("<segment>")]
    | Annotated[ConsentRule, Tag("<consent>")]
    | Annotated[SampleRule, Tag("<sample>")]
    | Annotated[AllRule, Tag("<all>")]
    | Annotated[AnyRule, Tag("<any>")]
    | Annotated[NoneRule, Tag("<none>")]
    | Annotated[NotRule, Tag("<not>")],
    Discriminator(_leading_key),
    BeforeValidator(_begins_like_a_rule),
]

for _model in (AllRule, AnyRule, NoneRule, NotRule):
    _model.model_rebuild()


def _has_key(name: str, prefix: str) -> bool:
    return name.startswith(prefix) and len(name) > len(prefix)


def _check_numeric(name: str, condition: Condition) -> None:
    operands = [
        *(condition.in_ or []),
        *(condition.not_in or []),
        *(operand for _, operand in condition.ordered()),
        *(operand for operand in (condition.eq, condition.neq) if operand is not None),
    ]
    is_text = condition.contains is not None or condition.starts_with is not None
    if is_text or not all(is_number(operand) for operand in operands):
        raise ValueError(f"`{name}` is a number and can be compared with numbers only")


def _check_range(gt: Any, gte: Any, lt: Any, lte: Any) -> None:
    """Refuse a lower bound above the upper one, which nothing can satisfy."""
    lows = [(value, is_open) for value, is_open in ((gt, True), (gte, False)) if value is not None]
    highs = [(value, is_open) for value, is_open in ((lt, True), (lte, False)) if value is not None]
    for low, low_is_open in lows:
        for high, high_is_open in highs:
            if isinstance(low, Decimal) != isinstance(high, Decimal):
                raise ValueError("compares a number and a date at once")
            below, above = _ordinal(low), _ordinal(high)
            if below > above or (below == above and (low_is_open or high_is_open)):
                raise ValueError(f"nothing is above {low} and below {high}")


def _ordinal(value: Any) -> Any:
    return value if isinstance(value, Decimal) else start_of(value, "UTC")
