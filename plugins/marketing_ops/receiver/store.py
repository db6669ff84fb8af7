"""What the receiver writes: inbox rows, suppressions, the stop switch; over a few connections."""

from __future__ import annotations

import hashlib
import queue
import re
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import MAXYEAR, MINYEAR, date, timedelta
from typing import Any

import orjson
import psycopg

from marketing_ops import clock, sqlfile, warehouse
from marketing_ops.connections import Resolver
from marketing_ops.delivery import switch
from marketing_ops.errors import RetryableError
from marketing_ops.receiver.tokens import LinkToken
from marketing_ops.warehouse import Warehouse

POOL_SIZE = 4
_LONGEST_AGENT = 200

# Mail providers' proxies and scanners fetch pictures and links without anybody looking.
_MACHINE = re.compile(
    r"GoogleImageProxy|YahooMailProxy|bot\b|crawl|spider|preview|scanner|barracuda|proofpoint"
    r"|mimecast|curl/|python-|^Mozilla/5\.0$|^$",
    re.IGNORECASE,
)


def is_machine(user_agent: str) -> bool:
    """Whether a program, not a person, seems to have followed a link."""
    return _MACHINE.search(user_agent) is not None


class Store:
    """The warehouse for the receiver's threads. Every method raises RetryableError when Postgres
    is away; what it writes is idempotent, so a request may come again.
    """

    def __init__(self, resolve: Resolver) -> None:
        self._resolve = resolve
        self._idle: queue.LifoQueue[Warehouse | None] = queue.LifoQueue()
        for _ in range(POOL_SIZE):
            self._idle.put(None)

    def opened(self, token: LinkToken, user_agent: str) -> None:
        """An open: kept once per send for people and once for machines."""
        kind = "machine" if is_machine(user_agent) else "person"
        self._heard(token, "email_opened", kind, user_agent, None)

    def clicked(self, token: LinkToken, user_agent: str, url: str) -> None:
        """A click: kept once per send and target for people and once for machines."""
        kind = "machine" if is_machine(user_agent) else "person"
        target = hashlib.sha256(url.encode("utf-8", "replace")).hexdigest()[:12]
        self._heard(token, "email_clicked", f"{target}:{kind}", user_agent, url)

    def unsubscribed(self, token: LinkToken, user_agent: str) -> None:
        """Suppress the person for the brand at once, and tell unify through the inbox."""
        params = self._params(token, user_agent, None) | {"contact_id": token.contact_id}
        self._execute("engage/suppress_unsubscribe", params)

    def stop(self, scope: str) -> None:
        """Throw the stop switch."""
        with self._connection() as connection:
            switch.stop_sends(connection, scope, "receiver", "stopped by a signed request")

    def check(self) -> None:
        """Whether Postgres answers and holds our tables."""
        with self._connection() as connection:
            connection.execute("select 1 from mkt_ops.webhook_inbox limit 1")

    def close(self) -> None:
        """Close the idle connections."""
        while not self._idle.empty():
            connection = self._idle.get_nowait()
            if connection is not None:
                connection.close()

    def _heard(
        self, token: LinkToken, topic: str, detail: str, user_agent: str, url: str | None
    ) -> None:
        params = self._params(token, user_agent, url) | {
            "topic": topic,
            "delivery_id": f"{topic}:{token.send_id}:{detail}",
        }
        self._execute("engage/deliver_inbox", params)

    def _params(self, token: LinkToken, user_agent: str, url: str | None) -> dict[str, Any]:
        now = clock.now()
        start, end = entered_span(token.send_id)
        body = {
            "send_id": token.send_id,
            "at": now.isoformat(),
            "url": url,
            "user_agent": user_agent[:_LONGEST_AGENT],
            "is_machine": is_machine(user_agent),
        }
        return {
            "send_id": token.send_id,
            "brand": token.brand,
            "now": now,
            "month_start": start,
            "month_end": end,
            "body": orjson.dumps(body),
        }

    def _execute(self, name: str, params: dict[str, Any]) -> None:
        with self._connection() as connection:
            sqlfile.execute(connection, name, params)

    @contextmanager
    def _connection(self) -> Iterator[Warehouse]:
        """One of the few connections. One that broke is closed and replaced by the next request."""
        try:
            connection = self._idle.get(timeout=5)
        except queue.Empty:
            raise RetryableError("the receiver is busy") from None
        try:
            if connection is None or connection.closed or not _is_alive(connection):
                connection = None
                connection = warehouse.connect(self._resolve, application="marketing_ops receiver")
            with warehouse.translated_errors():
                yield connection
        except BaseException:
            if connection is not None:
                connection.close()
            connection = None
            raise
        finally:
            self._idle.put(connection)


def _is_alive(connection: Warehouse) -> bool:
    """A round trip: Postgres may have restarted since this connection was used."""
    try:
        connection.execute("select 1")
    except psycopg.OperationalError:
        connection.close()
        return False
    return True


def entered_span(send_id: int) -> tuple[date, date]:
    """[from, to) of the months whose partition holds a send: its id starts with yyyymm."""
    year, month = divmod(send_id // 10**12, 100)
    if not (MINYEAR <= year < MAXYEAR and 1 <= month <= 12):
        return date.min, date.max
    start = date(year, month, 1)
    return start, (start + timedelta(days=31)).replace(day=1)
