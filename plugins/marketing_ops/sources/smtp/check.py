"""What `marketing-ops doctor` looks at in an SMTP account. No mail is sent."""

from __future__ import annotations

from collections.abc import Iterator

from marketing_ops.connections import Connection
from marketing_ops.delivery.channels.smtp import SmtpChannel
from marketing_ops.sources.base import Finding
from marketing_ops.sources.shared import Shared


def build(connection: Connection, _quota_share: float, _shared: Shared) -> SmtpChannel:
    """The client of an SMTP account is the channel that delivery sends through."""
    return SmtpChannel(connection)


def check(channel: SmtpChannel) -> Iterator[Finding]:
    """Reached, greeted, encrypted and logged in.

    Raises:
        FatalError, RetryableError: the server is not usable; says what to do.
    """
    try:
        yield Finding("login", True, channel.greet())
    finally:
        channel.close()
