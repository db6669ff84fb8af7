"""The tests inside campaign files, played by the same engine in a scratch warehouse."""

from __future__ import annotations

import hashlib
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import psycopg
from psycopg import sql
from psycopg.types.json import Jsonb

from marketing_ops import warehouse as warehouses
from marketing_ops.campaigns import control, definition, lint, runner, versions
from marketing_ops.campaigns.definition import Campaign, ExpectedSend, FileTest, Step
from marketing_ops.durations import parse_duration
from marketing_ops.errors import FatalError
from marketing_ops.settings import settings
from marketing_ops.warehouse import Warehouse
from marketing_ops.yamlfile import FileProblemsError

_MOST_PEOPLE = 100_000
_IDS = ("cart_id", "order_id", "product_id")
_WORDS = ("at", "ago", "event", "enter", "leave", "consent", "key", "amount", "currency", *_IDS)
_COLUMNS = ("country", "region", "city", "postal_code", "language", "time_zone", "birth_date")


@dataclass(frozen=True)
class Failure:
    """What a test expected and what happened instead."""

    campaign: str
    test: str
    message: str

    def __str__(self) -> str:
        return f"{self.campaign}: {self.test}: {self.message}"


def run(warehouse: Warehouse, name: str) -> list[Failure]:
    """Play every test of include/campaigns/<name>.yaml; empty when all hold.

    Each test is a transaction that is rolled back. The policies of settings.yaml hold, the
    contact lives in UTC unless the test says otherwise, and facts are never stale.

    Raises:
        FileProblemsError: the file has problems; no test was played.
        FatalError: the warehouse is in use: take one from `scratch`.
    """
    problems = lint.problems(name)
    if problems:
        raise FileProblemsError(problems)
    campaign = definition.load_all()[0][name]
    row = warehouse.execute(
        "select exists (select 1 from mkt_core.contacts) or exists (select 1 from mkt_ops.ticks)"
    ).fetchone()
    if row and row[0]:
        raise FatalError("tests of campaign files need a scratch warehouse: this one is in use")
    found: list[Failure] = []
    for test in campaign.tests:
        try:
            with warehouse.transaction(force_rollback=True):
                found.extend(_Story(warehouse, campaign, test).play())
        finally:
            runner.forget(warehouse)
    return found


@contextmanager
def scratch(warehouse: Warehouse) -> Iterator[Warehouse]:
    """A migrated, empty warehouse beside this one; gone afterwards.

    Raises:
        FatalError: the login may not create databases.
    """
    name = f"marketing_ops_scratch_{uuid.uuid4().hex[:12]}"
    try:
        warehouse.execute(sql.SQL("create database {}").format(sql.Identifier(name)))
    except psycopg.errors.InsufficientPrivilege as error:
        raise FatalError(
            "tests of campaign files need a login that may create databases (createdb)"
        ) from error
    try:
        uri = psycopg.conninfo.make_conninfo(
            warehouse.info.dsn, password=warehouse.info.password, dbname=name
        )
        options = "-c timezone=UTC -c jit=off"
        with psycopg.connect(uri, autocommit=True, options=options) as fresh:
            warehouses.migrate(fresh)
            yield fresh
    finally:
        warehouse.execute(sql.SQL("drop database {} with (force)").format(sql.Identifier(name)))


