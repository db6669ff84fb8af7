"""What all workers that use one account share, kept in the warehouse: pace, token and slots."""

from __future__ import annotations

import base64
import json
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from datetime import datetime

import psycopg
from cryptography.fernet import Fernet, InvalidToken
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from psycopg import sql
from psycopg.conninfo import make_conninfo

from marketing_ops import clock, sqlfile
from marketing_ops.connections import Connection
from marketing_ops.sources.shared import InProcess, Token, TokenStore
from marketing_ops.warehouse import Warehouse, lock, translated_errors

_POLL_SECONDS = 0.5


class AccountShare:
    """`sources.shared.Shared` over one connection of its own to the warehouse.

    Safe for use by many threads. The connection is opened at the first need and ends with `close`
    or with the process, which frees whatever slots were held.

    Args:
        open_warehouse: opens one more connection to the warehouse.
        account: the name of the account.
        connection: its secrets seal the stored token, so that the warehouse alone tells nobody
            one; other secrets make the stored token unreadable, which counts as none.
    """

    def __init__(
        self, open_warehouse: Callable[[], Warehouse], account: str, connection: Connection
    ) -> None:
        self._open, self._account, self._connection = open_warehouse, account, connection
        self._warehouse: Warehouse | None = None
        self._using = threading.RLock()
        self._held: set[int] = set()
        self._tokens = threading.RLock()

    @contextmanager
    def _use(self) -> Iterator[Warehouse]:
        with self._using, translated_errors():
            if self._warehouse is None or self._warehouse.closed:
                self._warehouse = self._open()
                self._held.clear()
                # A lost reservation costs a throttle; waiting for the disk would cost each call.
                self._warehouse.execute("set synchronous_commit = off")
            yield self._warehouse

    def close(self) -> None:
        """Give the connection and every slot back."""
        with self._using:
            if self._warehouse is not None:
                self._warehouse.close()
                self._warehouse = None

    def reserve(self, bucket: str, per_second: float, burst: int) -> float:
        """See `Shared`. Measured by the server's wall clock: all workers have that one in common,
        and a vendor's limit knows no simulated time.
        """
        params = {
            "account": self._account,
            "bucket": bucket,
            "step": 1.0 / per_second,
            "burst": burst,
        }
        with self._use() as warehouse:
            row = sqlfile.execute(warehouse, "ops/reserve_call", params).fetchone()
        assert row is not None
        return max(float(row[0]), 0.0)

    @contextmanager
    def token(self) -> Iterator[_StoredToken]:
        """See `Shared`: an advisory lock that one refresher holds, on a connection of its own, so
        that the pace of the other threads goes on.
        """
        with self._tokens, translated_errors():
            warehouse = self._open()
            try:
                with warehouse.transaction():
                    lock(warehouse, "token", self._account)
                    # Committed by a connection of its own while the lock is held: a token is
                    # stored for good before it is used, whatever becomes of this transaction.
                    yield _StoredToken(self._use, self._account, self._seal())
            finally:
                warehouse.close()

    def _seal(self) -> Fernet:
        known = self._connection
        secrets = json.dumps([known.login, known.password, known.extra], sort_keys=True)
        derived = HKDF(SHA256(), 32, salt=b"marketing_ops", info=self._account.encode())
        return Fernet(base64.urlsafe_b64encode(derived.derive(secrets.encode())))

    @contextmanager
    def slot(self, slots: int, say: Callable[[str], None]) -> Iterator[None]:
        """Hold one of the account's slots, waiting while others hold all of them."""
        taken = self.take_slots(1, slots)
        if not taken:
            say(f"{self._account}: waits for one of the account's {slots} slots (pool_slots)")
        while not taken:
            time.sleep(_POLL_SECONDS)
            taken = self.take_slots(1, slots)
        try:
            yield
        finally:
            self.free_slots(taken)

    def take_slots(self, wanted: int, slots: int) -> list[int]:
        """Hold up to `wanted` of the account's `slots` that nobody holds; returns their numbers."""
        taken: list[int] = []
        with self._use() as warehouse:
            for number in range(slots):
                if len(taken) == wanted:
                    break
                # To Postgres all threads of this process are one session, which may lock twice.
                if number not in self._held and self._locked(
                    warehouse, "try_advisory_lock", number
                ):
                    self._held.add(number)
                    taken.append(number)
        return taken

    def free_slots(self, numbers: list[int]) -> None:
        """Give slots back."""
        with self._using:
            self._held.difference_update(numbers)
            if self._warehouse is None or self._warehouse.closed:
                return  # they went with the connection
            with self._use() as warehouse:
                for number in numbers:
                    self._locked(warehouse, "advisory_unlock", number)

    def _locked(self, warehouse: Warehouse, act: str, number: int) -> bool:
        row = warehouse.execute(
            sql.SQL("select {}(hashtextextended(%s, 0))").format(sql.Identifier(f"pg_{act}")),
            (f"slot:{self._account}:{number}",),
        ).fetchone()
        return bool(row and row[0])


class CommandShare(InProcess):
    """`sources.shared.Shared` for a command that makes a few calls: it paces itself and needs no
    warehouse for that, but uses and renews the account's one token.
    """

    def __init__(self, account: AccountShare) -> None:
        super().__init__()
        self._account = account

    @contextmanager
    def token(self) -> Iterator[TokenStore]:
        """See `Shared`: renewed beside the workers, a token that rotates would be lost to them."""
        with self._account.token() as store:
            yield store


class _StoredToken:
    """`TokenStore` in mkt_ops.account_tokens, sealed."""

    def __init__(
        self, use: Callable[[], AbstractContextManager[Warehouse]], account: str, seal: Fernet
    ) -> None:
        self._use, self._account, self._seal = use, account, seal

    def load(self) -> Token | None:
        """The stored token; None before the first, and when it was sealed with other secrets."""
        with self._use() as warehouse:
            row = warehouse.execute(
                "select sealed from mkt_ops.account_tokens where account = %s", (self._account,)
            ).fetchone()
        if row is None:
            return None
        try:
            access, refresh, ends_at = json.loads(self._seal.decrypt(bytes(row[0])))
        except InvalidToken:
            return None
        return Token(access, datetime.fromisoformat(ends_at), refresh)

    def save(self, token: Token) -> None:
        """Store it durably.

        Raises:
            RetryableError: it could not be stored; it must not be used then, but kept.
        """
        text = json.dumps([token.access, token.refresh, token.ends_at.isoformat()])
        params = (self._account, self._seal.encrypt(text.encode()), clock.now())
        with self._use() as warehouse, warehouse.transaction():
            warehouse.execute("set local synchronous_commit = on")
            warehouse.execute(
                "insert into mkt_ops.account_tokens (account, sealed, updated_at)"
                " values (%s, %s, %s) on conflict (account) do update"
                " set sealed = excluded.sealed, updated_at = excluded.updated_at",
                params,
            )


def another(warehouse: Warehouse) -> Callable[[], Warehouse]:
    """Opens further connections to where `warehouse` is connected to."""
    password = {"password": warehouse.info.password} if warehouse.info.password else {}
    address = make_conninfo(**warehouse.info.get_parameters(), **password)

    def connect() -> Warehouse:
        return psycopg.connect(address, autocommit=True)

    return connect
