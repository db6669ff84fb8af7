"""The one HTTP layer under every client: pooled connections, bounded bodies, honest errors."""

from __future__ import annotations

import io
import logging
import time
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from typing import Any, TypeVar
from urllib.parse import urlencode, urljoin
from zlib import crc32

import orjson
import urllib3

from marketing_ops.errors import FatalError, RetryableError, TokenRefusedError
from marketing_ops.sources.answer import (
    Answer,
    DownloadGoneError,
    ErrorMap,
    ThrottledError,
    json_of,
    raise_for_status,
    redacted,
    seconds_ahead,
)
from marketing_ops.sources.shared import Shared

__all__ = [
    "Answer",
    "Auth",
    "DownloadGoneError",
    "ErrorMap",
    "HttpClient",
    "ThrottledError",
    "json_of",
    "origin_of",
    "pacing",
    "patiently",
    "raise_for_status",
    "redacted",
]

MAX_BODY_BYTES = 64 * 1024 * 1024
"""A larger answer, after decompression, is refused: a page is never that big."""

LONGEST_WAIT_SECONDS = 30.0
"""A longer wait is left to the task's own retry, so that it holds no worker."""

_ATTEMPTS = 3
_THREADS = 16
_CHUNK_BYTES = 1 << 20
_PORTS = {"http": 80, "https": 443}

# At DEBUG urllib3 writes each URL into the log, and some vendors have addresses in theirs.
logging.getLogger("urllib3.connectionpool").setLevel(logging.INFO)

T = TypeVar("T")


class Auth:
    """Shows a vendor who calls. The kinds there are lie in `sources.auth`."""

    def headers(self, method: str, url: str, body: bytes | None) -> dict[str, str]:
        """What one request has to carry for it."""
        return {}

    def url(self, method: str, url: str) -> str:
        """The URL to call, for a signature that stands in the query."""
        return url

    def renew(self) -> bool:
        """The vendor refused what this thread showed it: get another; False = there is none."""
        return False


