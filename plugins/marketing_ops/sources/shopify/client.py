"""The client of one shop: token or client credentials, GraphQL calls within a share of the cost."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from datetime import datetime
from functools import partial
from typing import Any

import orjson

from marketing_ops import clock
from marketing_ops.connections import Connection
from marketing_ops.errors import FatalError, RetryableError
from marketing_ops.sources.auth import Auth, ClientCredentials, HeaderKey, TokenEndpoint
from marketing_ops.sources.httpclient import LONGEST_WAIT_SECONDS, HttpClient, patiently
from marketing_ops.sources.shared import InProcess, Shared
from marketing_ops.sources.shopify import answers

API_VERSION = "2026-10"
PATH = f"/admin/api/{API_VERSION}/graphql.json"
_TOKEN_PATH = "/admin/oauth/access_token"  # noqa: S105 - a path
_TOKEN_HEADER = "X-Shopify-Access-Token"  # noqa: S105 - a name
_THROTTLED_TRIES = 10


class ShopifyClient:
    """Calls the Admin GraphQL API of one shop.

    The connection's password is an access token; with a login it is the client secret of the app
    whose client id the login is, and tokens of 24 hours are fetched by the client-credentials
    grant. Host: `example.myshopify.com` (or a full URL).

    Args:
        connection: host, password and perhaps login.
        quota_share: the share (0-1) of the shop's bucket of query cost that we may empty.
        shared: keeps the token that client credentials were exchanged for.
        sleep: waits that many seconds.
    """

    def __init__(
        self,
        connection: Connection,
        quota_share: float = 0.5,
        shared: Shared | None = None,
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
        self._quota_share = quota_share
        self._throttle: tuple[float, float, float, datetime] | None = None
        self.http = HttpClient(
            self.name,
            connection.base_url(),
            headers={"Content-Type": "application/json", "Accept-Encoding": "gzip"},
            auth=_auth(connection, shared or InProcess(), sleep),
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
        return self._patiently(partial(patiently, partial(self._post, body), self.http.sleep))

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
            except answers.BucketEmptyError as error:
                if (error.retry_after or 0) > LONGEST_WAIT_SECONDS:
                    raise
                self.http.sleep(error.retry_after or 1.0)
        raise RetryableError(
            f"`{self.name}` stays throttled: others use up its quota", retry_after=60
        )

    def _post(self, body: bytes) -> dict[str, Any]:
        answer = self.http.call("POST", PATH, body=body, is_read=False)
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

    def restore_rate(self) -> float | None:
        """Points of query cost the bucket gets back a second; None before the first answer."""
        return None if self._throttle is None else self._throttle[2]

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


def _auth(connection: Connection, shared: Shared, sleep: Callable[[float], None]) -> Auth:
    if not connection.login:
        return HeaderKey(_TOKEN_HEADER, connection.password)
    endpoint = TokenEndpoint(
        connection.conn_id,
        connection.base_url() + _TOKEN_PATH,
        remedy="copy client id and secret from the app's settings into the connection's login and"
        " password",
        is_json=True,
        sleep=sleep,
    )
    return ClientCredentials(
        endpoint,
        shared,
        client_id=connection.login,
        client_secret=connection.password,
        header=_TOKEN_HEADER,
        prefix="",
    )


def build(connection: Connection, quota_share: float, shared: Shared) -> ShopifyClient:
    """The client factory of the Shopify source."""
    return ShopifyClient(connection, quota_share, shared)
