"""The client of one shop: token or client credentials, GraphQL calls within a share of the cost."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from datetime import datetime, timedelta
from functools import partial
from typing import Any

import orjson

from marketing_ops import clock
from marketing_ops.connections import Connection
from marketing_ops.errors import FatalError, RetryableError
from marketing_ops.sources.httpclient import LONGEST_WAIT_SECONDS, Answer, HttpClient, retrying
from marketing_ops.sources.shared import Shared
from marketing_ops.sources.shopify import answers

API_VERSION = "2026-10"
_PATH = f"/admin/api/{API_VERSION}/graphql.json"
_TOKEN_PATH = "/admin/oauth/access_token"  # noqa: S105 - a path
_TOKEN_MARGIN = timedelta(minutes=5)
_THROTTLED_TRIES = 10


class ShopifyClient:
    """Calls the Admin GraphQL API of one shop.

    The connection's password is an access token; with a login it is the client secret of the app
    whose client id the login is, and tokens of 24 hours are fetched by the client-credentials
    grant. Host: `example.myshopify.com` (or a full URL).

    Args:
        connection: host, password and perhaps login.
        quota_share: the share (0-1) of the shop's bucket of query cost that we may empty.
        sleep: waits that many seconds.
    """

    def __init__(
        self,
        connection: Connection,
        quota_share: float = 0.5,
        *,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        if not connection.password:
            raise FatalError(
                f"connection `{connection.conn_id}` has no password: put the app's access token"
                " there, or its client secret beside the client id in the login"
            )
        self.name = connection.conn_id
        self.page_sizes: dict[str, int] = {}
        """Page sizes that were found to be affordable, by stream."""
        self._connection = connection
        self._quota_share = quota_share
        self._throttle: tuple[float, float, float, datetime] | None = None
        self._token_ends: datetime | None = None
        headers = {"Content-Type": "application/json", "Accept-Encoding": "gzip"}
        if not connection.login:
            headers["X-Shopify-Access-Token"] = connection.password
        self.http = HttpClient(
            self.name,
            connection.base_url(),
            headers=headers,
            errors=partial(answers.check_status, self.name),
            sleep=sleep,
        )

    def query(self, text: str, variables: Mapping[str, Any] | None = None) -> dict[str, Any]:
        """The `data` of a read. Waits for the bucket, retries what may pass.

        Raises:
            RetryableError: throttled for long, unreachable or failing.
            FatalError: refused; see `answers`.
        """
        body = orjson.dumps({"query": text, "variables": variables or {}})
        return self._patiently(partial(retrying(self.http.sleep), partial(self._post, body)))

    def mutate(self, text: str, variables: Mapping[str, Any], field: str) -> dict[str, Any]:
        """The payload `field` of a mutation, sent once (again only when it was throttled).

        Raises:
            FatalError: its `userErrors` say no.
        """
        body = orjson.dumps({"query": text, "variables": variables})
        payload = self._patiently(partial(self._post, body)).get(field) or {}
        answers.check_user_errors(self.name, payload)
        return dict(payload)

    def download(self, url: str, offset: int) -> Iterator[bytes]:
        """The bytes of a result file from `offset` on; our token does not go there."""
        return self.http.download(url, offset=offset)

    def _patiently(self, attempt: Callable[[], dict[str, Any]]) -> dict[str, Any]:
        """A throttled query had no effect: it may be sent again as soon as the bucket allows."""
        for _ in range(_THROTTLED_TRIES):
            self._stay_within_share()
            try:
                return attempt()
            except answers.ThrottledError as error:
                if (error.retry_after or 0) > LONGEST_WAIT_SECONDS:
                    raise
                self.http.sleep(error.retry_after or 1.0)
        raise RetryableError(
            f"`{self.name}` stays throttled: others use up its quota", retry_after=60
        )

    def _post(self, body: bytes) -> dict[str, Any]:
        self._ensure_token()
        answer = self.http.call("POST", _PATH, body=body, is_read=False)
        data, cost = answers.data_of(self.name, answer)
        self._learn(cost)
        return data

    def _learn(self, cost: Mapping[str, Any]) -> None:
        status = cost.get("throttleStatus")
        if isinstance(status, dict):
            self._throttle = (
                float(status.get("maximumAvailable") or 0),
                float(status.get("currentlyAvailable") or 0),
                float(status.get("restoreRate") or 0),
                clock.now(),
            )

    def _stay_within_share(self) -> None:
        """Wait until the bucket is again as full as the others' share asks for."""
        if self._throttle is None:
            return
        maximum, available, rate, seen_at = self._throttle
        floor = maximum * (1 - self._quota_share)
        passed = max((clock.now() - seen_at).total_seconds(), 0.0)
        missing = floor - (available + passed * rate)
        if missing > 0 and rate > 0:
            self.http.sleep(min(missing / rate, LONGEST_WAIT_SECONDS))

    def _ensure_token(self) -> None:
        """With client credentials: a token that is good for five minutes more."""
        if not self._connection.login:
            return
        now = clock.now()
        if self._token_ends is not None and now < self._token_ends - _TOKEN_MARGIN:
            return
        body = orjson.dumps(
            {
                "client_id": self._connection.login,
                "client_secret": self._connection.password,
                "grant_type": "client_credentials",
            }
        )
        answer = self.http.call("POST", _TOKEN_PATH, body=body, is_read=True, errors=self._no_token)
        granted = _object(answer)
        token, seconds = granted.get("access_token"), granted.get("expires_in", 86399)
        if not isinstance(token, str) or not isinstance(seconds, int | float):
            raise FatalError(f"`{self.name}` grants no access token for its client id and secret")
        self.http.headers["X-Shopify-Access-Token"] = token
        self._token_ends = now + timedelta(seconds=float(seconds))

    def _no_token(self, answer: Answer) -> None:
        if answer.status in (400, 401, 403):
            raise FatalError(
                f"`{self.name}` refuses the client id and secret ({answer.status}): copy them again"
                " from the app's settings into the connection's login and password"
            )
        answers.check_status(self.name, answer)


def _object(answer: Answer) -> dict[str, Any]:
    try:
        value = orjson.loads(answer.body)
    except orjson.JSONDecodeError:
        return {}
    return value if isinstance(value, dict) else {}


def build(connection: Connection, quota_share: float, _shared: Shared) -> ShopifyClient:
    """The client factory of the Shopify source."""
    return ShopifyClient(connection, quota_share)