class HttpClient:
    """Calls one vendor account. Safe for use by up to 16 threads.

    Args:
        name: the connection's id, the only thing errors call it by.
        base_url: scheme and host, with a path prefix if any.
        errors: the vendor's map from an answer to an error.
        headers: sent with each call to `base_url`'s host, and to no other host.
        auth: shows who we are. When `errors` raises TokenRefusedError it is renewed once and the
            call repeated, a write too, since a refused call had no effect.
        pace: called with the call's bucket before each attempt; see `pacing`.
        sleep: waits that many seconds; tests inject their own.
        short_wait: how many seconds the vendor may ask us to wait in process; what takes longer
            is raised, for the task's own retry.
    """

    def __init__(
        self,
        name: str,
        base_url: str,
        *,
        errors: ErrorMap,
        headers: Mapping[str, str] | None = None,
        auth: Auth | None = None,
        pace: Callable[[str], None] | None = None,
        sleep: Callable[[float], None] = time.sleep,
        short_wait: float = LONGEST_WAIT_SECONDS,
        connect_timeout: float = 10.0,
        read_timeout: float = 60.0,
    ) -> None:
        self.name = name
        self.sleep = sleep
        self.ahead_seconds: float | None = None
        """How far our clock is ahead of the vendor's; None until an answer said its date."""
        self._headers = dict(headers or {})
        self._errors, self._auth, self._pace = errors, auth, pace or _at_once
        self._short_wait = short_wait
        self._timeout = urllib3.Timeout(connect=connect_timeout, read=read_timeout)
        self._origin, path = _split(base_url)
        if not self._origin:
            raise FatalError(
                f"connection `{name}` has no usable host: write it like the placeholder"
            )
        self.base_url = self._origin + path.rstrip("/")
        # The account's own host has a pool of its own: choosing one by URL costs each call.
        self._pool = urllib3.connection_from_url(
            self._origin, maxsize=_THREADS, timeout=self._timeout, retries=False
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
        bucket: str = "",
    ) -> Answer:
        """One call to the account's own host, answered and mapped.

        A read is tried up to three times when the vendor is busy or away, Retry-After honoured;
        anything else is repeated only when it was throttled or its token refused.

        Args:
            path: what follows `base_url`, or a whole URL on the same host.
            is_read: repeating it is harmless.
            errors: instead of the client's own map.
            bucket: which of the vendor's limits it counts towards.

        Raises:
            RetryableError: unreachable, throttled for long or failing on its side.
            FatalError: what the vendor's error map says, or a redirect to another host.
        """
        attempt = partial(
            self._attempt, method, self._url(path), body, headers, errors or self._errors, bucket
        )
        return patiently(
            attempt,
            self.sleep,
            short_wait=self._short_wait,
            retried=RetryableError if is_read else ThrottledError,
            seed=path,
        )

    def get_json(
        self, path: str, params: Mapping[str, Any] | None = None, *, bucket: str = ""
    ) -> Any:
        """The parsed answer of a GET; see `json_of`. A list among `params` is repeated."""
        if params:
            path += ("&" if "?" in path else "?") + urlencode(params, doseq=True)
        return json_of(self.name, self.call("GET", path, is_read=True, bucket=bucket))

    def send_json(
        self, method: str, path: str, value: Any, *, is_read: bool = False, bucket: str = ""
    ) -> Any:
        """Send `value` as JSON; the parsed answer, None when it has no body by intention."""
        answer = self.call(
            method,
            path,
            body=orjson.dumps(value),
            headers={"Content-Type": "application/json"},
            is_read=is_read,
            bucket=bucket,
        )
        return json_of(self.name, answer)

    def download(self, url: str, *, offset: int = 0, chunk_bytes: int = 1 << 18) -> Iterator[bytes]:
        """The body at `url` from byte `offset` on, in chunks, without the account's headers.

        Raises:
            RetryableError: the connection broke; the caller resumes at its own offset.
            DownloadGoneError: the URL is no longer served.
        """
        headers = {"Range": f"bytes={offset}-"} if offset else {}
        with urllib3.PoolManager(timeout=self._timeout, retries=False) as pool:
            response = self._open(pool.urlopen, "GET", url, None, headers)
            try:
                skip = self._accept_download(response, offset)
                while chunk := response.read(chunk_bytes):
                    if skip >= len(chunk):
                        skip -= len(chunk)
                        continue
                    yield chunk[skip:] if skip else chunk
                    skip = 0
            except urllib3.exceptions.HTTPError as error:
                raise RetryableError(
                    f"the download of `{self.name}` broke off: it resumes"
                ) from error
            finally:
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

    def _url(self, path: str) -> str:
        """The whole URL of what lies on the account's host, and nowhere else."""
        if not path.startswith(("http://", "https://")):
            return self.base_url + path
        origin, rest = _split(path)
        if origin != self._origin:
            raise self._elsewhere()
        return origin + rest

    def _attempt(
        self,
        method: str,
        url: str,
        body: bytes | None,
        headers: Mapping[str, str] | None,
        errors: ErrorMap,
        bucket: str,
    ) -> Answer:
        """The call, once more when its token was refused and there is another."""
        answer = self._send(method, url, body, headers, bucket)
        try:
            errors(answer)
        except TokenRefusedError:
            if self._auth is None or not self._auth.renew():
                raise
            answer = self._send(method, url, body, headers, bucket)
            errors(answer)
        return answer

    def _send(
        self,
        method: str,
        url: str,
        body: bytes | None,
        headers: Mapping[str, str] | None,
        bucket: str,
    ) -> Answer:
        self._pace(bucket)
        for _ in range(_ATTEMPTS):
            sent = {**self._headers, **(headers or {})}
            signed = url
            if self._auth is not None:
                sent.update(self._auth.headers(method, url, body))
                signed = self._auth.url(method, url)
            target = signed[len(self._origin) :]
            response = self._open(self._pool.urlopen, method, target, body, sent)
            location = response.headers.get("Location")
            if not (300 <= response.status < 400 and location):
                return self._read(response)
            response.close()
            if method != "GET":
                raise self._elsewhere()
            url = self._url(urljoin(url, location))
        raise FatalError(f"`{self.name}` redirects in circles: check the connection's host")

    def _elsewhere(self) -> FatalError:
        return FatalError(
            f"`{self.name}` redirects to another place, which is refused so that no secret"
            " leaves for it: put the vendor's present host into the connection"
        )

    def _open(
        self,
        urlopen: Callable[..., urllib3.BaseHTTPResponse],
        method: str,
        url: str,
        body: bytes | None,
        headers: Mapping[str, str],
    ) -> urllib3.BaseHTTPResponse:
        try:
            return urlopen(
                method, url, body=body, headers=headers, preload_content=False, redirect=False
            )
        except urllib3.exceptions.SSLError as error:
            raise FatalError(f"`{self.name}`: its host shows no valid certificate") from error
        except urllib3.exceptions.HTTPError as error:
            raise RetryableError(
                f"`{self.name}` cannot be reached ({type(error).__name__}): check the connection's"
                " host, and that this machine may reach it"
            ) from error
        except ValueError:
            # Not chained: what http.client says of a header or a URL quotes it.
            raise FatalError(
                f"connection `{self.name}` cannot be called: its host or its secret holds a"
                " character that does not belong there (a line break?): copy them again"
            ) from None

    def _read(self, response: urllib3.BaseHTTPResponse) -> Answer:
        try:
            body = self._bounded(response)
        except urllib3.exceptions.HTTPError as error:
            raise RetryableError(f"the answer of `{self.name}` broke off") from error
        finally:
            # Whole, its connection is already back in the pool; else nobody may use it again.
            response.close()
        answer = Answer(response.status, body, response.headers)
        if self.ahead_seconds is None:
            self.ahead_seconds = seconds_ahead(answer)
        return answer

    def _bounded(self, response: urllib3.BaseHTTPResponse) -> bytes:
        """The body, unpacked no further than the bound, in one piece without a second copy."""
        chunk = response.read(_CHUNK_BYTES)
        if len(chunk) < _CHUNK_BYTES:
            return chunk
        whole = io.BytesIO()
        while chunk:
            whole.write(chunk)
            if whole.tell() > MAX_BODY_BYTES:
                raise FatalError(
                    f"`{self.name}` answers with more than {MAX_BODY_BYTES >> 20} MiB: refused"
                )
            chunk = response.read(_CHUNK_BYTES)
        return whole.getvalue()


