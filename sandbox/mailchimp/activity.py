"""What became of each mail of a campaign, worked out by hash: no open is ever stored."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from hashlib import md5
from typing import Any, NamedTuple

LINKS = (
    "https://journey-market.example/new",
    "https://journey-market.example/offers",
    "https://journey-market.example/recipes",
    "https://journey-market.example/account",
)
REASONS = ("NORMAL", "UNSUB_REASON_NO_LONGER_INTERESTED", "UNSUB_REASON_TOO_MANY_EMAILS")
SECOND, HOUR = 1000, 3_600_000
LATEST = 5 * 24 * HOUR
"""After this long nothing more becomes of a mail."""


class Event(NamedTuple):
    """Something that happened to one mail, at an instant in epoch ms of a full second."""

    at: int
    action: str
    detail: str = ""
    is_machine: bool = False


@dataclass
class Mailing:
    """One campaign's mails.

    Attributes:
        campaign: its id.
        sent_at: when it was sent, epoch ms.
        recipients: (number of the member, address then), in the order of sending.
        final: its counts, once nothing more can happen.
    """

    campaign: str
    sent_at: int
    recipients: list[tuple[int, str]]
    final: dict[str, Any] = field(default_factory=dict, repr=False)
    _events: dict[int, list[Event]] | None = field(default=None, repr=False)

    def events(self) -> dict[int, list[Event]]:
        """What happened to each recipient's mail, oldest first; nothing for most."""
        if self._events is None:
            self._events = defaultdict(list)
            for number, _ in self.recipients:
                if found := sorted(_events(self.campaign, number, self.sent_at)):
                    self._events[number] = found
            self._events.default_factory = None
        return self._events

    def of(self, number: int, now: int, actions: Iterable[str], since: int = 0) -> list[Event]:
        """The events of one recipient in (since, now]."""
        found = self.events().get(number, ())
        return [one for one in found if since < one.at <= now and one.action in actions]

    def all(self, now: int, *actions: str) -> Iterator[tuple[int, Event]]:
        """(member, event) of every event up to now, in the order of sending."""
        for number, found in self.events().items():
            for one in found:
                if one.at <= now and one.action in actions:
                    yield number, one


def _events(campaign: str, number: int, sent_at: int) -> Iterator[Event]:
    """28 % open (some only by a machine, seconds after sending), 3 % click, 0.8 % bounce, 0.1 %
    complain.
    """
    digest = md5(f"{campaign}:{number}".encode(), usedforsecurity=False).digest()
    fate, look, place, more = (int.from_bytes(digest[i : i + 4], "big") for i in (0, 4, 8, 12))
    arrived = sent_at // SECOND * SECOND + fate % 300 * SECOND
    if fate // 300 % 1000 < 8:
        kind = "hard" if fate // 300 % 1000 < 2 else "soft"
        yield Event(arrived + (20 + place % 90) * SECOND, "bounce", kind)
        return
    if fate // 300 % 1000 >= 997:
        at = arrived + HOUR + place % (24 * 3600) * SECOND
        yield Event(at, "unsubscribe", REASONS[more % len(REASONS)])
    if fate // 300 % 1000 == 996:
        yield Event(arrived + HOUR + place % (24 * 3600) * SECOND, "abuse")
    if look % 100 >= 28:
        return
    if more % 100 < 40:
        yield Event(arrived + (3 + place % 25) * SECOND, "open", is_machine=True)
        if more % 100 < 20:
            return
    opened = arrived + (120 + place // 100 % 86_400) * SECOND
    yield Event(opened, "open")
    if more // 100 % 4 == 0:
        yield Event(opened + (3600 + place % 86_400) * SECOND, "open")
    if look // 100 % 80 < 11:
        yield Event(opened + (15 + place % 200) * SECOND, "click", LINKS[look // 8000 % len(LINKS)])


def summary(mailing: Mailing, now: int) -> dict[str, Any]:
    """Counts of a campaign at an instant, by what happened."""
    if now < mailing.sent_at + LATEST:
        return _counts(mailing, now)
    if not mailing.final:
        mailing.final = _counts(mailing, now)
    return mailing.final


def _counts(mailing: Mailing, now: int) -> dict[str, Any]:
    opens = list(mailing.all(now, "open"))
    human = [(number, one) for number, one in opens if not one.is_machine]
    clicks = list(mailing.all(now, "click"))
    bounces = [one.detail for _, one in mailing.all(now, "bounce")]
    return {
        "sent": len(mailing.recipients),
        "opens": len(opens),
        "unique_opens": len({number for number, _ in opens}),
        "human_opens": len(human),
        "unique_human_opens": len({number for number, _ in human}),
        "last_open": max((one.at for _, one in opens), default=None),
        "clicks": len(clicks),
        "unique_clicks": len({(number, one.detail) for number, one in clicks}),
        "clickers": len({number for number, _ in clicks}),
        "last_click": max((one.at for _, one in clicks), default=None),
        "hard": bounces.count("hard"),
        "soft": bounces.count("soft"),
        "unsubscribed": sum(1 for _ in mailing.all(now, "unsubscribe")),
    }
