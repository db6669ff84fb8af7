"""Repeats, several workers, killed workers and a clock that goes back: always the same ledger."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import psycopg
import pytest

from marketing_ops.campaigns import runner
from tests.campaigns.world import T0, World, ledger

HOUR = timedelta(hours=1)
PEOPLE = list(range(1, 129))

STORY = """
entry: {event: cart_updated, key: cart_id, cool_down: 3h}
audience: {segment: everyone}
goal: {event: order_placed, within: 7d}
exit: [goal]
holdout: 10%%
guards: {priority: %d}
steps:
  - {id: pause, wait: 1h, reset_on: {event: cart_updated, match: cart_id}}
  - id: offer
    split: {salt: s}
    arms:
      a: {weight: 1, steps: [{id: mail_a, send: {via: smtp_journey, template: t_a}}]}
      b:
        weight: 1
        steps:
          - {id: gap, wait: 1h}
          - {id: mail_b, send: {via: smtp_journey, template: t_b}}
  - id: known
    if: {event: subscribed}
    then: [{id: extra, send: {via: smtp_journey, template: t_c}}]
  - {id: rest, wait: 2h}
"""

POLICY = "{cap: {sends: 2, per: 5h}, give_up: 1d}"


def story(world: World, shards: int = 4) -> None:
    """Two campaigns that compete for a cap, and half a day of events for 128 people."""
    world.settings(POLICY, shards=shards)
    world.contact(*PEOPLE)
    world.contact(*range(129, 133), consent=None)
    world.campaign("one", STORY % 80)
    world.campaign("two", STORY % 20)
    for hour in range(1, 7):
        batch = world.batch()
        for number in [*PEOPLE, *range(129, 133)]:
            if number % 7 == hour % 7 or number % 5 == hour % 5:
                at = T0 + hour * HOUR - timedelta(minutes=number % 60)
                world.event(number, "cart_updated", at, batch=batch, cart_id=number * 10 + hour % 3)
            if number % 11 == hour:
                world.event(number, "order_placed", T0 + hour * HOUR, batch=batch)
            if number % 13 == hour:
                world.event(number, "subscribed", T0 + hour * HOUR, batch=batch)


def hours(world: World) -> list[tuple[Any, ...]]:
    """Tick through the story alone; the ledger."""
    for hour in range(1, 12):
        world.tick(T0 + hour * HOUR)
    return list(world.ledger())


def workers(world: World, uri: str, count: int) -> list[tuple[Any, ...]]:
    """Tick through the story with `count` workers at once; the ledger."""
    for hour in range(1, 12):
        at = T0 + hour * HOUR
        world.set_clock(at)
        together = threading.Barrier(count)
        with ThreadPoolExecutor(count) as pool:
            runs = [pool.submit(work, uri, at, together) for _ in range(count)]
        for run in runs:
            run.result()
    return list(world.ledger())


def work(uri: str, at: datetime, together: threading.Barrier) -> None:
    """One worker's tick, begun when all are ready."""
    options = "-c timezone=UTC -c jit=off"
    with psycopg.connect(uri, autocommit=True, options=options) as own:
        together.wait(30)
        runner.tick(own, at)


@pytest.mark.parametrize("most_together", [-1, 5_000])
def test_same_ledger_with_1_2_and_4_workers(
    world: World, warehouse_uri: str, monkeypatch: pytest.MonkeyPatch, most_together: int
) -> None:
    """Caps, splits and entries do not depend on how many work, nor on the number of groups."""
    monkeypatch.setattr(runner, "MOST_TOGETHER", most_together)
    story(world)
    expected = hours(world)
    assert len([row for row in expected if row[0] == "send"]) > 100
    for count in (2, 4):
        reset(world)
        assert workers(world, warehouse_uri, count) == expected
    reset(world)
    world.settings(POLICY, shards=7)
    assert hours(world) == expected


def reset(world: World) -> None:
    """Forget every tick; the facts and the started campaigns stay."""
    world.db.execute(
        "truncate mkt_engage.enrolments, mkt_engage.sends, mkt_engage.enrolment_log,"
        " mkt_engage.campaign_marks, mkt_ops.ticks"
    )
    world.db.execute(
        "update mkt_engage.shard_marks set tick_id = null, seen_at = %s, seen_batch ="
        " (select max(seen_batch) from mkt_engage.campaigns)",
        (T0,),
    )


