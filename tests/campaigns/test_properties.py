"""Random campaigns and histories, held against slow references in Python."""

from __future__ import annotations

import random
from datetime import datetime, timedelta
from typing import Any

import pytest

from marketing_ops.campaigns import control
from tests.campaigns.world import T0, World

HOUR = timedelta(hours=1)
PEOPLE = list(range(1, 25))
CAP = 2
PER = timedelta(hours=9)
EVENTS = ("subscribed", "cart_updated", "order_placed", "email_clicked")


class Story:
    """One random run: what was started, what happened, and what the engine decided."""

    def __init__(self, world: World, seed: int) -> None:
        self.world = world
        self.draw = random.Random(seed)
        self.consents: dict[int, list[tuple[datetime, str]]] = {}
        self.priority: dict[str, int] = {}
        self.on_cap: dict[str, str] = {}

    def live(self, ticks: int) -> None:
        """Start three campaigns and live so many uneven ticks."""
        self.world.settings(
            f'{{cap: {{sends: {CAP}, per: 9h}}, quiet: {{from: "23:00", to: "05:00"}},'
            " give_up: 20h}",
            shards=3,
        )
        self.world.contact(*PEOPLE)
        self.consents = {number: [(T0 - timedelta(days=60), "granted")] for number in PEOPLE}
        for number in range(3):
            self._campaign(f"c{number}", 10 * (number + 1))
        now = T0
        for _ in range(ticks):
            now += timedelta(minutes=self.draw.choice([10, 30, 60, 60, 180]))
            self._happen(now)
            self.world.tick(now)
            if self.draw.random() < 0.3:
                self.world.tick(now - HOUR * self.draw.randint(0, 3))
            self._deliver(now)

    def _campaign(self, name: str, priority: int) -> None:
        draw = self.draw
        self.priority[name] = priority
        self.on_cap[name] = draw.choice(["skip", "defer"])
        entry = draw.choice(["subscribed", "cart_updated", "email_clicked"])
        reentry = draw.choice(["never", "always", "{after: 10h}"])
        exits = draw.choice(["[goal]", "[goal, {event: unsubscribed}]", "[]"])
        steps = "\n".join(self._steps(name, draw.randint(1, 3)))
        self.world.campaign(
            name,
            f"entry: {{event: {entry}, reentry: {reentry}, cool_down: 2h}}\n"
            f"goal: {{event: order_placed, within: 10h}}\nexit: {exits}\n"
            f"holdout: {draw.choice(['0%', '20%'])}\n"
            f"guards: {{priority: {priority}, on_cap: {self.on_cap[name]}, late: 4h}}\n"
            f"steps:\n{steps}\n",
        )

    def _steps(self, name: str, sends: int) -> list[str]:
        lines = []
        for number in range(sends):
            wait = self.draw.choice(["1h", "2h", "5h", '{until: "09:00"}'])
            reset = ", reset_on: {event: cart_updated}" if wait == "2h" else ""
            lines.append(f"  - {{id: w{number}, wait: {wait}{reset}}}")
            mail = f"send: {{via: smtp_journey, template: t_{name}}}"
            kind = self.draw.choice(["plain", "if", "split"])
            if kind == "if":
                lines.append(f"  - id: i{number}")
                lines.append("    if: {event: email_clicked, within: 12h}")
                lines.append(f"    then: [{{id: m{number}, {mail}}}]")
            elif kind == "split":
                lines.append(f"  - id: s{number}\n    split: {{salt: {name}{number}}}\n    arms:")
                lines.append(f"      a: {{weight: 2, steps: [{{id: m{number}, {mail}}}]}}")
                lines.append("      b: {weight: 1}")
            else:
                lines.append(f"  - {{id: m{number}, {mail}}}")
        return lines

    def _happen(self, now: datetime) -> None:
        batch = self.world.batch()
        for number in self.draw.sample(PEOPLE, 6):
            late = timedelta(minutes=self.draw.choice([0, 0, 0, 20, 300]))
            event = self.draw.choice(EVENTS)
            self.world.event(number, event, now - late, batch=batch, key=str(batch))
        if self.draw.random() < 0.4:
            number = self.draw.choice(PEOPLE)
            status = self.draw.choice(["granted", "denied"])
            self.world.consent(number, status, now)
            self.consents[number].append((now, status))
        if self.draw.random() < 0.15:
            name = self.draw.choice(list(self.priority))
            is_live = control.states(self.world.db)[name] == "live"
            (control.pause if is_live else control.resume)(self.world.db, name, "tester")

    def _deliver(self, now: datetime) -> None:
        """Some claimed sends go out, some are rejected, some stay claimed."""
        rows = self.world.db.execute(
            "select send_id from mkt_engage.sends where status = 'claimed' order by send_id"
        ).fetchall()
        for (send_id,) in rows:
            status = self.draw.choice(["accepted", "accepted", "unknown", "claimed"])
            self.world.db.execute(
                "update mkt_engage.sends set status = %s, outcome_at = %s where send_id = %s",
                (status, now, send_id),
            )


