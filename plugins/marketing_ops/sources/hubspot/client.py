"""The client of one HubSpot account: token or OAuth, and calls within a share of its limits."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta, tzinfo
from typing import Any
from zoneinfo import ZoneInfo

from marketing_ops import clock
from marketing_ops.connections import Connection
from marketing_ops.errors import FatalError, QuotaExhaustedError
from marketing_ops.sources.auth import Auth, Bearer, RefreshToken, TokenEndpoint
from marketing_ops.sources.httpclient import Answer, HttpClient, pacing
from marketing_ops.sources.hubspot import answers
from marketing_ops.sources.shared import InProcess, Shared

API_VERSION = "2026-09"
HOST = "https://api.hubapi.com"

SEARCHES_PER_SECOND = 5.0
"""For the whole account, whatever its plan; answers to a search do not show it (2026-09)."""

SAFE_SEARCHES_PER_SECOND = 4.0
CALLS_PER_SECOND = 10.0
"""The smallest plan's limit, until an answer shows the account's own."""

_UNKNOWN_ZONE_SECONDS = 3600.0
_SEARCH, _ABOUT = "search", "about"


@dataclass(frozen=True)
class Details:
    """What HubSpot says of the account.

    Attributes:
        portal_id: its number.
        zone: its time zone, at whose midnight the daily quota starts again.
        currency: of amounts that name none.
    """

    portal_id: str
    zone: tzinfo | None
    currency: str | None


@dataclass(frozen=True)
class Daily:
    """The account's calls of a day: how many in all and how many are left, None = not said."""

    limit: int | None = None
    left: int | None = None


