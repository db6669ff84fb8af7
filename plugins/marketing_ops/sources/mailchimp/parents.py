"""What a stream is read below: the audiences of an account, the campaigns it sent."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from marketing_ops.sources.base import ReadRequest, Stream
from marketing_ops.sources.mailchimp.client import MailchimpClient
from marketing_ops.sources.mailchimp.listing import listed

SECOND = timedelta(seconds=1)

LIVE = timedelta(days=90)
"""For so long a campaign's report is read again: later opens and clicks come with a refresh."""


@dataclass(frozen=True)
class Parent:
    """One list to read: all of it, or the span of it between two times of change.

    Attributes:
        id: the audience's or campaign's id, "" for what has no parent.
        since: read what changed from then on, None = from the beginning.
        before: read what changed before, None = to the end.
        sent_at: when the campaign was sent, as Mailchimp writes it.
    """

    id: str = ""
    since: datetime | None = None
    before: datetime | None = None
    sent_at: str = ""

    @property
    def label(self) -> str:
        """Tells it apart from the other parents of one read."""
        return f"{self.id}@{self.since.isoformat()}" if self.since else self.id


def parents_of(client: MailchimpClient, stream: Stream, request: ReadRequest) -> list[Parent]:
    """The lists that a request reads, in an order that stays the same."""
    path = stream.api["path"]
    if "{list}" in path:
        if request.part is not None:
            return _spans(stream, request, request.part["spans"])
        since, before = request.since, None if request.is_full else request.until
        return [Parent(key, since, before) for key in audience_ids(client)]
    if "{campaign}" in path:
        return list(dict.fromkeys(_campaigns(client, stream, request)))
    return [Parent()]


def _spans(stream: Stream, request: ReadRequest, spans: list[list[Any]]) -> list[Parent]:
    """The spans of a part, and behind them what changed since the run began: whoever left one of
    them before it was read is there.
    """
    tail = request.until - stream.overlap
    left = dict.fromkeys(key for key, _, before in spans if before is not None)
    found = [Parent(key, instant(since), instant(before)) for key, since, before in spans]
    return [*found, *(Parent(key, tail) for key in left)]


def audience_ids(client: MailchimpClient) -> list[str]:
    """The ids of the account's audiences, oldest first."""
    ask = {"fields": "lists.id,total_items", "sort_field": "date_created", "sort_dir": "ASC"}
    return [
        str(found["id"]) for page, _ in listed(client, "/lists", "lists", ask) for found in page
    ]


def instant(text: Any) -> datetime | None:
    """A time as Mailchimp writes it; None when it is none."""
    try:
        at = datetime.fromisoformat(text) if isinstance(text, str) and text else None
    except ValueError:
        return None
    return at if at is None or at.tzinfo else at.replace(tzinfo=UTC)


def _campaigns(client: MailchimpClient, stream: Stream, request: ReadRequest) -> Iterator[Parent]:
    """The campaigns whose reports may hold something of the window, oldest first."""
    ask = {
        "fields": "campaigns.id,campaigns.send_time,total_items",
        "sort_field": "send_time",
        "sort_dir": "ASC",
    }
    oldest = None
    if request.since is not None:
        oldest = request.since if stream.cursor == "sent_at" else request.since - LIVE
        ask["since_send_time"] = asked(oldest - SECOND)
    for page, _ in listed(client, "/campaigns", "campaigns", ask):
        for campaign in page:
            sent_at = instant(campaign.get("send_time"))
            # a scheduled one has its time too
            if sent_at is None or sent_at >= request.until or (oldest and sent_at < oldest):
                continue
            yield Parent(
                str(campaign["id"]), request.since, request.until, str(campaign["send_time"])
            )


def asked(at: datetime) -> str:
    """A time as Mailchimp takes it."""
    return at.astimezone(UTC).replace(microsecond=0).isoformat()
