"""What a person wants to know after a run: is anything lost, who is there, what went out, how it
goes. Plain text of at most 100 columns, for the terminal and logs.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import date, timedelta
from decimal import Decimal
from typing import Any
from zoneinfo import ZoneInfo

from marketing_ops import clock, sqlfile
from marketing_ops.kpis import definition
from marketing_ops.settings import settings
from marketing_ops.warehouse import Warehouse, translated_errors

SHOWN = (
    "orders",
    "revenue",
    "average_order_value",
    "new_customers",
    "repeat_rate",
    "cart_abandonment_rate",
    "sends",
    "open_rate",
    "click_rate",
    "conversion_rate",
    "unsubscribe_rate",
)
SPAN_DAYS = 30
_DECIDED = timedelta(days=365)
_STATES = ("accepted", "in_flight", "claimed", "unknown", "rejected", "cancelled", "skipped")
_WIDTH = 100
_LONGEST_NAME, _SHORTEST_NAME = 36, 10


@dataclass(frozen=True)
class StreamBooks:
    """The books of one stream over all its finished runs, as in `mkt_ops.sync_runs`.

    Attributes:
        is_balanced: every successful run booked exactly what it fetched.
    """

    account: str
    stream: str
    runs: int
    failed: int
    fetched: int
    inserted: int
    updated: int
    unchanged: int
    duplicates: int
    stale: int
    rejected: int
    tombstoned: int
    is_balanced: bool


@dataclass(frozen=True)
class CampaignSends:
    """How many sends of a campaign are in which state; `state` is the campaign's own."""

    campaign: str
    state: str
    by_status: dict[str, int]


@dataclass(frozen=True)
class KpiChange:
    """A KPI of the last 30 full days beside the 30 before. None is undefined, or not rolled up."""

    kpi: str
    name: str
    unit: str
    direction: str
    now: Decimal | None
    before: Decimal | None


@dataclass(frozen=True)
class StageDeals:
    """The deals of one stage: the open ones, and those decided in the last 365 days.

    Attributes:
        status: open, won or lost.
        median_days: from creation to the decision; None while they are open.
    """

    pipeline: str
    stage: str
    deals: int
    amount: Decimal
    currency: str | None
    status: str
    median_days: int | None


@dataclass(frozen=True)
class Summary:
    """The state of a warehouse in numbers; no personal data.

    Attributes:
        last_day: the last full day of the reporting time zone.
        rolled_up_days: how many of the last 30 days have KPIs.
    """

    books: list[StreamBooks]
    contacts: int
    customers: int
    leads: int
    audiences: list[tuple[str, int]]
    sends: list[CampaignSends]
    kpis: list[KpiChange]
    last_day: date
    rolled_up_days: int
    currency: str = field(default="")
    pipeline: list[StageDeals] = field(default_factory=list)

    @property
    def is_balanced(self) -> bool:
        """No successful run lost or invented a record."""
        return all(stream.is_balanced for stream in self.books)


def demo_summary(warehouse: Warehouse) -> Summary:
    """The summary as of the product's clock.

    Raises:
        FatalError: the warehouse is not migrated.
    """
    with translated_errors():
        books = [StreamBooks(*row) for row in _rows(warehouse, "books")]
        contacts, customers, leads = _rows(warehouse, "people")[0]
        today = clock.now().astimezone(ZoneInfo(settings().reporting_timezone)).date()
        last_day = today - timedelta(days=1)
        changes, days = _kpis(warehouse, last_day)
        decided = {"since": clock.now() - _DECIDED}
        return Summary(
            books=books,
            contacts=contacts,
            customers=customers,
            leads=leads,
            audiences=[(segment, members) for segment, members in _rows(warehouse, "audiences")],
            sends=_sends(warehouse),
            kpis=changes,
            last_day=last_day,
            rolled_up_days=days,
            currency=settings().reporting_currency,
            pipeline=[StageDeals(*row) for row in _rows(warehouse, "pipeline", decided)],
        )


