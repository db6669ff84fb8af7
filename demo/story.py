"""A lived month: history is loaded, then thirty days pass hour by hour in simulated time.

The same engine functions as Airflow's tasks are called, so waits, goals and splits really happen.
Everything is resumable: an interrupted story goes on at the hour where it was.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import chain, repeat
from zoneinfo import ZoneInfo

import requests

from demo.layout import CLOCK, HOME, Layout
from marketing_ops import clock, deployment, warehouse
from marketing_ops.campaigns import control, definition
from marketing_ops.campaigns.runner import tick
from marketing_ops.connections import from_environment
from marketing_ops.delivery.runner import deliver
from marketing_ops.identity.runner import unify
from marketing_ops.kpis.runner import rollup
from marketing_ops.segments.runner import refresh
from marketing_ops.settings import Source, settings, sources
from marketing_ops.sources import registry
from marketing_ops.sync.runner import sync_stream
from marketing_ops.warehouse import Warehouse
from marketing_ops.window import Window

LIVED = timedelta(days=30)
HOUR = timedelta(hours=1)
OTHERS_HOURS = 12
"""The lived month reads CRM and mail systems twice a day, the shop every hour: Airflow reads
all of them hourly, but the demo should not take ten minutes."""

ACTOR = "demo"
Report = Callable[[str], None]


def silent(_line: str) -> None:
    """Swallow the engines' progress lines: the story shows its own."""


@dataclass
class Progress:
    """How far the story came; kept in .demo/story.json."""

    begins_at: datetime
    is_history_loaded: bool = False
    lived_until: datetime | None = None
    is_done: bool = False

    @classmethod
    def load(cls) -> Progress:
        """The remembered progress, or that of a story which begins thirty days ago."""
        path = HOME / "story.json"
        if not path.exists():
            start = datetime.now(UTC).replace(minute=0, second=0, microsecond=0) - LIVED
            return cls(start)
        data = json.loads(path.read_text())
        lived = data["lived_until"]
        return cls(
            datetime.fromisoformat(data["begins_at"]),
            data["is_history_loaded"],
            datetime.fromisoformat(lived) if lived else None,
            data["is_done"],
        )

    def save(self) -> None:
        """Remember it in one step."""
        draft = HOME / "story.json.new"
        data = {
            "begins_at": self.begins_at.isoformat(),
            "is_history_loaded": self.is_history_loaded,
            "lived_until": self.lived_until.isoformat() if self.lived_until else None,
            "is_done": self.is_done,
        }
        draft.write_text(json.dumps(data))
        draft.replace(HOME / "story.json")


def tell(layout: Layout, report: Report, live_progress: Report) -> None:
    """Load history and live until now, from wherever an earlier try stopped.

    Args:
        report: gets one line for each chapter.
        live_progress: gets a short line that may overwrite its predecessor.
    """
    progress = Progress.load()
    if progress.is_done:
        report("the story was told before: its data is kept (`make reset` deletes it)")
        return
    with warehouse.connect(application="marketing_ops demo") as connection:
        if not progress.is_history_loaded:
            _load_history(connection, layout, progress, report)
        _live(connection, layout, progress, live_progress)
        _roll_up(connection, progress, report)
    set_time(layout, None)
    progress.is_done = True
    progress.save()


def set_time(layout: Layout, instant: datetime | None) -> dict[str, int]:
    """Move the one clock; returns what the sandbox's readers did meanwhile, by action."""
    body = {"now": instant.isoformat() if instant else None}
    answer = requests.post(layout.url("sandbox", "/_sandbox/clock"), json=body, timeout=120)
    answer.raise_for_status()
    clock.freeze(CLOCK, instant)
    return dict(answer.json().get("readers", {}))


def synced() -> list[Source]:
    """The accounts with streams to sync."""
    return [source for source in sources()[0].values() if source.streams]


def senders() -> list[Source]:
    """The accounts that messages leave through."""
    return [source for source in sources()[0].values() if source.system == "smtp"]