def patiently(
    attempt: Callable[[], T],
    sleep: Callable[[float], None],
    *,
    short_wait: float = LONGEST_WAIT_SECONDS,
    retried: type[RetryableError] = RetryableError,
    seed: str = "",
) -> T:
    """The result of up to three attempts, with the waits the vendor asks for in between.

    Args:
        attempt: what to try.
        sleep: waits that many seconds.
        short_wait: whoever asks for a longer wait is not waited for here.
        retried: the errors after which another attempt is harmless.
        seed: spreads the waits of those who were turned away together; tasks that read different
            pages wait differently.
    """
    for number in range(_ATTEMPTS - 1):
        try:
            return attempt()
        except retried as error:
            if isinstance(error, DownloadGoneError) or (error.retry_after or 0.0) > short_wait:
                raise
            spread = 0.75 + crc32(f"{number}{seed}".encode()) / (1 << 33)
            asked = error.retry_after
        sleep(0.5 * 2.0**number * spread if asked is None else asked)
    return attempt()


def pacing(
    shared: Shared, sleep: Callable[[float], None], per_second: Mapping[str, float], burst: int = 1
) -> Callable[[str], None]:
    """`HttpClient.pace`: waits until the account's calls, whoever makes them, allow one more.

    Args:
        shared: where all processes that use the account book their calls.
        sleep: waits that many seconds.
        per_second: by bucket, how many calls a second the vendor allows (or our share of them).
        burst: how many calls of a bucket may be made at once.
    """

    def pace(bucket: str) -> None:
        wait = shared.reserve(bucket, per_second[bucket], burst)
        if wait > 0:
            sleep(wait)

    return pace


def origin_of(url: str) -> str:
    """Scheme, host and port of a URL, "" when it has none."""
    return _split(url)[0]


def _split(url: str) -> tuple[str, str]:
    """Origin and the rest of a URL, as the library that calls it reads it; "" for no origin."""
    try:
        parts = urllib3.util.parse_url(url)
    except urllib3.exceptions.LocationParseError:
        return "", ""
    if parts.scheme not in _PORTS or not parts.host:
        return "", ""
    port = "" if parts.port in (None, _PORTS[parts.scheme]) else f":{parts.port}"
    return f"{parts.scheme}://{parts.host}{port}", parts.request_uri


def _at_once(_bucket: str) -> None:
    """No pace is asked for."""