def render(summary: Summary) -> str:
    """The summary as text, without a last newline."""
    parts = [_books_text(summary), _people_text(summary)]
    if summary.pipeline:
        parts.append(_pipeline_text(summary))
    parts += [_sends_text(summary), _kpis_text(summary)]
    return "\n\n".join("\n".join(line.rstrip() for line in part) for part in parts)


def _rows(
    warehouse: Warehouse, name: str, params: dict[str, Any] | None = None
) -> list[tuple[Any, ...]]:
    return sqlfile.execute(warehouse, f"marts/summary/{name}", params).fetchall()


def _sends(warehouse: Warehouse) -> list[CampaignSends]:
    found: dict[str, CampaignSends] = {}
    for campaign, state, status, count in _rows(warehouse, "sends"):
        entry = found.setdefault(campaign, CampaignSends(campaign, state, {}))
        if status is not None:
            entry.by_status[status] = count
    return list(found.values())


def _kpis(warehouse: Warehouse, last_day: date) -> tuple[list[KpiChange], int]:
    middle_day = last_day - timedelta(days=SPAN_DAYS - 1)
    rows = sqlfile.execute(
        warehouse,
        "marts/summary/kpis",
        {
            "kpis": list(SHOWN),
            "first_day": middle_day - timedelta(days=SPAN_DAYS),
            "middle_day": middle_day,
            "last_day": last_day,
        },
    ).fetchall()
    values = {(kpi, is_recent): _quotient(top, bottom) for kpi, is_recent, top, bottom, _ in rows}
    days = max((row[4] for row in rows if row[1]), default=0)
    known = definition.load_all()[0]
    changes = [
        KpiChange(
            name,
            known[name].name,
            known[name].unit,
            known[name].direction,
            values.get((name, True)),
            values.get((name, False)),
        )
        for name in SHOWN
        if name in known
    ]
    return changes, days


def _quotient(numerator: Decimal | None, denominator: Decimal | None) -> Decimal | None:
    if numerator is None or denominator is None:
        return numerator
    return numerator / denominator if denominator else None


def _books_text(summary: Summary) -> list[str]:
    if not summary.books:
        return ["Streams", "  Nothing was synced yet."]
    head = ["stream", "fetched", "inserted", "updated", "unchanged"]
    head += ["dupl.", "stale", "rejected", "gone", "books"]
    lines = []
    for account in sorted({stream.account for stream in summary.books}):
        own = [stream for stream in summary.books if stream.account == account]
        rows = [[stream.stream, *_book_cells(stream)] for stream in own]
        lines += [f"Streams of {account}", *_table(head, rows)]
    failed = sum(stream.failed for stream in summary.books)
    if failed:
        lines.append(f"  {_plural(failed, 'run')} failed; what a failed run fetched is not booked.")
    lines.append(
        "  The books balance: fetched is what was booked, in every run."
        if summary.is_balanced
        else "  THE BOOKS DO NOT BALANCE: records were lost or invented in the streams marked NO."
    )
    return lines


def _book_cells(stream: StreamBooks) -> list[str]:
    counts = (
        stream.fetched,
        stream.inserted,
        stream.updated,
        stream.unchanged,
        stream.duplicates,
        stream.stale,
        stream.rejected,
        stream.tombstoned,
    )
    return [*(_count(count) for count in counts), "ok" if stream.is_balanced else "NO"]


def _people_text(summary: Summary) -> list[str]:
    if not summary.contacts:
        return ["Contacts", "  Nobody yet: unify has not taken over any record."]
    people = (
        f"  {_count(summary.contacts)}: {_plural(summary.customers, 'customer')},"
        f" {_plural(summary.leads, 'lead')}"
    )
    lines = ["Contacts", people, "", "Audiences"]
    if not summary.audiences:
        return [*lines, "  No segment was evaluated yet."]
    rows = [
        [segment, _count(members), f"{100 * members / summary.contacts:.1f} %"]
        for segment, members in summary.audiences
    ]
    return [*lines, *_table(["segment", "members", "of all"], rows)]


