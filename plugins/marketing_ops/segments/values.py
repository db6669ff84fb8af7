"""Values as users write them in rules: plain scalars, numbers, instants and relative times."""

from __future__ import annotations

from datetime import date, datetime, timedelta
from decimal import Decimal
from typing import Annotated, Any
from zoneinfo import ZoneInfo

from pydantic import BeforeValidator, Field, WithJsonSchema

from marketing_ops.durations import Duration, parse_duration

MAX_TEXT = 1000
MAX_WINDOW = timedelta(days=36500)


def plain(value: Any) -> Any:
    """`value` as str, bool, int, Decimal, date or datetime, without YAML's line marks.

    Raises:
        ValueError: it is empty, a list or a mapping, or text that Postgres cannot hold.
    """
    if isinstance(value, bool):
        return value
    if isinstance(value, str):
        return _text(value)
    if isinstance(value, int):
        return int(value)
    if isinstance(value, float | Decimal):
        return _finite(value)
    if isinstance(value, datetime):
        return _instant(value)
    if isinstance(value, date):
        return date(value.year, value.month, value.day)
    if value is None:
        raise ValueError("is empty; to ask whether there is a value write `exists: false`")
    raise ValueError("must be one text, number, date, or true/false")


def _text(value: str) -> str:
    text = str(value)
    if len(text) > MAX_TEXT:
        raise ValueError(f"is longer than {MAX_TEXT} characters")
    if "\x00" in text or any("\ud800" <= letter <= "\udfff" for letter in text):
        raise ValueError("has a character that no database text can hold")
    return text


def _finite(value: float | Decimal) -> Decimal:
    number = value if isinstance(value, Decimal) else Decimal(repr(float(value)))
    if not number.is_finite():
        raise ValueError("must be a finite number")
    return number


def _instant(value: datetime) -> datetime:
    # ruamel hands out its own subclass; a missing zone stays missing: it means the reporting zone.
    return datetime(
        value.year,
        value.month,
        value.day,
        value.hour,
        value.minute,
        value.second,
        value.microsecond,
        tzinfo=value.tzinfo,
    )


def _number(value: Any) -> Decimal:
    value = plain(value)
    if isinstance(value, bool) or not isinstance(value, int | Decimal):
        raise ValueError(f"must be a number, not `{value}`")
    return Decimal(value)


def _moment(value: Any) -> date | datetime:
    value = plain(value)
    if isinstance(value, str):
        try:
            is_day = len(value) == len("2026-01-31")
            value = date.fromisoformat(value) if is_day else datetime.fromisoformat(value)
        except ValueError as error:
            message = f"`{value}` is not a date: write 2026-01-31 or 2026-01-31T18:00:00Z"
            raise ValueError(message) from error
    if not isinstance(value, date):
        raise ValueError(f"must be a date, not `{value}`")
    return value


def _comparable(value: Any) -> Decimal | date | datetime:
    value = plain(value)
    if isinstance(value, bool):
        raise ValueError("compares numbers and dates; for true/false use `eq`")
    if isinstance(value, int | Decimal):
        return Decimal(value)
    try:
        return _moment(value)
    except ValueError as error:
        raise ValueError(f"compares numbers and dates; `{value}` is neither") from error


def _when(value: Any) -> timedelta | date | datetime:
    if isinstance(value, timedelta):
        return value
    try:
        return _span(value)
    except ValueError:
        pass
    try:
        return _moment(value)
    except ValueError as error:
        message = f"`{value}` is neither a span (90d = that long ago) nor a date (2026-01-31)"
        raise ValueError(message) from error


def _span(value: Any) -> timedelta:
    try:
        span = parse_duration(value)
    except OverflowError as error:
        raise ValueError(f"`{value}` is longer than a hundred years") from error
    if span > MAX_WINDOW:
        raise ValueError(f"`{value}` is longer than a hundred years")
    return span


_SPAN_SCHEMA = {"type": "string", "pattern": r"^\d+\s*[smhdw]$", "examples": ["30m", "4h", "7d"]}
_SCALAR_SCHEMA = {"type": ["string", "number", "boolean"]}
_MOMENT_SCHEMA = {"type": "string", "examples": ["2026-01-31", "2026-01-31T18:00:00Z"]}

Scalar = Annotated[
    bool | int | Decimal | str | datetime | date,
    BeforeValidator(plain),
    WithJsonSchema(_SCALAR_SCHEMA),
]
Number = Annotated[Decimal, BeforeValidator(_number), WithJsonSchema({"type": "number"})]
Comparable = Annotated[
    Decimal | datetime | date,
    BeforeValidator(_comparable),
    WithJsonSchema({"type": ["number", "string"]}),
]
Moment = Annotated[datetime | date, BeforeValidator(_moment), WithJsonSchema(_MOMENT_SCHEMA)]
Span = Annotated[Duration, BeforeValidator(_span), WithJsonSchema(_SPAN_SCHEMA)]
When = Annotated[
    timedelta | datetime | date,
    BeforeValidator(_when),
    WithJsonSchema({"type": "string", "examples": ["90d", "2026-01-31"]}),
]
Text = Annotated[str, BeforeValidator(plain), Field(min_length=1)]


def start_of(value: date | datetime, zone: str) -> datetime:
    """The instant `value` means: a bare date its midnight, a bare time its own, both in `zone`."""
    if isinstance(value, datetime):
        return value if value.tzinfo else value.replace(tzinfo=ZoneInfo(zone))
    return datetime(value.year, value.month, value.day, tzinfo=ZoneInfo(zone))


def end_of(value: date | datetime, zone: str) -> datetime:
    """As `start_of`, but a bare date is included: its instant is the next midnight."""
    if isinstance(value, datetime):
        return start_of(value, zone)
    return start_of(value + timedelta(days=1), zone)


def is_number(value: Any) -> bool:
    """Whether a plain value is a number; true and false are none."""
    return isinstance(value, int | Decimal) and not isinstance(value, bool)


def is_moment(value: Any) -> bool:
    """Whether a plain value is a date or an instant, or the text of one."""
    try:
        _moment(value)
    except ValueError:
        return False
    return True
