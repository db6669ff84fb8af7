"""The mailbox's memory: one SQLite file with the mails received and what readers will do."""

from __future__ import annotations

import re
import sqlite3
import threading
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from email.header import decode_header, make_header
from pathlib import Path

_SCHEMA = """
create table if not exists messages (
    id integer primary key,
    received_at text not null,
    mail_from text not null,
    rcpt text not null,
    subject text not null,
    message_id text not null,
    send_id text not null,
    campaign text not null,
    raw blob not null
);
create index if not exists messages_rcpt on messages (rcpt);
create index if not exists messages_message_id on messages (message_id);
create table if not exists actions (
    id integer primary key,
    message integer not null references messages,
    kind text not null,
    due_at text not null,
    done_at text,
    result text
);
create index if not exists actions_due on actions (due_at) where done_at is null;
"""

_LISTED = "id, received_at, mail_from, rcpt, subject, message_id, send_id, campaign"


@dataclass(frozen=True)
class Stored:
    """One received mail as lists show it; `raw` is fetched on its own."""

    id: int
    received_at: datetime
    mail_from: str
    rcpt: str
    subject: str
    message_id: str
    send_id: str
    campaign: str


@dataclass(frozen=True)
class Action:
    """Something a reader does with a mail: `open`, `machine_open`, `click` or `unsubscribe`."""

    id: int
    message: int
    kind: str


class MailStore:
    """All mails of one sandbox. Safe to use from several threads."""

    def __init__(self, path: Path) -> None:
        self._lock = threading.Lock()
        self._db = sqlite3.connect(path, check_same_thread=False, isolation_level=None)
        self._db.execute("pragma journal_mode = wal")
        self._db.execute("pragma synchronous = off")
        self._db.executescript(_SCHEMA)

    def close(self) -> None:
        """Close the file; the store cannot be used afterwards."""
        with self._lock:
            self._db.close()

    def add(
        self,
        received_at: datetime,
        mail_from: str,
        rcpt: str,
        raw: bytes,
        actions: Iterable[tuple[str, datetime]],
    ) -> int:
        """Keep one mail for one recipient with its planned actions; returns its id."""
        head = headers(raw)
        values = (
            _text(received_at),
            mail_from,
            rcpt.lower(),
            _decoded(head.get("subject", "")),
            head.get("message-id", ""),
            head.get("x-marketing-ops-send", ""),
            head.get("x-marketing-ops-campaign", ""),
            raw,
        )
        with self._lock:
            self._db.execute("begin")
            cursor = self._db.execute(
                "insert into messages (received_at, mail_from, rcpt, subject, message_id, send_id,"
                " campaign, raw) values (?, ?, ?, ?, ?, ?, ?, ?)",
                values,
            )
            number = int(cursor.lastrowid or 0)
            self._db.executemany(
                "insert into actions (message, kind, due_at) values (?, ?, ?)",
                [(number, kind, _text(due_at)) for kind, due_at in actions],
            )
            self._db.execute("commit")
        return number

    def find(self, *, to: str = "", limit: int = 50, offset: int = 0) -> list[Stored]:
        """Mails, newest first; `to` is any part of the recipient's address."""
        with self._lock:
            rows = self._db.execute(
                f"select {_LISTED} from messages where rcpt like ? escape '!'"  # noqa: S608
                " order by received_at desc, id desc limit ? offset ?",
                (_like(to), limit, offset),
            ).fetchall()
        return [_stored(row) for row in rows]

    def count(self, *, to: str = "") -> int:
        """How many mails `find` would return without a limit."""
        with self._lock:
            row = self._db.execute(
                "select count(*) from messages where rcpt like ? escape '!'", (_like(to),)
            ).fetchone()
        return int(row[0])

    def get(self, number: int) -> tuple[Stored, bytes] | None:
        """One mail and its source, or None."""
        with self._lock:
            row = self._db.execute(
                f"select {_LISTED}, raw from messages where id = ?",  # noqa: S608
                (number,),
            ).fetchone()
        return (_stored(row[:-1]), bytes(row[-1])) if row else None

    def actions(self, number: int) -> list[tuple[str, datetime, datetime | None]]:
        """(kind, due, done or None) of one mail's readers, by time."""
        with self._lock:
            rows = self._db.execute(
                "select kind, due_at, done_at from actions where message = ? order by due_at",
                (number,),
            ).fetchall()
        return [(kind, _instant(due), _instant(done) if done else None) for kind, due, done in rows]

    def due_actions(self, now: datetime, limit: int = 500) -> list[Action]:
        """What readers should have done by `now`, oldest first."""
        with self._lock:
            rows = self._db.execute(
                "select id, message, kind from actions where done_at is null and due_at <= ?"
                " order by due_at, id limit ?",
                (_text(now), limit),
            ).fetchall()
        return [Action(*row) for row in rows]

    def finish_action(self, action: int, now: datetime, result: str) -> None:
        """Mark an action as done, with the receiver's answer in a word."""
        with self._lock:
            self._db.execute(
                "update actions set done_at = ?, result = ? where id = ?",
                (_text(now), result, action),
            )

    def clear(self) -> None:
        """Forget every mail and every planned action."""
        with self._lock:
            self._db.executescript("delete from actions; delete from messages;")


def headers(raw: bytes) -> dict[str, str]:
    """The header lines by lower-case name, unfolded; the last of equal names wins."""
    head = re.split(rb"\r?\n\r?\n", raw, maxsplit=1)[0]
    text = re.sub(r"\r?\n[ \t]+", " ", head.decode("utf-8", "replace"))
    pairs = (line.partition(":") for line in text.splitlines())
    return {name.strip().lower(): value.strip() for name, _, value in pairs}


def _decoded(value: str) -> str:
    try:
        return str(make_header(decode_header(value)))
    except (LookupError, ValueError):
        return value


def _like(part: str) -> str:
    plain = part.strip().lower()
    for sign in "!%_":
        plain = plain.replace(sign, f"!{sign}")
    return f"%{plain}%"


def _text(instant: datetime) -> str:
    return instant.astimezone(UTC).isoformat(timespec="microseconds")


def _instant(text: str) -> datetime:
    return datetime.fromisoformat(text)


def _stored(row: tuple[object, ...]) -> Stored:
    number, received_at, *rest = row
    return Stored(int(str(number)), _instant(str(received_at)), *[str(value) for value in rest])