def _load_history(db: Warehouse, layout: Layout, progress: Progress, report: Report) -> None:
    start = progress.begins_at
    set_time(layout, start)
    with ThreadPoolExecutor(max_workers=2) as lanes:
        for line in chain.from_iterable(lanes.map(_load_lane, _lanes(), repeat(start))):
            report(line)
    report(unify(db, report=silent).line())
    refresh(db, clock.now(), report=silent)
    deployment.apply(db, from_environment, ACTOR)
    campaigns, problems = definition.load_all()
    if problems:
        raise SystemExit("\n".join(str(problem) for problem in problems))
    for name in campaigns:
        control.start(db, name, ACTOR)
    report(f"campaigns live: {', '.join(sorted(campaigns))}")
    progress.is_history_loaded = True
    progress.save()


def _lanes() -> list[list[tuple[str, str]]]:
    """(account, stream) in two lanes that load side by side: records with children, and the rest.

    Within a lane the order of the source's file is kept: deletions come after what they delete.
    """
    with_children: list[tuple[str, str]] = []
    rest: list[tuple[str, str]] = []
    for shop in synced():
        system = registry.system(shop.system)
        for stream, rhythm in shop.streams.items():
            if rhythm != "off":
                declared = system.stream(stream)
                lane = with_children if declared and declared.children else rest
                lane.append((shop.source, stream))
    return [with_children, rest]


def _load_lane(lane: list[tuple[str, str]], until: datetime) -> list[str]:
    """Load each stream's history up to `until`; returns a line for each stream and child."""
    window = Window(until - timedelta(days=3650), until)
    lines = []
    with warehouse.connect(application="marketing_ops demo") as db:
        for account, stream in lane:
            done = sync_stream(
                db, account, stream, window, kind=None, resolve=from_environment, report=silent
            )
            for name, counts in done.counts.items():
                lines.append(f"history: {counts['fetched']:>9,} {name} of {account}")
    return lines


def _live(db: Warehouse, layout: Layout, progress: Progress, live_progress: Report) -> None:
    zone = ZoneInfo(settings().reporting_timezone)
    at = progress.lived_until or progress.begins_at
    total = (datetime.now(UTC) - progress.begins_at) // HOUR
    sent = 0
    while at + HOUR <= datetime.now(UTC):
        at += HOUR
        sent += _live_one_hour(db, layout, at, is_midnight=at.astimezone(zone).hour == 0)
        progress.lived_until = at
        hours = (at - progress.begins_at) // HOUR
        if hours % 12 == 0:
            progress.save()
            live_progress(f"{at.astimezone(zone):%a %d %b %H:%M}  {hours}/{total} h  {sent} mails")
    progress.save()


def _live_one_hour(db: Warehouse, layout: Layout, at: datetime, *, is_midnight: bool) -> int:
    set_time(layout, at)
    window = Window(at - HOUR, at)
    for source in synced():
        for stream, rhythm in source.streams.items():
            if _is_due(source, stream, rhythm, at, is_midnight=is_midnight):
                sync_stream(
                    db,
                    source.source,
                    stream,
                    window,
                    kind=None,
                    resolve=from_environment,
                    report=silent,
                )
    unify(db, report=silent)
    refresh(db, at, report=silent)
    tick(db, at, report=silent)
    accepted = 0
    for sender in senders():
        done = deliver(db, sender.source, resolve=from_environment, report=silent)
        accepted += done.accepted
    return accepted


def _is_due(source: Source, stream: str, rhythm: str, at: datetime, *, is_midnight: bool) -> bool:
    declared = registry.system(source.system).stream(stream)
    is_shop = declared is not None and declared.dag == "shop"
    if rhythm == "hourly" and (is_shop or at.hour % OTHERS_HOURS == 0):
        return True
    return rhythm == "daily" and is_midnight


def _roll_up(db: Warehouse, progress: Progress, report: Report) -> None:
    zone = settings().reporting_timezone
    first = db.execute("select min(placed_at) from mkt_core.orders").fetchone()
    begin = first[0] if first and first[0] else progress.begins_at
    end = datetime.now(UTC).astimezone(ZoneInfo(zone)).replace(hour=0, minute=0, second=0)
    days = Window(min(begin, end), end).days(zone)
    done = rollup(db, days, report=silent)
    report(f"KPIs of {len(days)} days: {done.summary()}")
