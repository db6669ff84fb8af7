"""Deliver one account's due sends: chunk by chunk through the gate, mail by mail to the server."""

from __future__ import annotations

import logging
import time
from collections import Counter, deque
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import lru_cache

from marketing_ops import clock
from marketing_ops import settings as configuration
from marketing_ops.connections import Resolver
from marketing_ops.content import ContentError
from marketing_ops.delivery import ledger
from marketing_ops.delivery.channels.message import Mail, Sender
from marketing_ops.delivery.channels.smtp import Outcome, SmtpChannel
from marketing_ops.delivery.compose import Composer
from marketing_ops.delivery.ledger import Decision, Gate, Taken
from marketing_ops.errors import FatalError, RetryableError
from marketing_ops.paths import include_root
from marketing_ops.receiver.tokens import receiver_key
from marketing_ops.settings import Source
from marketing_ops.warehouse import Warehouse

CHUNK = 10
CHUNK_SECONDS = 3.0
"""What is left of a chunk after this goes back and through the gate again: the stop switch and a
withdrawn consent are heard within these seconds, however slow the server is."""

MAX_REFUSALS_IN_A_ROW = 25
"""So many refused in a row are no accident: the guard stops the account."""

_TEMPLATE_PAUSE = timedelta(hours=1)
_REPORT_SECONDS = 5.0

_COUNTS = (
    "accepted",
    "rejected",
    "cancelled",
    "deferred",
    "retried",
    "released",
    "unknown",
    "retaken",
)

_log = logging.getLogger(__name__)

_Done = tuple[Taken, Outcome, str]
"""A called send, its outcome and the hash of what it said."""


@dataclass
class DeliveryReport:
    """What one call of `deliver` did; counts of sends.

    Attributes:
        cancelled: refused for good by the gate (or by a value the template lacks).
        deferred: quiet hours or a cap moved them.
        retried: refused for now by the server; they stay claimed.
        released: given back uncalled (a slow server, the end of the budget, an error).
        unknown: now in doubt: the worker died in the call, or the server never answered.
        retaken: a worker died before calling; claimed again.
        reasons: reason -> count, of everything that was not accepted.
        unknown_send_ids: which are in doubt.
    """

    account: str
    accepted: int = 0
    rejected: int = 0
    cancelled: int = 0
    deferred: int = 0
    retried: int = 0
    released: int = 0
    unknown: int = 0
    retaken: int = 0
    is_out_of_time: bool = False
    reasons: dict[str, int] = field(default_factory=dict)
    unknown_send_ids: list[int] = field(default_factory=list)

    def line(self) -> str:
        """The counts for a log."""
        counts = [f"{getattr(self, name)} {name}" for name in _COUNTS if getattr(self, name)]
        reasons = [f"{reason} {count}" for reason, count in sorted(self.reasons.items())]
        return f"{self.account}: {', '.join(counts) or 'nothing due'}" + (
            f" ({'; '.join(reasons)})" if reasons else ""
        )


def deliver(
    warehouse: Warehouse,
    account: str,
    *,
    resolve: Resolver,
    budget_seconds: float = 50.0,
    report: Callable[[str], None] = _log.info,
) -> DeliveryReport:
    """Send what is due through one account, for at most `budget_seconds` plus one mail.

    A send leaves once: it is in flight on disk before the call is made, its outcome follows.
    Nothing is sent when the account's mode is off, the switch is thrown, or its row in
    sending_modes is missing.

    Raises:
        FatalError: the account, brand, connection, log-in, sender or a template is wrong. What was
            taken and not called is claimed again.
        RetryableError: the server cannot be reached or takes no mail; likewise.
    """
    source = _source(account)
    if source.system != "smtp":
        raise FatalError(f"`{account}` is a {source.system} account: only smtp can deliver")
    delivery = _Delivery(warehouse, source, resolve, report, time.monotonic() + budget_seconds)
    delivery.expire()
    try:
        delivery.run()
    finally:
        delivery.close()
    if delivery.problems:
        first = next(iter(delivery.problems))
        affected = sum(delivery.problems.values())
        raise FatalError(f"{first} ({affected} send(s) could not be written and were not sent)")
    return delivery.result


