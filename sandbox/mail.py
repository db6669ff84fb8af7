"""The mailbox: an SMTP server that keeps every mail, pages to read them, and their readers."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from pathlib import Path
from typing import Any

from starlette.routing import BaseRoute

from marketing_ops import clock
from marketing_ops.errors import FatalError
from marketing_ops.yamlfile import did_you_mean
from sandbox import readers
from sandbox.mail_pages import mail_routes
from sandbox.mail_smtp import FAULTS, Fault, SmtpServer
from sandbox.mail_store import MailStore, headers


class MailSandbox:
    """One SMTP server and its mailbox. Mails live in `<data_dir>/mail.sqlite` and survive restarts.

    The server takes mail for anybody and delivers nothing. Log-in is optional: `sandbox`/`sandbox`.
    """

    def __init__(self, data_dir: Path) -> None:
        data_dir.mkdir(parents=True, exist_ok=True)
        self.store = MailStore(data_dir / "mail.sqlite")
        self._server = SmtpServer(self._received)
        self._readers = readers.Readers(self.store)

    def start(self, smtp_port: int, host: str = "127.0.0.1") -> int:
        """Listen for SMTP; returns the port (0 asks the system for a free one).

        Raises:
            FatalError: the port is taken.
        """
        return self._server.start(smtp_port, host)

    def stop(self) -> None:
        """Stop listening and close the mailbox's file."""
        self._server.stop()
        self.store.close()

    def routes(self) -> list[BaseRoute]:
        """`/mail/` (list), `/mail/{id}` (one mail), `/mail/api` (JSON)."""
        return mail_routes(self.store)

    def perform_due(self, now: datetime) -> dict[str, int]:
        """Let the readers do what is due by `now`: real HTTP calls to the links in their mails.

        Returns:
            Counts of open, machine_open, click, unsubscribe; of mails without_link, of links the
            receiver refused, and of actions still waiting because it could not be reached.
        """
        return self._readers.perform_due(now)

    def set_fault(self, fault: Mapping[str, Any]) -> None:
        """Misbehave: `{"kind", "times": n or absent, "match": part of an address, "seconds"}`.

        Kinds: refuse_recipient (550 5.1.1), greylist (451 4.7.1), drop_before_data, drop_after_data
        (the mail is kept, the answer never comes), refuse_auth (535), slow (`seconds` before the
        answer). `match` is compared with the recipient, for refuse_auth with the login.

        Raises:
            FatalError: an unknown kind or key.
        """
        kind = str(fault.get("kind", ""))
        if kind not in FAULTS:
            hint = did_you_mean(kind, set(FAULTS))
            raise FatalError(f"SMTP has no fault `{kind}`: use one of {', '.join(FAULTS)}.{hint}")
        unknown = set(fault) - {"kind", "times", "match", "seconds", "system"}
        if unknown:
            raise FatalError(
                f"a fault has no key `{min(unknown)}`: use kind, times, match, seconds"
            )
        times = fault.get("times")
        self._server.faults.add(
            Fault(
                kind=kind,
                times=int(times) if times is not None else None,
                match=str(fault.get("match", "")),
                seconds=float(fault.get("seconds", 2.0)),
            )
        )

    def clear_faults(self) -> None:
        """Behave again."""
        self._server.faults.clear()

    def faults(self) -> list[dict[str, Any]]:
        """The faults that may still strike, as `set_fault` took them."""
        return [vars(fault).copy() for fault in self._server.faults.active()]

    def state(self) -> dict[str, int]:
        """Counts for the control API."""
        return {"messages": self.store.count(), "smtp_port": self._server.port}

    def _received(self, mail_from: str, recipient: str, raw: bytes) -> None:
        now = clock.now()
        message_id = headers(raw).get("message-id", "")
        self.store.add(now, mail_from, recipient, raw, readers.plan(message_id, recipient, now))