class _Story:
    """One test: the facts come when the timeline says, the engine ticks whenever one is due."""

    def __init__(self, warehouse: Warehouse, campaign: Campaign, test: FileTest) -> None:
        self.warehouse = warehouse
        self.campaign = campaign
        self.test = test
        self.person = _person(campaign, test)
        self.ids: dict[tuple[str, str], int] = {}

    def play(self) -> list[Failure]:
        end = self.test.start + self.test.lasts
        self._prepare(end)
        coming = sorted(
            (item for item in self.test.timeline if "at" in item),
            key=lambda item: parse_duration(item["at"]),
        )
        now = self.test.start
        while now <= end:
            while coming and self._when(coming[0]) <= now:
                self._happen(coming.pop(0), now)
            runner.tick(self.warehouse, now, report=lambda _line: None)
            # Delivered at once: what is taken back before that is not this test's subject.
            self.warehouse.execute(
                "update mkt_engage.sends set status = 'accepted', outcome_at = %s"
                " where status = 'claimed'",
                (now,),
            )
            now = min([self._next_due(now), *(self._when(item) for item in coming[:1])])
        return [
            Failure(self.campaign.campaign, self.test.name, message) for message in self._compare()
        ]

    def _prepare(self, end: datetime) -> None:
        earliest = self.test.start - max(
            [parse_duration(item["ago"]) for item in self.test.timeline if "ago" in item]
            + [timedelta(0)]
        )
        for table in ("mkt_core.events", "mkt_engage.enrolment_log"):
            warehouses.ensure_partitions(self.warehouse, table, earliest.date(), end.date())
        self.warehouse.execute(
            "insert into mkt_ops.sending_modes (account, mode, actor, changed_at)"
            " select distinct t.account, 'live', 'test', %s::timestamptz"
            " from unnest(%s::text[]) as t (account)",
            (
                self.test.start,
                [step.send.via for step in self.campaign.walk() if step.send is not None],
            ),
        )
        self._contact(earliest)
        for item in self.test.timeline:
            if "ago" in item:
                self._happen(item, self.test.start - parse_duration(item["ago"]), is_baseline=True)
        frozen = versions.freeze(self.campaign)
        # Nothing is synced here: facts are what the timeline says, and so always fresh.
        frozen.definition.get("guards", {}).pop("fresh", None)
        before = self.test.start - timedelta(minutes=1)
        control.go_live(self.warehouse, self.campaign, frozen, "test", before)

    def _contact(self, earliest: datetime) -> None:
        given = self.test.contact
        born = earliest - timedelta(days=1)
        values: dict[str, Any] = {name: given.get(name) for name in _COLUMNS}
        values["time_zone"] = given.get("time_zone", "UTC")
        values |= {
            "contact_id": self.person,
            "email": given.get("email", "somebody@example.com"),
            "lifecycle": given.get("lifecycle", "lead"),
            "attributes": Jsonb(definition.plain(given.get("attributes", {}))),
            "at": born,
            "batch": self._batch(is_baseline=True),
        }
        shared = ", ".join([*_COLUMNS, "lifecycle", "attributes", "contact_id", "batch"])
        marks = ", ".join(
            f"%({name})s" for name in [*_COLUMNS, "lifecycle", "attributes", "contact_id", "batch"]
        )
        self.warehouse.execute(
            f"insert into mkt_core.contacts ({shared}, email, created_at)"  # noqa: S608 names of ours
            f" values ({marks}, %(email)s, %(at)s)",
            values,
        )
        self.warehouse.execute(
            f"insert into mkt_core.contact_history ({shared}, valid_from, row_hash, is_assumed)"  # noqa: S608
            f" values ({marks}, %(at)s, '', true)",
            values,
        )
        consents = given.get("consents", [{"brand": self.campaign.brand}])
        for consent in consents:
            self._consent({"status": "granted"} | dict(consent), born, is_baseline=True)

    def _happen(self, item: dict[str, Any], at: datetime, *, is_baseline: bool = False) -> None:
        if "event" in item:
            self._event(item, at, is_baseline=is_baseline)
        elif "consent" in item:
            given = {"brand": self.campaign.brand, "status": str(item["consent"])}
            self._consent(given, at, is_baseline=is_baseline)
        else:
            self._membership(str(item.get("enter") or item["leave"]), at, is_entry="enter" in item)

    def _event(self, item: dict[str, Any], at: datetime, *, is_baseline: bool) -> None:
        properties = {key: value for key, value in item.items() if key not in _WORDS}
        amount = item.get("amount")
        ids = {name: self._id(name, item.get(name)) for name in _IDS}
        text = f"{item['event']}:{at.isoformat()}:{sorted(ids.items(), key=str)}:{item.get('key')}"
        self.warehouse.execute(
            "insert into mkt_core.events (event_id, occurred_at, profile_id, contact_id,"
            " event_type, key, amount, currency, reporting_amount, cart_id, order_id, product_id,"
            " source, batch, properties) values (%(id)s, %(at)s, %(who)s, %(who)s, %(event)s,"
            " %(key)s, %(amount)s, %(currency)s, %(amount)s, %(cart_id)s, %(order_id)s,"
            " %(product_id)s, 'test', %(batch)s, %(properties)s)",
            ids
            | {
                "id": hashlib.md5(text.encode(), usedforsecurity=False).hexdigest(),
                "at": at,
                "who": self.person,
                "event": str(item["event"]),
                "key": None if item.get("key") is None else str(item["key"]),
                "amount": amount,
                "currency": str(item.get("currency", settings().reporting_currency)),
                "batch": self._batch(is_baseline=is_baseline),
                "properties": Jsonb(definition.plain(properties)),
            },
        )

    def _consent(self, given: dict[str, Any], at: datetime, *, is_baseline: bool) -> None:
        values = {
            "who": self.person,
            "brand": str(given["brand"]),
            "channel": str(given.get("channel", "email")),
            "topic": str(given.get("topic", "marketing")),
            "status": str(given["status"]),
            "at": at,
            "batch": self._batch(is_baseline=is_baseline),
        }
        self.warehouse.execute(
            "insert into mkt_core.consents (profile_id, contact_id, brand, channel, topic, status,"
            " changed_at, source, batch) values (%(who)s, %(who)s, %(brand)s, %(channel)s,"
            " %(topic)s, %(status)s, %(at)s, 'test', %(batch)s)",
            values,
        )
        self.warehouse.execute(
            "insert into mkt_core.consent_now (contact_id, brand, channel, topic, status,"
            " changed_at) values (%(who)s, %(brand)s, %(channel)s, %(topic)s, %(status)s, %(at)s)"
            " on conflict (contact_id, brand, channel, topic) do update"
            " set status = excluded.status, changed_at = excluded.changed_at",
            values,
        )

    def _membership(self, segment: str, at: datetime, *, is_entry: bool) -> None:
        values = {"segment": segment, "who": self.person, "at": at}
        values |= {"batch": self._batch(is_baseline=False)}
        self.warehouse.execute(
            "insert into mkt_engage.segments (segment, definition_hash, definition,"
            " first_evaluated_at, last_evaluated_at, last_batch)"
            " values (%(segment)s, 'test', '{}', %(at)s, %(at)s, %(batch)s)"
            " on conflict (segment) do update set last_evaluated_at = excluded.last_evaluated_at,"
            " last_batch = excluded.last_batch",
            values,
        )
        if is_entry:
            self.warehouse.execute(
                "insert into mkt_engage.segment_memberships (segment, contact_id, entered_at,"
                " definition_hash, is_baseline)"
                " values (%(segment)s, %(who)s, %(at)s, 'test', false)",
                values,
            )
        else:
            self.warehouse.execute(
                "update mkt_engage.segment_memberships set left_at = %(at)s"
                " where segment = %(segment)s and contact_id = %(who)s and left_at is null",
                values,
            )

    def _compare(self) -> list[str]:
        expect, found = self.test.expect, []
        row = self.warehouse.execute(
            "select status, exit_reason, converted_at is not null from mkt_engage.enrolments"
            " order by entered_at, enrolment_id limit 1"
        ).fetchone()
        if expect.entered is not None and expect.entered != (row is not None):
            found.append(f"expected entered: {expect.entered}, got {row is not None}")
        if expect.exit is not None:
            reason = (row[1] or "none") if row else "did not enter"
            if reason != expect.exit:
                found.append(f"expected exit `{expect.exit}`, got `{reason}`")
        if expect.converted is not None and expect.converted != bool(row and row[2]):
            found.append(f"expected converted: {expect.converted}, got {bool(row and row[2])}")
        if expect.sends is not None:
            found.extend(self._compare_sends(expect.sends))
        if expect.skipped is not None:
            skipped = [f"{step} ({reason})" for step, status, reason, _ in self._sends() if status]
            names = [text.split(" ")[0] for text in skipped]
            if names != expect.skipped:
                found.append(f"expected skipped {expect.skipped}, got {skipped}")
        return found

    def _compare_sends(self, expected: list[str | ExpectedSend]) -> list[str]:
        made = [(step, at) for step, is_skipped, _, at in self._sends() if not is_skipped]
        wanted = [item if isinstance(item, str) else item.step for item in expected]
        got = ", ".join(f"{step} after {_span(at - self.test.start)}" for step, at in made)
        if [step for step, _ in made] != wanted:
            return [f"expected sends {wanted}, got {got or 'none'}"]
        return [
            f"expected {item.step} after {_span(item.at)}, got {got}"
            for item, (_, at) in zip(expected, made, strict=True)
            if not isinstance(item, str) and item.at is not None and at - self.test.start != item.at
        ]

    def _sends(self) -> list[tuple[Any, ...]]:
        return self.warehouse.execute(
            "select t.step, s.status = 'skipped', s.reason, coalesce(s.claimed_at, s.due_at)"
            " from mkt_engage.sends as s"
            " inner join mkt_engage.campaign_steps as t on t.step_id = s.step_id"
            " order by s.send_id"
        ).fetchall()

    def _next_due(self, now: datetime) -> datetime:
        row = self.warehouse.execute(
            "select coalesce(min(due_at), %s) from mkt_engage.enrolments where status = 'active'",
            (now + self.test.lasts + timedelta(days=1),),
        ).fetchone()
        due: datetime = row[0] if row else now
        return max(due, now + timedelta(minutes=1))

    def _when(self, item: dict[str, Any]) -> datetime:
        return self.test.start + parse_duration(item["at"])

    def _batch(self, *, is_baseline: bool) -> int:
        return warehouses.open_batch(self.warehouse, "test", is_baseline=is_baseline)

    def _id(self, name: str, given: Any) -> int | None:
        """A number for `cart_id: c1`; a number stays what it is."""
        if given is None or isinstance(given, int):
            return given
        return self.ids.setdefault((name, str(given)), 1_000_000 + len(self.ids))