@pytest.fixture(params=range(8))
def lived(request: pytest.FixtureRequest, world: World) -> Story:
    """A random life of 24 people in three campaigns."""
    story = Story(world, int(request.param))
    story.live(28)
    return story


@pytest.mark.slow
def test_invariants_hold_in_random_lives(lived: Story) -> None:
    """Never twice, nobody left behind, no mail without consent, caps exact, log complete."""
    _never_twice(lived.world)
    _nobody_left_behind(lived)
    _consented(lived)
    _caps_are_exact(lived)
    _the_log_leads_to_the_present(lived.world)


def _never_twice(world: World) -> None:
    rows = world.sends("s.enrolment_id", "s.step_id", "s.visit")
    assert len(rows) > 10
    assert len(rows) == len(set(rows))


def _nobody_left_behind(lived: Story) -> None:
    """Whoever is due in a live campaign has been acted on."""
    row = lived.world.db.execute(
        "select count(*) from mkt_engage.enrolments as e join mkt_engage.campaigns as c"
        " using (campaign_id) where e.status = 'active' and c.state = 'live'"
        " and (e.due_at is null or e.due_at = 'infinity'"
        " or e.due_at <= (select max(tick_at) from mkt_ops.ticks))"
    ).fetchone()
    assert row == (0,)


def _consented(lived: Story) -> None:
    for contact, at in lived.world.sends("s.contact_id", "s.claimed_at"):
        if at is not None:
            before = [status for since, status in lived.consents[contact] if since <= at]
            assert before[-1] == "granted"


def _caps_are_exact(lived: Story) -> None:
    """At every tick the places left went to the most important, and none was left unused."""
    claims: dict[int, list[tuple[datetime, str]]] = {}
    wanting: dict[tuple[datetime, int], set[str]] = {}
    rows: list[tuple[Any, ...]] = lived.world.db.execute(
        "select l.at, e.contact_id, c.campaign, l.reason from mkt_engage.enrolment_log as l"
        " join mkt_engage.enrolments as e using (enrolment_id)"
        " join mkt_engage.campaigns as c using (campaign_id)"
        " where l.reason in ('claimed', 'skipped:cap', 'held:cap') order by l.at"
    ).fetchall()
    for at, contact, campaign, reason in rows:
        wanting.setdefault((at, contact), set()).add(campaign)
        if reason == "claimed":
            claims.setdefault(contact, []).append((at, campaign))
    for (at, contact), campaigns in wanting.items():
        mine = claims.get(contact, [])
        used = sum(at - PER < then < at for then, _ in mine)
        won = {campaign for then, campaign in mine if then == at}
        order = sorted(campaigns, key=lambda name: -lived.priority[name])
        assert won == set(order[: max(CAP - used, 0)])
        assert used + len(won) <= CAP


def _the_log_leads_to_the_present(world: World) -> None:
    """Each enrolment's movements join end to end and arrive where it rests."""
    rows = world.db.execute(
        "select l.enrolment_id, l.from_step_id, l.to_step_id, l.reason, e.step_id, e.status"
        " from mkt_engage.enrolment_log as l join mkt_engage.enrolments as e using (enrolment_id)"
        " order by l.enrolment_id, l.tick_id, l.reason not in ('entered', 'holdout'),"
        " l.from_step_id"
    ).fetchall()
    ways: dict[int, list[tuple[Any, ...]]] = {}
    for row in rows:
        ways.setdefault(row[0], []).append(row)
    for way in ways.values():
        assert way[0][3] in ("entered", "holdout")
        moves = [(row[1], row[2]) for row in way if row[3] != "goal"]
        arrivals = [to for _, to in moves]
        departures = [start for start, _ in moves if start is not None]
        resting = way[0][4] if way[0][5] == "active" else None
        for step in departures:
            arrivals.remove(step)
        assert arrivals == [resting]
