"""A small world for campaign tests: files in a folder of their own, facts as unify writes them."""

from __future__ import annotations

import hashlib
import shutil
import textwrap
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import psycopg
from psycopg.types.json import Jsonb

from marketing_ops import clock, warehouse
from marketing_ops.campaigns import control, runner
from marketing_ops.settings import settings
from marketing_ops.warehouse import Warehouse

T0 = datetime(2026, 3, 2, 12, tzinfo=UTC)
"""Monday noon; every world begins here."""

SETTINGS = """
reporting_timezone: UTC
reporting_currency: USD
brands:
  journey:
    name: Journey Market
    sender: "Journey Market <hello@journey.example.com>"
    postal_address: "1 Market Street"
policies:
  journey:
    email: {policy}
limits: {{shards: {shards}}}
"""

TEMPLATE = {
    "subject.txt": "Hello",
    "body.html": "<a href='{{ unsubscribe_url }}'>no more</a> {{ brand.postal_address }}",
    "body.txt": "Hello {{ unsubscribe_url }} {{ brand.postal_address }}",
    "meta.yaml": "description: a test",
}

EVERYONE = """
segment: everyone
description: all of them
owner: crm@example.com
where: {consent: {brand: journey, channel: email}}
"""


class World:
    """One warehouse, one include folder, and a clock that only `at` moves."""

    def __init__(self, db: Warehouse, include: Path, clock_path: Path) -> None:
        self.db = db
        self.include = include
        self.clock_path = clock_path
        self._batch = 0
        self.now = T0
        self.set_clock(T0)
        months = (
            datetime(2025, 12, 1, tzinfo=UTC).date(),
            datetime(2026, 12, 1, tzinfo=UTC).date(),
        )
        warehouse.ensure_partitions(db, "mkt_core.events", *months)
        db.execute(
            "insert into mkt_ops.sending_modes (account, mode, actor, changed_at)"
            " values ('smtp_journey', 'live', 'test', %s)",
            (T0,),
        )

    # Files -----------------------------------------------------------------------------------

    def settings(self, policy: str = "{}", shards: int = 2) -> None:
        """Write settings.yaml with this policy for the brand's mail."""
        text = SETTINGS.format(policy=policy, shards=shards)
        (self.include / "settings.yaml").write_text(text)
        settings.cache_clear()

    def file(self, name: str, text: str, folder: str = "campaigns") -> None:
        """Write include/<folder>/<name>.yaml."""
        (self.include / folder / f"{name}.yaml").write_text(textwrap.dedent(text))

    def template(self, name: str) -> None:
        """Write a template that passes the checks."""
        folder = self.include / "content" / name
        folder.mkdir(parents=True, exist_ok=True)
        for file, text in TEMPLATE.items():
            (folder / file).write_text(text)

    def campaign(self, name: str, body: str, *, start: bool = True) -> None:
        """Write a campaign (its head is added) with the templates it names, and start it."""
        head = f"campaign: {name}\nbrand: journey\n"
        self.file(name, head + textwrap.dedent(body))
        for word in body.replace("}", " ").replace(",", " ").split():
            if word.startswith("t_"):
                self.template(word)
        if start:
            control.start(self.db, name, "tester")

    # Facts -----------------------------------------------------------------------------------

    def set_clock(self, instant: datetime) -> None:
        """Set the product's clock."""
        self.now = instant
        clock.freeze(self.clock_path, instant)

    def contact(self, *ids: int, consent: str | None = "granted", **columns: Any) -> None:
        """People with a valid address and, unless told otherwise, consent given long ago."""
        long_ago = T0 - timedelta(days=60)
        batch = self.batch(is_baseline=True)
        for number in ids:
            values: dict[str, Any] = {
                "contact_id": number,
                "email": f"p{number}@example.com",
                "created_at": long_ago,
                "batch": batch,
            } | columns
            names = ", ".join(values)
            marks = ", ".join(f"%({name})s" for name in values)
            self.db.execute(f"insert into mkt_core.contacts ({names}) values ({marks})", values)
            self.db.execute(
                "insert into mkt_core.contact_history (contact_id, valid_from, batch, row_hash,"
                " is_assumed, lifecycle) values (%s, %s, %s, '', true, 'lead')",
                (number, long_ago, batch),
            )
            if consent:
                self.consent(number, consent, long_ago)

    def consent(self, contact: int, status: str, at: datetime) -> None:
        """A change of consent, known at once."""
        self.db.execute(
            "insert into mkt_core.consents (profile_id, contact_id, brand, channel, status,"
            " changed_at, source, batch) values (%s, %s, 'journey', 'email', %s, %s, 'test', %s)",
            (contact, contact, status, at, self.batch()),
        )
        self.db.execute(
            "insert into mkt_core.consent_now values (%s, 'journey', 'email', 'marketing', %s, %s)"
            " on conflict (contact_id, brand, channel, topic)"
            " do update set status = excluded.status, changed_at = excluded.changed_at",
            (contact, status, at),
        )

    def batch(self, *, is_baseline: bool = False) -> int:
        """Number a batch of facts."""
        with self.db.transaction():
            return warehouse.open_batch(self.db, "test", is_baseline=is_baseline)

    def event(
        self,
        contact: int,
        event: str,
        at: datetime,
        *,
        is_baseline: bool = False,
        batch: int | None = None,
        profile: int | None = None,
        is_machine: bool = False,
        **values: Any,
    ) -> str:
        """One event, in a batch of its own unless told otherwise; returns its id."""
        number = self.batch(is_baseline=is_baseline) if batch is None else batch
        columns = {
            name: values.pop(name)
            for name in ("key", "amount", "cart_id", "order_id", "product_id")
            if name in values
        }
        name = f"{event}:{contact}:{at.isoformat()}:{columns.get('key')}:{columns.get('cart_id')}"
        event_id = hashlib.md5(name.encode()).hexdigest()
        self.db.execute(
            "insert into mkt_core.events (event_id, occurred_at, profile_id, contact_id,"
            " event_type, key, amount, cart_id, order_id, product_id, source, batch, is_machine,"
            " properties) values (%s, %s, %s, %s, %s, %s, %s, %s, %s, %s, 'test', %s, %s, %s)",
            (
                event_id,
                at,
                profile or contact,
                contact,
                event,
                columns.get("key"),
                columns.get("amount"),
                columns.get("cart_id"),
                columns.get("order_id"),
                columns.get("product_id"),
                number,
                is_machine,
                Jsonb(values),
            ),
        )
        return event_id

    def member(
        self, contact: int, segment: str, at: datetime, *, is_baseline: bool = False
    ) -> None:
        """Somebody comes into a segment at its evaluation of `at`."""
        self.db.execute(
            "insert into mkt_engage.segment_memberships (segment, contact_id, entered_at,"
            " definition_hash, is_baseline) values (%s, %s, %s, 'h', %s)",
            (segment, contact, at, is_baseline),
        )
        self.evaluated(segment, at)

    def leaves(self, contact: int, segment: str, at: datetime) -> None:
        """Somebody leaves a segment at its evaluation of `at`."""
        self.db.execute(
            "update mkt_engage.segment_memberships set left_at = %s"
            " where segment = %s and contact_id = %s and left_at is null",
            (at, segment, contact),
        )
        self.evaluated(segment, at)

    def evaluated(self, segment: str, at: datetime, definition_hash: str = "h") -> None:
        """An evaluation of a segment."""
        self.db.execute(
            "insert into mkt_engage.segments (segment, definition_hash, definition,"
            " first_evaluated_at, last_evaluated_at, last_batch)"
            " values (%(s)s, %(h)s, '{}', %(at)s, %(at)s, %(b)s) on conflict (segment) do update"
            " set last_evaluated_at = excluded.last_evaluated_at, last_batch = excluded.last_batch,"
            " definition_hash = excluded.definition_hash",
            {"s": segment, "h": definition_hash, "at": at, "b": warehouse.last_batch(self.db)},
        )

    def suppress(self, contact: int, reason: str, at: datetime) -> None:
        """No more mail to somebody."""
        self.db.execute(
            "insert into mkt_engage.suppressions (contact_id, brand, channel, reason, source,"
            " since) values (%s, %s, 'email', %s, 'test', %s)",
            (contact, "journey" if reason == "unsubscribed" else None, reason, at),
        )

    # Ticks and what came of them ----------------------------------------------------------------

    def tick(self, at: datetime) -> runner.TickReport:
        """Set the clock and tick."""
        self.set_clock(at)
        return runner.tick(self.db, at)

    def live(self, until: datetime, step: timedelta = timedelta(hours=1)) -> None:
        """Tick from the present on, every `step`, up to and with `until`."""
        while self.now < until:
            self.tick(min(self.now + step, until))

    def sends(self, *columns: str) -> list[tuple[Any, ...]]:
        """The ledger in the order of decision: by default contact, step, status, reason."""
        wanted = ", ".join(columns or ("s.contact_id", "t.step", "s.status", "s.reason"))
        return self.db.execute(
            f"select {wanted} from mkt_engage.sends as s"
            " join mkt_engage.campaign_steps as t using (step_id)"
            " join mkt_engage.campaigns as c on c.campaign_id = s.campaign_id"
            " order by coalesce(s.claimed_at, s.due_at), s.contact_id, c.campaign, t.step"
        ).fetchall()

    def enrolments(self, *columns: str) -> list[tuple[Any, ...]]:
        """Enrolments: by default contact, entry_ref, status, exit_reason."""
        wanted = ", ".join(columns or ("e.contact_id", "e.entry_ref", "e.status", "e.exit_reason"))
        return self.db.execute(
            f"select {wanted} from mkt_engage.enrolments as e"
            " join mkt_engage.campaigns as c using (campaign_id)"
            " left join mkt_engage.campaign_steps as t on t.step_id = e.step_id"
            " order by e.contact_id, c.campaign, e.entered_at, e.entry_ref"
        ).fetchall()

    def ledger(self) -> list[tuple[Any, ...]]:
        """All that was decided, without the numbers that depend on who came first."""
        return ledger(self.db)


