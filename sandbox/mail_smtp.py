"""The SMTP side of the mailbox: takes every mail, and misbehaves on demand."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from aiosmtpd.smtp import SMTP, AuthResult, Envelope, LoginPassword, Session

from marketing_ops.errors import FatalError

LOGIN = "sandbox"
PASSWORD = "sandbox"  # noqa: S105  (the sandbox's published password)

FAULTS = (
    "refuse_recipient",
    "greylist",
    "drop_after_data",
    "drop_before_data",
    "refuse_auth",
    "slow",
)

Received = Callable[[str, str, bytes], None]
"""Called with (envelope sender, recipient, raw mail) for each mail taken."""


@dataclass
class Fault:
    """One way to misbehave. `times` counts down; None means until cleared."""

    kind: str
    times: int | None = None
    match: str = ""
    seconds: float = 2.0


class Faults:
    """What goes wrong next. Threads may read and set it."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._set: list[Fault] = []

    def add(self, fault: Fault) -> None:
        """Add one fault after those already set."""
        with self._lock:
            self._set.append(fault)

    def clear(self) -> None:
        """Behave again."""
        with self._lock:
            self._set.clear()

    def active(self) -> list[Fault]:
        """The faults that may still strike."""
        with self._lock:
            return list(self._set)

    def take(self, kind: str, subject: str) -> Fault | None:
        """The first fault of this kind whose `match` is part of `subject`, counted as used."""
        with self._lock:
            for fault in self._set:
                if fault.kind == kind and fault.match.lower() in subject.lower():
                    if fault.times is not None:
                        fault.times -= 1
                        if fault.times <= 0:
                            self._set.remove(fault)
                    return fault
        return None


class _Handler:
    """aiosmtpd's hooks: RCPT decides about the recipient, DATA takes the mail."""

    def __init__(self, faults: Faults, received: Received) -> None:
        self._faults = faults
        self._received = received

    async def handle_RCPT(  # noqa: N802  (aiosmtpd's name)
        self, server: SMTP, session: Session, envelope: Envelope, address: str, options: list[str]
    ) -> str:
        if self._faults.take("refuse_recipient", address):
            return "550 5.1.1 no such mailbox here"
        if self._faults.take("greylist", address):
            return "451 4.7.1 greylisted, come back later"
        if self._faults.take("drop_before_data", address):
            _drop(server)
            return "421 4.3.0 going away"
        envelope.rcpt_tos.append(address)
        envelope.rcpt_options.extend(options)
        return "250 OK"

    async def handle_DATA(  # noqa: N802  (aiosmtpd's name)
        self, server: SMTP, session: Session, envelope: Envelope
    ) -> str:
        raw = envelope.original_content or b""
        for address in envelope.rcpt_tos:
            slow = self._faults.take("slow", address)
            if slow:
                await asyncio.sleep(slow.seconds)
            self._received(envelope.mail_from or "", address, raw)
            if self._faults.take("drop_after_data", address):
                _drop(server)
        return "250 2.0.0 taken"


def _drop(server: SMTP) -> None:
    if isinstance(server.transport, asyncio.WriteTransport):
        server.transport.abort()


class SmtpServer:
    """A listening SMTP server in a thread of its own."""

    def __init__(self, received: Received) -> None:
        self.faults = Faults()
        self.port = 0
        self._received = received
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread: threading.Thread | None = None
        self._server: asyncio.Server | None = None

    def start(self, port: int, host: str = "127.0.0.1") -> int:
        """Listen; returns the port (0 asks the system for a free one).

        Raises:
            FatalError: the port is taken.
        """
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="smtp", daemon=True)
        self._thread.start()
        try:
            self._server = asyncio.run_coroutine_threadsafe(
                self._listen(self._loop, host, port), self._loop
            ).result(timeout=30)
        except OSError as error:
            self.stop()
            raise FatalError(f"SMTP port {port} is taken: choose another --smtp-port") from error
        self.port = int(self._server.sockets[0].getsockname()[1])
        return self.port

    def stop(self) -> None:
        """Stop listening and end the thread; does nothing when it never started."""
        loop, thread, self._loop, self._thread = self._loop, self._thread, None, None
        if loop is None or thread is None:
            return
        asyncio.run_coroutine_threadsafe(self._shut(), loop).result(timeout=30)
        loop.call_soon_threadsafe(loop.stop)
        thread.join(timeout=30)
        loop.close()

    async def _listen(
        self, loop: asyncio.AbstractEventLoop, host: str, port: int
    ) -> asyncio.Server:
        handler = _Handler(self.faults, self._received)

        def session() -> SMTP:
            return SMTP(
                handler,
                hostname="sandbox.example.com",
                ident="marketing_ops sandbox",
                authenticator=self._authenticate,
                auth_require_tls=False,
                loop=loop,
            )

        return await loop.create_server(session, host, port)

    async def _shut(self) -> None:
        if self._server is not None:
            self._server.close()
        rest = [task for task in asyncio.all_tasks() if task is not asyncio.current_task()]
        for task in rest:
            task.cancel()
        await asyncio.gather(*rest, return_exceptions=True)

    def _authenticate(
        self, server: SMTP, session: Session, envelope: Envelope, mechanism: str, data: Any
    ) -> AuthResult:
        login = data.login.decode() if isinstance(data, LoginPassword) else ""
        password = data.password.decode() if isinstance(data, LoginPassword) else ""
        is_refused = self.faults.take("refuse_auth", login) is not None
        is_right = (login, password) == (LOGIN, PASSWORD)
        return AuthResult(success=is_right and not is_refused, handled=False)
