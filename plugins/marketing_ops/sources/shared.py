"""What the processes that use one account of a vendor share: its pace and its token."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol


@dataclass(frozen=True)
class Token:
    """What an OAuth2 server granted. `repr` shows no secret."""

    access: str
    ends_at: datetime
    refresh: str = ""

    def __repr__(self) -> str:
        return f"Token(ends_at={self.ends_at.isoformat()})"


class TokenStore(Protocol):
    """The one token of an account, while its refresher holds it."""

    def load(self) -> Token | None:
        """The stored token; None before the first."""

    def save(self, token: Token) -> None:
        """Store a token for good before it is used: a rotated refresh token is lost otherwise."""


class Shared(Protocol):
    """Pace and token of one account, across threads, processes and machines."""

    def reserve(self, bucket: str, per_second: float, burst: int) -> float:
        """Book one call of `bucket`; returns the seconds to wait before it may be made.

        At most `burst` calls at once and `per_second` of them in the long run, whoever calls.
        """

    def token(self) -> AbstractContextManager[TokenStore]:
        """Hold the account's token; whoever else wants to renew it waits meanwhile."""


class _Memory:
    def __init__(self) -> None:
        self.token: Token | None = None

    def load(self) -> Token | None:
        return self.token

    def save(self, token: Token) -> None:
        self.token = token


class InProcess:
    """`Shared` for one process alone: tests, and commands that call a vendor once."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._full_at: dict[str, float] = {}
        self._token_lock = threading.RLock()
        self._store = _Memory()

    def reserve(self, bucket: str, per_second: float, burst: int) -> float:
        """See `Shared`; the generic cell rate algorithm with one instant a bucket."""
        step = 1.0 / per_second
        with self._lock:
            now = self._clock()
            due = max(self._full_at.get(bucket, now), now)
            self._full_at[bucket] = due + step
        return max(due - now - (burst - 1) * step, 0.0)

    @contextmanager
    def token(self) -> Iterator[TokenStore]:
        """See `Shared`."""
        with self._token_lock:
            yield self._store