def _pipeline_text(summary: Summary) -> list[str]:
    rows = [
        [
            f"{each.pipeline}: {each.stage}",
            _count(each.deals),
            _value(each.amount, "money", each.currency or ""),
            "-" if each.median_days is None else str(each.median_days),
        ]
        for each in summary.pipeline
    ]
    lines = ["Sales pipeline", *_table(["stage", "deals", "amount", "median days"], rows)]
    by_status = {
        status: sum(each.deals for each in summary.pipeline if each.status == status)
        for status in ("won", "lost")
    }
    decided = sum(by_status.values())
    if decided:
        lines.append(
            f"  Won {100 * by_status['won'] / decided:.1f} % of the {decided:,} deals decided in"
            " the last 365 days."
        )
    return lines


def _sends_text(summary: Summary) -> list[str]:
    if not summary.sends:
        return ["Sends", "  No campaign was started yet."]
    used = [
        status for status in _STATES if any(each.by_status.get(status) for each in summary.sends)
    ]
    rows = [
        [each.campaign, each.state, *(_count(each.by_status.get(status, 0)) for status in used)]
        for each in summary.sends
    ]
    lines = ["Sends", *_table(["campaign", "state", *used], rows, left=2)]
    if not used:
        lines.append("  Nothing was due so far.")
    return lines


def _kpis_text(summary: Summary) -> list[str]:
    title = f"The last {SPAN_DAYS} days to {summary.last_day}, beside the {SPAN_DAYS} before"
    if not summary.rolled_up_days:
        return [title, "  No KPI was rolled up yet: run rollup_kpis."]
    rows = [
        [
            each.name,
            _value(each.now, each.unit, summary.currency),
            _value(each.before, each.unit, summary.currency),
            _change(each),
            _verdict(each),
        ]
        for each in summary.kpis
    ]
    lines = [title, *_table(["KPI", "last", "before", "change", ""], rows)]
    if summary.rolled_up_days < SPAN_DAYS:
        lines.append(f"  Only {summary.rolled_up_days} of the {SPAN_DAYS} days are rolled up.")
    return lines


def _value(value: Decimal | None, unit: str, currency: str) -> str:
    if value is None:
        return "-"
    if unit == "ratio":
        return f"{100 * value:.2f} %"
    if unit == "money":
        return f"{_count(int(value)) if abs(value) >= 10_000 else f'{value:,.2f}'} {currency}"
    return _count(int(value))


def _change(each: KpiChange) -> str:
    if each.now is None or each.before is None:
        return "-"
    if each.unit == "ratio":
        return f"{100 * (each.now - each.before):+.2f} pt"
    return f"{100 * (each.now - each.before) / each.before:+.1f} %" if each.before else "-"


def _verdict(each: KpiChange) -> str:
    if each.now is None or each.before is None or each.now == each.before:
        return ""
    if each.direction == "neutral":
        return ""
    return "better" if (each.now > each.before) == (each.direction == "up") else "worse"


def _count(number: int) -> str:
    return f"{number:,}" if abs(number) < 10_000_000 else f"{number / 1_000_000:,.0f}M"


def _plural(number: int, word: str) -> str:
    return f"{_count(number)} {word}" + ("" if number == 1 else "s")


def _table(head: Sequence[str], rows: list[list[str]], *, left: int = 1) -> list[str]:
    """Aligned lines; the first `left` columns to the left, the numbers to the right."""
    lines = [list(head), *rows]
    widths = [max(len(row[number]) for row in lines) for number in range(len(head))]
    free = _WIDTH - sum(widths[1:]) - 2 * len(widths)
    widths[0] = min(widths[0], _LONGEST_NAME, max(free, _SHORTEST_NAME))
    return [
        "  "
        + "  ".join(
            _shorten(cell, width).ljust(width) if number < left else cell.rjust(width)
            for number, (cell, width) in enumerate(zip(row, widths, strict=True))
        )
        for row in lines
    ]


def _shorten(text: str, width: int) -> str:
    return text if len(text) <= width else f"{text[: width - 1]}…"