def ledger(db: psycopg.Connection[Any]) -> list[tuple[Any, ...]]:
    """Sends, enrolments and movements, comparable between runs."""
    sends = db.execute(
        "select 'send', e.profile_id, c.campaign, e.entry_ref, t.step, s.status, s.reason,"
        " s.due_at, s.claimed_at, s.contact_id, s.version from mkt_engage.sends as s"
        " join mkt_engage.enrolments as e using (enrolment_id)"
        " join mkt_engage.campaigns as c on c.campaign_id = s.campaign_id"
        " join mkt_engage.campaign_steps as t on t.step_id = s.step_id"
    ).fetchall()
    enrolments = db.execute(
        "select 'enrolment', e.profile_id, c.campaign, e.entry_ref, t.step, e.status,"
        " e.exit_reason, e.due_at, e.entered_at, e.converted_at, e.hold_since, e.arms::text"
        " from mkt_engage.enrolments as e join mkt_engage.campaigns as c using (campaign_id)"
        " left join mkt_engage.campaign_steps as t on t.step_id = e.step_id"
    ).fetchall()
    moves = db.execute(
        "select 'move', e.profile_id, c.campaign, e.entry_ref, l.at, l.reason, a.step, b.step"
        " from mkt_engage.enrolment_log as l join mkt_engage.enrolments as e using (enrolment_id)"
        " join mkt_engage.campaigns as c using (campaign_id)"
        " left join mkt_engage.campaign_steps as a on a.step_id = l.from_step_id"
        " left join mkt_engage.campaign_steps as b on b.step_id = l.to_step_id"
    ).fetchall()
    return sorted([*sends, *enrolments, *moves], key=repr)


def make_include(folder: Path, real: Path) -> None:
    """An include folder with our SQL and nothing of the examples."""
    for name in ("campaigns", "segments", "content", "sources"):
        (folder / name).mkdir(parents=True)
    (folder / "sql").symlink_to(real / "sql")
    shutil.copy(real / "sources" / "smtp_journey.yaml", folder / "sources")
    (folder / "segments" / "everyone.yaml").write_text(EVERYONE)