class HubSpotClient:
    """Calls the API of one account. Safe for use by many threads.

    The connection's password is an access token that does not end (a service key, a private app);
    with a login it is the client secret of the app whose client id the login is, and the extra
    field `refresh_token` is what the app was installed with.

    Args:
        connection: password, perhaps login and `refresh_token`; the host is HubSpot's own unless
            it names another.
        quota_share: the share (0-1) of the account's limits that we may use.
        shared: paces the calls of all workers and keeps the token.
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
        self.name, self._share = connection.conn_id, quota_share
        if not connection.password:
            raise FatalError(
                f"connection `{self.name}` has no password: put the account's access token there,"
                " or the app's client secret beside the client id in the login"
            )
        if not connection.host:
            connection = replace(connection, host=HOST)
        shared = shared or InProcess()
        self.daily = Daily()
        self._details: Details | None = None
        allowed = float(connection.extra.get("searches_per_second") or 0)
        self.searches_per_second = allowed or SAFE_SEARCHES_PER_SECOND
        searches = min((allowed or SEARCHES_PER_SECOND) * quota_share, self.searches_per_second)
        calls = CALLS_PER_SECOND * quota_share
        self.rates = {"": calls, _ABOUT: calls, _SEARCH: searches}
        """Our share of what HubSpot takes a second, by kind of call."""
        self._wait = pacing(shared, sleep, self.rates)
        self.http = HttpClient(
            self.name,
            connection.base_url(),
            headers={"Accept-Encoding": "gzip"},
            auth=_auth(connection, shared, sleep),
            errors=self._check,
            pace=self._pace,
            sleep=sleep,
        )

    def get(self, path: str, params: Mapping[str, Any] | None = None) -> dict[str, Any]:
        """The object at a path.

        Raises:
            MarketingOpsError: as `answers.check` says.
        """
        return self._object(self.http.get_json(path, params))

    def ask(self, path: str, body: Any) -> dict[str, Any]:
        """The answer to a question that needs a body: a search, a batch to read."""
        bucket = _SEARCH if path.endswith("/search") and "/objects/" in path else ""
        return self._object(self.http.send_json("POST", path, body, is_read=True, bucket=bucket))

    def write(
        self, method: str, path: str, body: Any, *, is_idempotent: bool = False
    ) -> dict[str, Any]:
        """What HubSpot answers to a write.

        Args:
            is_idempotent: sending it twice is as good as once.
        """
        return self._object(self.http.send_json(method, path, body, is_read=is_idempotent))

    def details(self) -> Details:
        """What HubSpot says of the account; asked once."""
        return self._details or self._ask_details()

    def _ask_details(self) -> Details:
        path = f"/account-info/{API_VERSION}/details"
        found = self._object(self.http.get_json(path, bucket=_ABOUT))
        self._details = Details(
            portal_id=str(found.get("portalId") or ""),
            zone=_zone(found.get("timeZone")),
            currency=found.get("companyCurrency"),
        )
        return self._details

    def is_spent(self) -> bool:
        """Whether our share of the day's calls is used up, as far as HubSpot said."""
        limit, left = self.daily.limit, self.daily.left
        return limit is not None and left is not None and left < (1 - self._share) * limit

    def calls_per_second(self) -> float:
        """What HubSpot takes a second from everybody who uses this app."""
        return self.rates[""] / self._share

    def _object(self, value: Any) -> dict[str, Any]:
        if not isinstance(value, dict):
            raise FatalError(f"`{self.name}` answers no object: its contract is broken")
        return value

    def _check(self, answer: Answer) -> None:
        """Learn the account's limits, then raise for what is no success."""
        rate = _number(answer, "Max"), _number(answer, "Interval-Milliseconds")
        if rate[0] and rate[1]:
            self.rates[""] = self.rates[_ABOUT] = rate[0] / rate[1] * 1000 * self._share
        if (left := _number(answer, "Daily-Remaining")) is not None:
            self.daily = Daily(_number(answer, "Daily"), left)
        answers.check(self.name, answer, self._reset_seconds())

    def _pace(self, bucket: str) -> None:
        """Wait for our turn.

        Raises:
            QuotaExhaustedError: our share of the day's calls is used up; the rest is others'.
        """
        if self.is_spent() and bucket != _ABOUT:
            # Asked anew: what was left before midnight says nothing of the new day.
            self._ask_details()
            if self.is_spent():
                raise QuotaExhaustedError(
                    f"`{self.name}` has {self.daily.left} of {self.daily.limit} calls left today:"
                    f" our share ({self._share:.0%}) is used up",
                    reset_seconds=self._reset_seconds(),
                )
        self._wait(bucket)

    def _reset_seconds(self) -> float:
        """Until the account's midnight.

        While its zone is unknown, until midnight in UTC but an hour at most: a wrong midnight would
        be waited for every day anew.
        """
        zone = self._details.zone if self._details else None
        now = clock.now().astimezone(zone) if zone else clock.now()
        midnight = datetime.combine(now.date() + timedelta(days=1), datetime.min.time(), now.tzinfo)
        seconds = midnight.timestamp() - now.timestamp()
        return seconds if zone else min(seconds, _UNKNOWN_ZONE_SECONDS)


def _number(answer: Answer, name: str) -> int | None:
    text = answer.header(f"X-HubSpot-RateLimit-{name}")
    return int(text) if text.isdigit() else None


def _zone(name: Any) -> tzinfo | None:
    try:
        return ZoneInfo(str(name))
    except (KeyError, ValueError, OSError):
        return None


def _auth(connection: Connection, shared: Shared, sleep: Callable[[float], None]) -> Auth:
    if not connection.login:
        return Bearer(connection.password)
    refresh = str(connection.extra.get("refresh_token") or "")
    if not refresh:
        raise FatalError(
            f"connection `{connection.conn_id}` has a client id but no refresh token: put the one"
            " of the app's installation into its field"
        )
    endpoint = TokenEndpoint(
        connection.conn_id,
        f"{connection.base_url()}/oauth/{API_VERSION}/token",
        remedy="install the app anew and put its refresh token into the connection, beside the"
        " client id and secret",
        sleep=sleep,
    )
    return RefreshToken(
        endpoint,
        shared,
        client_id=connection.login,
        client_secret=connection.password,
        refresh_token=refresh,
    )


def build(connection: Connection, quota_share: float, shared: Shared) -> HubSpotClient:
    """The client factory of the HubSpot source."""
    return HubSpotClient(connection, quota_share, shared)