KILLED = """
import sys
from datetime import datetime
import psycopg
from marketing_ops.campaigns import runner

at, uri, limit = datetime.fromisoformat(sys.argv[1]), sys.argv[2], int(sys.argv[3])
if limit % 2:
    runner.MOST_TOGETHER = -1


class Fragile(psycopg.Connection):
    left = limit

    def execute(self, *args, **kwargs):
        if Fragile.left == 0:
            import os, signal
            os.kill(os.getpid(), signal.SIGKILL)
        Fragile.left -= 1
        return super().execute(*args, **kwargs)


with Fragile.connect(uri, autocommit=True, options="-c timezone=UTC -c jit=off") as own:
    runner.tick(own, at)
"""


@pytest.mark.slow
def test_killed_between_any_statements_and_repeated_is_the_same(
    world: World, warehouse_uri: str, tmp_path: Path
) -> None:
    """Kill -9 before the n-th statement of a tick, then a rerun: an uninterrupted run's ledger."""
    story(world)
    expected = hours(world)
    reset(world)
    script = tmp_path / "killed.py"
    script.write_text(KILLED)
    deaths = 0
    for hour in range(1, 12):
        at = T0 + hour * HOUR
        world.set_clock(at)
        for limit in (9 + 2 * hour, 25 + 11 * hour):
            run = subprocess.run(
                [sys.executable, str(script), at.isoformat(), warehouse_uri, str(limit)],
                env=os.environ | {"PYTHONPATH": str(Path(runner.__file__).parents[2])},
                capture_output=True,
                check=False,
            )
            assert run.returncode in (0, -9), run.stderr
            deaths += run.returncode == -9
        while world.tick(at).busy:
            pass  # Postgres has not noticed yet that the worker is gone
    assert deaths >= 8
    assert ledger(world.db) == expected


def test_clock_going_back_changes_nothing(world: World) -> None:
    """A tick at an earlier instant is one at the last: nothing happens twice or too early."""
    story(world)
    for hour in range(1, 5):
        world.tick(T0 + hour * HOUR)
    before = world.ledger()
    report = world.tick(T0 + HOUR)
    assert report.at == T0 + 4 * HOUR
    assert world.ledger() == before


def test_fewer_ticks_decide_the_same_people(world: World) -> None:
    """After an outage everybody due is found; only the instants of decision differ."""
    world.contact(*PEOPLE)
    world.campaign(
        "one", "guards: {late: 30d}\n" + (STORY % 1).replace("guards: {priority: 1}\n", "")
    )
    batch = world.batch()
    for number in PEOPLE:
        world.event(number, "cart_updated", T0 + HOUR, batch=batch, cart_id=number)
    world.tick(T0 + timedelta(days=3))
    world.tick(T0 + timedelta(days=4))
    rows = world.enrolments()
    assert len(rows) == len(PEOPLE)
    assert {row[2] for row in rows} == {"finished", "holdout"}
    sent = {row[0] for row in world.sends()}
    assert sent == {row[0] for row in rows if row[2] == "finished"}


def test_idle_tick_is_cheap(world: World) -> None:
    """Nothing due, nothing new: a handful of statements and no transaction on any shard."""
    world.contact(*PEOPLE)
    world.campaign("one", STORY % 1)
    batch = world.batch()
    for number in PEOPLE:
        world.event(number, "cart_updated", T0 + HOUR, batch=batch, cart_id=number)
    world.tick(T0 + HOUR)
    statements: list[object] = []

    class Counting(psycopg.Cursor[Any]):
        def execute(self, query: Any, *args: Any, **kwargs: Any) -> Any:
            statements.append(query)
            return super().execute(query, *args, **kwargs)

    world.db.cursor_factory = Counting
    world.tick(T0 + HOUR + timedelta(minutes=1))
    assert len(statements) <= 8
    marks = world.db.execute("select max(tick_id) from mkt_engage.shard_marks").fetchone()
    ticks = world.db.execute("select max(tick_id) from mkt_ops.ticks").fetchone()
    assert marks is not None
    assert ticks is not None
    assert ticks[0] == marks[0] + 1
