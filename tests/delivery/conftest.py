"""A ledger with one live campaign, a real SMTP server, and a resolver for both."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from psycopg.types.json import Jsonb

from marketing_ops import content, warehouse
from marketing_ops.connections import Connection
from marketing_ops.errors import FatalError
from marketing_ops.warehouse import Warehouse
from sandbox.mail import MailSandbox

ACCOUNT = "smtp_journey"
BRAND = "journey"
NOON = datetime(2026, 3, 2, 17, tzinfo=UTC)
"""A Monday noon in New York: no quiet hours, the third send of the week is still allowed."""

KEY = "k" * 32


@dataclass
class Accounts:
    """A resolver whose connections a test may change."""

    known: dict[str, Connection] = field(default_factory=dict)

    def __call__(self, conn_id: str) -> Connection:
        if conn_id not in self.known:
            raise FatalError(f"connection `{conn_id}` is not defined")
        return self.known[conn_id]


@pytest.fixture
def mailbox(tmp_path: Path) -> Iterator[MailSandbox]:
    """A real SMTP server on loopback that keeps what it takes."""
    server = MailSandbox(tmp_path / "mail")
    server.start(0)
    yield server
    server.stop()


@pytest.fixture
def accounts(mailbox: MailSandbox) -> Accounts:
    port = mailbox.state()["smtp_port"]
    smtp = Connection(ACCOUNT, host="127.0.0.1", port=port, extra={"timeout": 5})
    receiver = Connection("marketing_ops_receiver", password=KEY)
    return Accounts({ACCOUNT: smtp, "marketing_ops_receiver": receiver})


class Ledger:
    """Writes what the tick would have written, and reads the ledger back."""

    def __init__(self, db: Warehouse, now: datetime) -> None:
        self.db = db
        self.now = now
        self._numbers = itertools.count(1)
        warehouse.ensure_partitions(db, "mkt_engage.sends", now.date(), now.date())
        self.campaign_id = self._campaign(db, now)
        # Deliveries ran before today, and Postgres has not crashed since.
        earlier = now - timedelta(hours=1)
        db.execute("insert into mkt_ops.crash_witness values (1, %s)", (earlier,))

    def _campaign(self, db: Warehouse, now: datetime) -> int:
        row = db.execute(
            "insert into mkt_engage.campaigns (campaign, brand, state, live_version,"
            " state_changed_at, state_changed_by) values ('rescue', 'journey', 'live', 1, %s, 't')"
            " returning campaign_id",
            (now,),
        ).fetchone()
        assert row is not None
        names = ("welcome", "cart_coupon")
        frozen = {name: content.load_template(name) for name in names}
        db.execute(
            "insert into mkt_engage.campaign_versions values (%s, 1, 'h', '{}', %s, %s, 't')",
            (row[0], Jsonb({"templates": frozen}), now),
        )
        db.execute(
            "insert into mkt_ops.sending_modes (account, brand, mode, actor, changed_at)"
            " values ('smtp_journey', 'journey', 'live', 't', %s)",
            (now,),
        )
        return int(row[0])

    def person(self, **values: Any) -> int:
        """A contact with granted consent; returns its id."""
        number = next(self._numbers)
        row = {
            "contact_id": number,
            "email": f"reader{number}@example.com",
            "first_name": "Ann",
            "country": "US",
            "city": "Covington",
            "created_at": self.now,
            "batch": 1,
        } | values
        names = ", ".join(row)
        places = ", ".join(f"%({name})s" for name in row)
        self.db.execute(f"insert into mkt_core.contacts ({names}) values ({places})", row)
        self.db.execute(
            "insert into mkt_core.consent_now values"
            " (%s, 'journey', 'email', 'marketing', 'granted', %s)",
            (row["contact_id"], self.now),
        )
        return int(row["contact_id"])

    def claim(self, contact_id: int | None = None, **values: Any) -> int:
        """A claimed send, due a minute ago; returns its id."""
        contact_id = contact_id or self.person()
        ctx = {"step": "mail", "template": "welcome", "transactional": False, "late_seconds": 86400}
        ctx |= {"entry": {}} | values.pop("ctx", {})
        number = next(self._numbers)
        row = {
            "send_id": 202603 * 10**12 + number,
            "entered_on": self.now.date(),
            "enrolment_id": number,
            "step_id": 1,
            "visit": 1,
            "campaign_id": self.campaign_id,
            "version": 1,
            "contact_id": contact_id,
            "shard": contact_id % 64,
            "brand": BRAND,
            "channel": "email",
            "via": ACCOUNT,
            "status": "claimed",
            "due_at": self.now - timedelta(minutes=1),
            "claimed_at": self.now - timedelta(minutes=1),
            "tick_id": 1,
            "ctx": Jsonb(ctx),
        } | values
        names = ", ".join(row)
        places = ", ".join(f"%({name})s" for name in row)
        self.db.execute(f"insert into mkt_engage.sends ({names}) values ({places})", row)
        return int(row["send_id"])

    def state(self, send_id: int) -> tuple[str, str | None]:
        """(status, reason) of a send."""
        row = self.read(send_id)
        return row["status"], row["reason"]

    def read(self, send_id: int) -> dict[str, Any]:
        """A send's whole row."""
        from psycopg.rows import dict_row

        with self.db.cursor(row_factory=dict_row) as cursor:
            cursor.execute("select * from mkt_engage.sends where send_id = %s", (send_id,))
            row = cursor.fetchone()
        assert row is not None
        return row


@pytest.fixture
def ledger(db: Warehouse, frozen_clock: Any) -> Ledger:
    frozen_clock.move(NOON)
    return Ledger(db, NOON)