def _person(campaign: Campaign, test: FileTest) -> int:
    """The first contact whose hashes draw the arms of the test, and no holdout."""
    splits = {step.id: step for step in campaign.walk() if step.split is not None}
    for split, arm in test.arms.items():
        if split not in splits or arm not in splits[split].arms:
            raise FatalError(f"{campaign.campaign}: {test.name}: no arm `{arm}` in `{split}`")
    for person in range(1, _MOST_PEOPLE):
        if draw(f"{campaign.campaign}:holdout", person) < campaign.holdout:
            continue
        if all(arm_of(splits[split], person) == arm for split, arm in test.arms.items()):
            return person
    raise FatalError(f"{campaign.campaign}: {test.name}: nobody draws these arms")


def draw(salt: str, profile: int) -> float:
    """A number in [0, 1) for a person, as the tick's SQL draws it: never random."""
    digest = hashlib.md5(f"{salt}:{profile}".encode(), usedforsecurity=False).hexdigest()
    return int(digest[:8], 16) / 2**32


def arm_of(step: Step, profile: int) -> str:
    """The arm of a split that a person draws."""
    assert step.split is not None
    total = sum(arm.weight for arm in step.arms.values())
    point, upto = draw(step.split.salt, profile), 0
    for name, arm in step.arms.items():
        upto += arm.weight
        if point < upto / total:
            return name
    raise AssertionError("weights add up to the whole")


def _span(span: timedelta | None) -> str:
    assert span is not None
    hours = span.total_seconds() / 3600
    return f"{hours:g}h"
