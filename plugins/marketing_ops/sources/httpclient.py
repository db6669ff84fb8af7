"""The one HTTP layer under every client: pooled connections, bounded bodies, honest errors."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Any
from urllib.parse import urljoin, urlsplit

import tenacity
import urllib3

from marketing_ops.errors import FatalError, MarketingOpsError, RetryableError

MAX_BODY_BYTES = 64 * 1024 * 1024
"""A larger answer, after decompression, is refused: a page is never that big."""

LONGEST_WAIT_SECONDS = 30.0
"""A longer wait is left to the task's own retry, so that it holds no worker."""

_ATTEMPTS = 3


@dataclass(frozen=True)
class Answer:
    """A vendor's answer. `repr` shows neither body nor headers."""

    status: int
    body: bytes = field(repr=False)
    headers: Mapping[str, str] = field(repr=False)

    def header(self, name: str) -> str:
        """A header's value by name in any case, "" when absent."""
        return str(self.headers.get(name, ""))

    def retry_after(self) -> float | None:
        """The seconds of Retry-After; None when it is absent or a date."""
        text = self.header("Retry-After")
        return float(text) if text.replace(".", "", 1).isdigit() else None


ErrorMap = Callable[[Answer], None]
"""Raises one of our errors for an answer that is none; the vendor's one place for that."""