def _source(account: str) -> Source:
    """The account's file, read again only when it changed: most calls find nothing due."""
    try:
        found = (include_root() / "sources" / f"{account}.yaml").stat()
    except OSError:
        return configuration.source(account)
    return _read_source(account, str(include_root()), found.st_mtime_ns, found.st_size)


@lru_cache(maxsize=64)
def _read_source(account: str, _root: str, _changed_at: int, _size: int) -> Source:
    return configuration.source(account)


class _Delivery:
    """One run over one account."""

    def __init__(
        self,
        warehouse: Warehouse,
        source: Source,
        resolve: Resolver,
        report: Callable[[str], None],
        deadline: float,
    ) -> None:
        self.warehouse, self.source, self.resolve = warehouse, source, resolve
        self.report, self.deadline = report, deadline
        self.result = DeliveryReport(source.source)
        self.problems: Counter[str] = Counter()
        self.settings = configuration.settings()
        self._channel: SmtpChannel | None = None
        self._refused_in_a_row = 0
        self._reported_at = time.monotonic()

    def expire(self) -> None:
        """Sends of dead workers: in doubt when the call was begun, else claimed again."""
        for send_id, status in ledger.expire_leases(
            self.warehouse, self.source.source, clock.now()
        ):
            if status == "unknown":
                self.result.unknown += 1
                self.result.unknown_send_ids.append(send_id)
                self.result.reasons["worker died"] = self.result.unknown
            else:
                self.result.retaken += 1
        if self.result.unknown_send_ids:
            ids = ", ".join(map(str, self.result.unknown_send_ids[:20]))
            self.report(f"in doubt, not sent again: {ids}; see `marketing-ops unknown-sends`")

    def run(self) -> None:
        """Group after group, chunk after chunk."""
        account, groups = self.source.source, self.settings.limits.shards
        due = ledger.due_groups(self.warehouse, account, clock.now(), groups)
        if not due:
            return
        sender = self._sender()
        gate = Gate.of(account, self.source.brand, sender, self.settings)
        composer = Composer(
            warehouse=self.warehouse,
            sender=sender,
            brand=self.settings.brands[self.source.brand],
            key=receiver_key(self.resolve),
            receiver_url=self.settings.receiver_url.rstrip("/"),
        )
        for group in due:
            after = (datetime(1, 1, 1, tzinfo=UTC), 0)
            while not self._is_over():
                decisions = ledger.take(
                    self.warehouse, gate, group, after=after, chunk=CHUNK, now=clock.now()
                )
                self._count(decisions)
                taken = [decision.taken for decision in decisions if decision.taken]
                rest = self._send_chunk(gate, composer, taken)
                if rest:
                    continue  # they are claimed again, as due as before: the gate looks once more
                if len(decisions) < CHUNK:
                    break
                after = (decisions[-1].due_at, decisions[-1].send_id)
                self._progress()

    def close(self) -> None:
        """Say goodbye to the server and report the counts."""
        if self._channel is not None:
            self._channel.close()
        self.report(self.result.line())

    def _send_chunk(self, gate: Gate, composer: Composer, taken: list[Taken]) -> list[Taken]:
        """Call the server for each; returns those that were given back for lack of time."""
        waiting = deque(taken)
        unsent: list[Taken] = []
        done: _Done | None = None
        ends = min(time.monotonic() + CHUNK_SECONDS, self.deadline)
        try:
            while waiting and time.monotonic() < ends:
                following = waiting[0]
                written = self._write(composer, following)
                if written is not None:
                    channel = self._open_channel()
                    is_begun = ledger.settle_and_begin(
                        self.warehouse, gate, clock.now(), done=done, following=following
                    )
                    done = None
                    if is_begun:
                        done = self._call(channel, written, following, unsent)
                waiting.popleft()
                self._guard()
        finally:
            if done is not None:
                ledger.settle_and_begin(
                    self.warehouse, gate, clock.now(), done=done, following=None
                )
            ledger.release(self.warehouse, uncalled=list(waiting), unsent=unsent)
            self.result.released += len(waiting)
        return list(waiting)

    def _call(
        self, channel: SmtpChannel, written: tuple[Mail, str], taken: Taken, unsent: list[Taken]
    ) -> _Done:
        """One call; when the channel raises, it promises that it handed nothing over."""
        mail, content_hash = written
        try:
            outcome = channel.send(mail)
        except (FatalError, RetryableError):
            unsent.append(taken)
            raise
        self._count_outcome(taken, outcome)
        return taken, outcome, content_hash

    def _write(self, composer: Composer, taken: Taken) -> tuple[Mail, str] | None:
        """The mail, or None when this send cannot be written; it is settled then."""
        now = clock.now()
        try:
            written = composer.compose(taken, now)
        except ContentError as error:
            self.problems[str(error)] += 1
            if error.is_template_wide:
                pause = now + _TEMPLATE_PAUSE
                ledger.settle_uncalled(self.warehouse, taken, now, "content", not_before=pause)
                self._note("deferred", "content")
            else:
                ledger.settle_uncalled(self.warehouse, taken, now, "content")
                self._note("cancelled", "content")
            return None
        if written is None:
            ledger.settle_uncalled(self.warehouse, taken, now, "bad_address")
            self._note("cancelled", "bad_address")
        return written

    def _open_channel(self) -> SmtpChannel:
        if self._channel is None:
            self._channel = SmtpChannel(self.resolve(self.source.connection))
        return self._channel

    def _sender(self) -> Sender:
        brand = self.settings.brands.get(self.source.brand)
        sender = Sender.parse(brand.sender) if brand else None
        if sender is None:
            raise FatalError(
                f"brand `{self.source.brand}` of account `{self.source.source}` has no `sender`"
                " with an address in settings.yaml"
            )
        return sender

    def _guard(self) -> None:
        if self._refused_in_a_row >= MAX_REFUSALS_IN_A_ROW:
            raise FatalError(
                f"the server of `{self.source.source}` refused {self._refused_in_a_row} recipients"
                " in a row: check whether it still takes mail from this account"
            )

    def _count(self, decisions: list[Decision]) -> None:
        for decision in decisions:
            if decision.taken is None:
                name = "cancelled" if decision.status == "cancelled" else "deferred"
                self._note(name, decision.reason or "")

    def _count_outcome(self, taken: Taken, outcome: Outcome) -> None:
        self._refused_in_a_row = self._refused_in_a_row + 1 if outcome.status == "rejected" else 0
        if outcome.status == "accepted":
            self.result.accepted += 1
        elif outcome.status == "unknown":
            self._note("unknown", outcome.reason)
            self.result.unknown_send_ids.append(taken.send_id)
            self.report(f"in doubt, not sent again: {taken.send_id} ({outcome.reason})")
        elif outcome.status == "rejected" or taken.attempts >= ledger.MAX_ATTEMPTS:
            self._note("rejected", outcome.reason)
        else:
            self._note("retried", outcome.reason)

    def _note(self, name: str, reason: str) -> None:
        setattr(self.result, name, getattr(self.result, name) + 1)
        self.result.reasons[reason] = self.result.reasons.get(reason, 0) + 1

    def _is_over(self) -> bool:
        self.result.is_out_of_time = time.monotonic() >= self.deadline
        return self.result.is_out_of_time

    def _progress(self) -> None:
        if time.monotonic() - self._reported_at >= _REPORT_SECONDS:
            self._reported_at = time.monotonic()
            self.report(self.result.line())
