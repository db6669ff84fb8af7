"""What reading a stream as a whole will take, before it begins."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from typing import Any

from marketing_ops import settings, yamlfile
from marketing_ops.connections import Resolver
from marketing_ops.errors import FatalError
from marketing_ops.sources import registry
from marketing_ops.sources.base import Quota, Source, Stream
from marketing_ops.sync.account import AccountShare, CommandShare
from marketing_ops.warehouse import connect


@dataclass(frozen=True)
class Estimate:
    """A full read in numbers; None = the vendor does not say.

    Attributes:
        stream: its name.
        records: how many there are, without children.
        calls: one a page; None also where the vendor prepares one file.
        calls_per_second: what the account's share of the vendor's limit allows.
        calls_per_day: the vendor's daily quota.
        left_today: calls that are left of it.
        is_file: the vendor prepares one file, which takes no call a page.
    """

    stream: str
    records: int | None
    calls: int | None
    calls_per_second: float | None
    calls_per_day: int | None = None
    left_today: int | None = None
    is_file: bool = False

    @property
    def quota_ratio(self) -> float | None:
        """The share (0-1, or more) of the daily quota; None = unknown, or there is none."""
        if self.calls is None or not self.calls_per_day:
            return None
        return self.calls / self.calls_per_day

    @property
    def minutes(self) -> float | None:
        """At least so many, at the account's pace; waiting for answers comes on top."""
        if self.calls is None or not self.calls_per_second:
            return None
        return self.calls / self.calls_per_second / 60

    @property
    def is_within_today(self) -> bool:
        """False = the daily quota will not do, so that the read will be postponed on its way."""
        return self.calls is None or self.left_today is None or self.calls <= self.left_today

    def line(self) -> str:
        """One sentence; what is unknown is said to be unknown."""
        parts = [_counted(self.records, "record")]
        parts.append("read as one file" if self.is_file else _counted(self.calls, "call"))
        if self.quota_ratio is not None:
            parts.append(f"{_percent(self.quota_ratio)} of the daily quota")
        if not self.is_within_today:
            parts.append(f"more than the {self.left_today:,} left today: it will be postponed")
        if not self.is_file:
            parts.append(self._duration())
        return f"{self.stream}: {', '.join(parts)}"

    def _duration(self) -> str:
        if self.minutes is None:
            return "minutes unknown"
        length = "less than a minute" if self.minutes < 1 else f"at least {self.minutes:,.0f} min"
        return f"{length} at {self.calls_per_second:,.4g} calls a second"


def estimate(client: Any, source: Source, stream: Stream, quota_share: float) -> Estimate:
    """Ask the vendor how much there is, and put it against the account's share of its limits.

    Args:
        client: the account's client.
        source: its system's declaration.
        stream: what a full read would read.
        quota_share: the share (0-1) of the vendor's pace that we may use.

    Raises:
        FatalError, RetryableError, QuotaExhaustedError: as the vendor answers the question.
    """
    records = source.count(client, stream, None) if source.count else None
    quota = source.quota(client, stream) if source.quota else Quota()
    pace = quota.calls_per_second
    # The last page says that there is no more; an empty stream still takes one call.
    pages = None if records is None else max(math.ceil(records / stream.page_size), 1)
    return Estimate(
        stream=stream.name,
        records=records,
        calls=None if stream.has_bulk else pages,
        calls_per_second=None if pace is None else pace * quota_share,
        calls_per_day=quota.calls_per_day,
        left_today=quota.left_today,
        is_file=stream.has_bulk,
    )


def estimates(account: str, streams: Sequence[str], resolve: Resolver) -> Iterator[Estimate]:
    """An estimate for each of the named streams, or of all that the account's file has on.

    Raises:
        FatalError: no such account or stream, no connection, or the vendor refuses.
    """
    source = settings.source(account)
    system = registry.system(source.system)
    names = streams or [name for name, when in source.streams.items() if when != "off"]
    wanted = [_stream(system, name) for name in names]
    if not wanted or system.client is None:
        raise FatalError(f"`{account}` reads no streams: there is nothing to estimate")
    connection = resolve(source.connection)
    with closing(AccountShare(lambda: connect(resolve), account, connection)) as share:
        client = system.client(connection, source.quota_share, CommandShare(share))
        for stream in wanted:
            if not stream.deletes:
                yield estimate(client, system, stream, source.quota_share)


def _stream(system: Source, name: str) -> Stream:
    found = system.stream(name)
    if found is None:
        hint = yamlfile.did_you_mean(name, {stream.name for stream in system.streams})
        raise FatalError(f"{system.system} has no stream `{name}`.{hint}")
    return found


def _counted(number: int | None, word: str) -> str:
    if number is None:
        return f"{word}s unknown"
    return f"{number:,} {word}{'' if number == 1 else 's'}"


def _percent(ratio: float) -> str:
    return "less than 1 %" if 0 < ratio < 0.01 else f"{ratio:.0%}".replace("%", " %")