class HttpClient:
    """Calls one vendor account. Safe for use by one thread at a time plus one that downloads.

    Args:
        name: the connection's id, the only thing errors call it by.
        base_url: scheme and host, with a path prefix if any.
        headers: sent with each call to `base_url`'s host, and to no other host.
        errors: the vendor's map from an answer to an error.
        sleep: waits that many seconds; tests inject their own.
    """

    def __init__(
        self,
        name: str,
        base_url: str,
        *,
        headers: Mapping[str, str],
        errors: ErrorMap,
        sleep: Callable[[float], None] = time.sleep,
        connect_timeout: float = 10.0,
        read_timeout: float = 60.0,
    ) -> None:
        parts = urlsplit(base_url)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise FatalError(
                f"connection `{name}` has no usable host: write it like the placeholder"
            )
        self.name = name
        self.base_url = base_url.rstrip("/")
        self.headers = dict(headers)
        self.sleep = sleep
        self._errors = errors
        self._pool = urllib3.PoolManager(
            num_pools=4,
            maxsize=4,
            timeout=urllib3.Timeout(connect=connect_timeout, read=read_timeout),
            retries=False,
        )

    def call(
        self,
        method: str,
        path: str,
        *,
        body: bytes | None = None,
        headers: Mapping[str, str] | None = None,
        is_read: bool,
        errors: ErrorMap | None = None,
    ) -> Answer:
        """One call to the account's own host, answered and mapped.

        A read is tried up to three times when the vendor is busy or away, Retry-After honoured;
        anything else is sent once.

        Raises:
            RetryableError: unreachable, throttled or failing on its side.
            FatalError: what the vendor's error map says, or a redirect to another host.
        """
        attempt = partial(self._once, method, path, body, headers, errors or self._errors)
        if not is_read:
            return attempt()
        return retrying(self.sleep)(attempt)

    def download(self, url: str, *, offset: int = 0, chunk_bytes: int = 1 << 18) -> Iterator[bytes]:
        """The body at `url` from byte `offset` on, in chunks, without the account's headers.

        Raises:
            RetryableError: the connection broke; the caller resumes at its own offset.
            DownloadGoneError: the URL is no longer served.
        """
        headers = {"Range": f"bytes={offset}-"} if offset else {}
        response = self._open("GET", url, headers=headers)
        try:
            skip = self._accept_download(response, offset)
            while chunk := response.read(chunk_bytes):
                if skip >= len(chunk):
                    skip -= len(chunk)
                    continue
                yield chunk[skip:] if skip else chunk
                skip = 0
        except urllib3.exceptions.HTTPError as error:
            raise RetryableError(f"the download of `{self.name}` broke off: it resumes") from error
        finally:
            response.release_conn()
            response.close()

    def _accept_download(self, response: urllib3.BaseHTTPResponse, offset: int) -> int:
        """How many bytes to skip: all before `offset` where the server ignores Range."""
        if response.status in (403, 404, 410):
            raise DownloadGoneError(
                f"the file of `{self.name}` is no longer served: ask for a new one"
            )
        if response.status == 416:
            raise DownloadGoneError(
                f"the file of `{self.name}` is shorter than what was read of it"
            )
        if response.status >= 300:
            raise RetryableError(f"the download of `{self.name}` answers {response.status}")
        return offset if response.status == 200 else 0

    def _once(
        self,
        method: str,
        path: str,
        body: bytes | None,
        headers: Mapping[str, str] | None,
        errors: ErrorMap,
    ) -> Answer:
        url = f"{self.base_url}{path}"
        for _ in range(_ATTEMPTS):
            response = self._open(method, url, body, {**self.headers, **(headers or {})})
            location = response.headers.get("Location")
            if not (300 <= response.status < 400 and location):
                answer = self._read(response)
                errors(answer)
                return answer
            response.release_conn()
            url = self._redirected(method, url, location)
        raise FatalError(f"`{self.name}` redirects in circles: check the connection's host")

    def _redirected(self, method: str, url: str, location: str) -> str:
        target = urljoin(url, location)
        here, there = urlsplit(url), urlsplit(target)
        same = (here.scheme, here.hostname, here.port) == (there.scheme, there.hostname, there.port)
        if not same or method != "GET":
            raise FatalError(
                f"`{self.name}` redirects to another place, which is refused so that no secret"
                " leaves for it: put the vendor's present host into the connection"
            )
        return target

    def _open(
        self,
        method: str,
        url: str,
        body: bytes | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> urllib3.BaseHTTPResponse:
        try:
            return self._pool.request(
                method, url, body=body, headers=headers, preload_content=False, redirect=False
            )
        except urllib3.exceptions.SSLError as error:
            raise FatalError(f"`{self.name}`: its host shows no valid certificate") from error
        except urllib3.exceptions.HTTPError as error:
            raise RetryableError(
                f"`{self.name}` cannot be reached ({type(error).__name__}): check the connection's"
                " host, and that this machine may reach it"
            ) from error
        except ValueError as error:  # LocationParseError and its kin, for a URL that is none
            raise FatalError(f"connection `{self.name}` has no usable host") from error

    def _read(self, response: urllib3.BaseHTTPResponse) -> Answer:
        try:
            body = response.read(MAX_BODY_BYTES + 1)
            if len(body) > MAX_BODY_BYTES:
                response.close()
                raise FatalError(
                    f"`{self.name}` answers with more than {MAX_BODY_BYTES >> 20} MiB: refused"
                )
        except urllib3.exceptions.HTTPError as error:
            response.close()
            raise RetryableError(f"the answer of `{self.name}` broke off") from error
        response.release_conn()
        return Answer(response.status, body, response.headers)


class DownloadGoneError(RetryableError):
    """A file's URL has expired or changed: a later try asks for a new file."""


def retrying(sleep: Callable[[float], None]) -> tenacity.Retrying:
    """Up to three tries of what raises RetryableError, each wait bounded and as asked."""
    return tenacity.Retrying(
        retry=tenacity.retry_if_exception(_is_worth_waiting),
        stop=tenacity.stop_after_attempt(_ATTEMPTS),
        wait=_wait,
        sleep=sleep,
        reraise=True,
    )


def _is_worth_waiting(error: BaseException) -> bool:
    if not isinstance(error, RetryableError) or isinstance(error, DownloadGoneError):
        return False
    return (error.retry_after or 0.0) <= LONGEST_WAIT_SECONDS


def _wait(state: tenacity.RetryCallState) -> float:
    error = state.outcome.exception() if state.outcome else None
    asked = error.retry_after if isinstance(error, RetryableError) else None
    backoff = 0.5 * 2.0 ** (state.attempt_number - 1)
    return float(min(asked if asked is not None else backoff, LONGEST_WAIT_SECONDS))


def raise_for_status(name: str, answer: Answer, meanings: Mapping[int, str]) -> None:
    """The part of an error map that vendors share: a status that is no success becomes an error.

    Args:
        meanings: for the vendor's fatal statuses, what is wrong and what to do.
    """
    status = answer.status
    if status < 300:
        return
    error: MarketingOpsError
    if status in meanings:
        error = FatalError(f"`{name}` answers {status}: {meanings[status]}")
    elif status == 429:
        error = RetryableError(f"`{name}` is throttled (429)", retry_after=answer.retry_after())
    elif status >= 500:
        error = RetryableError(
            f"`{name}` fails on its side ({status})", retry_after=answer.retry_after()
        )
    else:
        error = FatalError(f"`{name}` answers {status}: the request was refused")
    raise error


def redacted(values: Mapping[str, Any]) -> dict[str, Any]:
    """`values` with what may be a secret masked, for a log line."""
    secret = ("token", "secret", "password", "authorization", "key", "cookie")
    return {
        key: "***" if any(word in key.lower() for word in secret) else value
        for key, value in values.items()
    }
