"""What `marketing-ops doctor` looks at in a Mailchimp account."""

from __future__ import annotations

from collections.abc import Iterator

from marketing_ops.errors import FatalError
from marketing_ops.sources.answer import json_of
from marketing_ops.sources.base import Finding
from marketing_ops.sources.mailchimp.client import CONNECTIONS, MailchimpClient
from marketing_ops.sources.skew import clock_finding

_READS = {
    "audiences": "/lists",
    "campaigns": "/campaigns",
    "reports": "/reports",
}


def check(client: MailchimpClient) -> Iterator[Finding]:
    """Login, data center, clock, what may be read, and the limit.

    Raises:
        FatalError, RetryableError: the account does not answer as it should.
    """
    answer = client.http.call("GET", "/?fields=account_id,role", is_read=True)
    found = json_of(client.name, answer)
    who, role = (
        (found.get("account_id"), found.get("role")) if isinstance(found, dict) else ("", "")
    )
    yield Finding("login", True, f"reaches the account {who} as {role}")
    yield _data_center(client)
    yield clock_finding(answer)
    yield from _scopes(client)
    yield Finding("quota", True, f"{CONNECTIONS} connections at a time, no daily quota")


def _data_center(client: MailchimpClient) -> Finding:
    if client.host.endswith(".api.mailchimp.com"):
        center = client.host.partition(".")[0]
        if client.data_center and center != client.data_center:
            return Finding(
                "version",
                False,
                f"the connection's host is {client.host}, the key's data center"
                f" {client.data_center}: leave the host empty",
            )
    return Finding("version", True, f"API 3.0 at {client.host}")


def _scopes(client: MailchimpClient) -> Iterator[Finding]:
    readable = []
    for name, path in _READS.items():
        try:
            client.get(path, {"count": 1, "fields": "total_items"})
        except FatalError as error:
            yield Finding("scopes", False, f"{name}: {error}")
        else:
            readable.append(name)
    if readable:
        yield Finding("scopes", True, f"may read {', '.join(readable)}")
