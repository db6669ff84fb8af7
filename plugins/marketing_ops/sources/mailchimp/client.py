"""The client of one Mailchimp account: key, data center, at most our share of its connections."""

from __future__ import annotations

import re
import threading
import time
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any
from urllib.parse import urlsplit

from marketing_ops.connections import Connection
from marketing_ops.errors import FatalError
from marketing_ops.sources.auth import Basic, Bearer
from marketing_ops.sources.httpclient import HttpClient
from marketing_ops.sources.mailchimp import answers
from marketing_ops.sources.shared import Shared

CONNECTIONS = 10
"""Mailchimp answers 429 to an account's eleventh connection at a time."""

_VERSION_PATH = "/3.0"
_DATA_CENTER = re.compile(r"-([a-z]{2,4}\d{1,3})$")
_LONGEST_ANSWER_SECONDS = 125.0  # Mailchimp itself gives up after 120


class MailchimpClient:
    """Calls the Marketing API 3.0 of one account. Safe for use by many threads.

    Args:
        connection: its password is an API key, whose suffix (`...-us1`) says the data center, or
            an OAuth access token; then its host has to say it (`us1.api.mailchimp.com`).
        quota_share: the share (0-1) of the account's ten connections that this process may use.
        sleep: waits that many seconds.
    """

    def __init__(
        self,
        connection: Connection,
        quota_share: float = 0.5,
        *,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self.name, key = connection.conn_id, connection.password
        if not key:
            raise FatalError(
                f"connection `{self.name}` has no password: put the account's API key there"
            )
        found = _DATA_CENTER.search(key)
        self.data_center = found.group(1) if found else ""
        if not connection.host and not found:
            raise FatalError(
                f"connection `{self.name}` does not say the data center: use an API key, which"
                " ends in it (-us1), or put the host there (us1.api.mailchimp.com)"
            )
        host = connection.base_url() if connection.host else ""
        base_url = host or f"https://{self.data_center}.api.mailchimp.com"
        self.host = urlsplit(base_url).hostname or ""
        self._free = threading.BoundedSemaphore(max(int(CONNECTIONS * quota_share), 1))
        self.http = HttpClient(
            self.name,
            base_url.removesuffix(_VERSION_PATH) + _VERSION_PATH,
            headers={"Accept-Encoding": "gzip"},
            auth=Basic(connection.login or "key", key) if found else Bearer(key),
            errors=partial(answers.check, self.name),
            sleep=sleep,
            read_timeout=_LONGEST_ANSWER_SECONDS,
        )

    def get(self, path: str, params: Mapping[str, Any] | None = None) -> dict[str, Any]:
        """The object at a path.

        Raises:
            answers.GoneError: there is none. Else as `answers.check`.
        """
        with self._free:
            found = self.http.get_json(path, params)
        if not isinstance(found, dict):
            raise FatalError(f"`{self.name}` answers no object: its contract is broken")
        return found

    def send(self, method: str, path: str, value: Any, *, is_idempotent: bool) -> dict[str, Any]:
        """What Mailchimp answers to a write; empty when it says nothing (204).

        Args:
            is_idempotent: sending it twice is as good as once.
        """
        with self._free:
            found = self.http.send_json(method, path, value, is_read=is_idempotent)
        return found if isinstance(found, dict) else {}


def build(connection: Connection, quota_share: float, _shared: Shared) -> MailchimpClient:
    """The client factory of the Mailchimp source. There is no rate to share: only connections
    count, and the account's slots bound them.
    """
    return MailchimpClient(connection, quota_share)
