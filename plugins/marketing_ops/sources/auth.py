"""How a client shows a vendor who it is: keys, tokens that renew themselves, signatures."""

from __future__ import annotations

import base64
import hashlib
import hmac
import secrets
import threading
import time
from abc import abstractmethod
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any, Literal
from urllib.parse import urlencode

import orjson

from marketing_ops import clock
from marketing_ops.errors import FatalError
from marketing_ops.sources.httpclient import Answer, Auth, HttpClient, json_of, raise_for_status
from marketing_ops.sources.shared import Shared, Token

__all__ = [
    "Auth",
    "Basic",
    "Bearer",
    "ClientCredentials",
    "Grant",
    "HeaderKey",
    "Hmac",
    "JwtBearer",
    "LoginRefusedError",
    "OAuth1",
    "RefreshToken",
    "TokenEndpoint",
    "usual_grant",
]

_USED_RATIO = 0.8
_USUAL_SECONDS = 3600.0
_ASSERTION_SECONDS = 170
"""Vendors refuse an assertion that is good for more than three minutes."""

_CODES = (
    "invalid_grant",
    "invalid_client",
    "invalid_scope",
    "invalid_request",
    "unauthorized_client",
    "unsupported_grant_type",
    "BAD_REFRESH_TOKEN",
)
"""What may be shown of a refusal: anything else could be a secret that was sent."""


class HeaderKey(Auth):
    """A key in a header."""

    def __init__(self, name: str, value: str) -> None:
        self._headers = {name: value}

    def headers(self, method: str, url: str, body: bytes | None) -> dict[str, str]:
        """See `Auth`."""
        return self._headers


class Bearer(HeaderKey):
    """A token that does not end, or that nobody here can renew."""

    def __init__(self, token: str) -> None:
        super().__init__("Authorization", f"Bearer {token}")


class Basic(HeaderKey):
    """Login and password of HTTP's own scheme (RFC 7617)."""

    def __init__(self, login: str, password: str) -> None:
        pair = base64.b64encode(f"{login}:{password}".encode()).decode("ascii")
        super().__init__("Authorization", f"Basic {pair}")


class OAuth1(Auth):
    """OAuth 1.0a with HMAC-SHA256 (RFC 5849). Bodies are JSON, which it does not sign.

    Args:
        key: the consumer's key.
        secret: its secret.
        token: "" for vendors that know no more than the consumer.
        realm: shown beside the signature in the header.
        is_in_query: the signature stands in the query, for servers that never see the header.
    """

    def __init__(
        self,
        key: str,
        secret: str,
        *,
        token: str = "",
        token_secret: str = "",
        realm: str = "",
        is_in_query: bool = False,
    ) -> None:
        self._who = {
            "client_key": key,
            "client_secret": secret,
            "resource_owner_key": token or None,
            "resource_owner_secret": token_secret or None,
            "realm": realm or None,
        }
        self._is_in_query = is_in_query

    def headers(self, method: str, url: str, body: bytes | None) -> dict[str, str]:
        """See `Auth`."""
        return {} if self._is_in_query else self._signed(method, url)[1]

    def url(self, method: str, url: str) -> str:
        """See `Auth`."""
        return self._signed(method, url)[0] if self._is_in_query else url

    def _signed(self, method: str, url: str) -> tuple[str, dict[str, str]]:
        # Imported here, like PyJWT below: most tasks never need it and would carry its memory.
        from oauthlib import oauth1  # type: ignore[import-untyped]

        client = oauth1.Client(
            **self._who,
            signature_method=oauth1.SIGNATURE_HMAC_SHA256,
            signature_type=oauth1.SIGNATURE_TYPE_QUERY
            if self._is_in_query
            else oauth1.SIGNATURE_TYPE_AUTH_HEADER,
            nonce=secrets.token_hex(16),
            timestamp=str(int(clock.now().timestamp())),
        )
        signed, headers, _ = client.sign(url, http_method=method)
        return str(signed), dict(headers)


SignedText = Callable[[str, str, bytes, str], bytes]
"""What is signed: from method, URL, raw body and the instant as sent ("" when none is)."""


class Hmac(Auth):
    """A signature of each request with a shared secret.

    Args:
        secret: what both sides know.
        header: where the signature goes.
        prefix: what stands before it, such as `sha256=`.
        text: what is signed; the raw body unless a vendor wants more.
        encoding: how the signature is written.
        digest: the hash, by its name in hashlib.
        time_header: where the instant goes, in seconds; "" = none is sent.
        fixed: further headers, such as the key's id.
    """

    def __init__(
        self,
        secret: str,
        header: str,
        *,
        prefix: str = "",
        text: SignedText = lambda _method, _url, body, _instant: body,
        encoding: Literal["hex", "base64"] = "hex",
        digest: str = "sha256",
        time_header: str = "",
        fixed: Mapping[str, str] | None = None,
    ) -> None:
        self._secret, self._header, self._prefix = secret.encode(), header, prefix
        self._text, self._encoding, self._digest = text, encoding, digest
        self._time_header, self._fixed = time_header, dict(fixed or {})

    def headers(self, method: str, url: str, body: bytes | None) -> dict[str, str]:
        """See `Auth`."""
        instant = str(int(clock.now().timestamp())) if self._time_header else ""
        text = self._text(method, url, body or b"", instant)
        raw = hmac.new(self._secret, text, getattr(hashlib, self._digest)).digest()
        shown = raw.hex() if self._encoding == "hex" else base64.b64encode(raw).decode("ascii")
        headers = {**self._fixed, self._header: self._prefix + shown}
        if self._time_header:
            headers[self._time_header] = instant
        return headers


@dataclass(frozen=True)
class Grant:
    """What a token endpoint granted. `repr` shows no secret.

    Attributes:
        access: the access token.
        seconds: how long it is good for.
        refresh: the refresh token to use from now on; "" = the one that was used, if any.
    """

    access: str = field(repr=False)
    seconds: float = _USUAL_SECONDS
    refresh: str = field(default="", repr=False)


def usual_grant(answer: Any) -> Grant | None:
    """The grant in an answer as RFC 6749 writes it; None when there is none."""
    access = answer.get("access_token") if isinstance(answer, dict) else None
    if not isinstance(access, str) or not access:
        return None
    try:
        seconds = float(answer.get("expires_in") or _USUAL_SECONDS)
    except (TypeError, ValueError):
        seconds = _USUAL_SECONDS
    return Grant(access, seconds, str(answer.get("refresh_token") or ""))


class TokenEndpoint:
    """Where an account's tokens come from.

    Args:
        name: the connection's id.
        url: the endpoint's whole URL.
        remedy: what to do when the login is refused: the end of an error's sentence.
        is_json: it takes JSON instead of a form.
        is_basic: client id and secret go into the header instead of the body.
        parse: finds the grant in an answer, for vendors that answer in their own way.
        sleep: waits that many seconds.
    """

    def __init__(
        self,
        name: str,
        url: str,
        *,
        remedy: str = "check what the connection logs in with",
        is_json: bool = False,
        is_basic: bool = False,
        parse: Callable[[Any], Grant | None] = usual_grant,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self.name = name
        self._remedy, self._is_json, self._is_basic, self._parse = remedy, is_json, is_basic, parse
        self._http = HttpClient(name, url, errors=self._errors, sleep=sleep)

    def grant(self, form: Mapping[str, str]) -> Grant:
        """What it grants for `form`.

        Raises:
            LoginRefusedError: nothing, and asking again cannot help.
            RetryableError: it is busy or away.
        """
        sent = {name: value for name, value in form.items() if value}
        headers = {"Accept": "application/json"}
        if self._is_basic:
            pair = Basic(sent.pop("client_id", ""), sent.pop("client_secret", ""))
            headers.update(pair.headers("POST", "", None))
        kind = "application/json" if self._is_json else "application/x-www-form-urlencoded"
        body = orjson.dumps(sent) if self._is_json else urlencode(sent).encode("ascii")
        # Asking twice is harmless: where refresh tokens rotate, an answer that was lost took the
        # new one with it, and the old one is all there is to try with.
        answer = self._http.call(
            "POST", "", body=body, headers={**headers, "Content-Type": kind}, is_read=True
        )
        granted = self._parse(json_of(self.name, answer))
        if granted is None:
            raise LoginRefusedError(f"`{self.name}` grants no access token: {self._remedy}")
        return granted

    def _errors(self, answer: Answer) -> None:
        if answer.status in (400, 401, 403):
            code = next((code for code in _CODES if code.encode() in answer.body), "")
            raise LoginRefusedError(
                f"`{self.name}` is refused its login ({answer.status}{code and ' ' + code}):"
                f" {self._remedy}"
            )
        raise_for_status(
            self.name, answer, {404: "no tokens are granted there: check the connection's host"}
        )


class LoginRefusedError(FatalError):
    """No token is granted for what the connection logs in with: somebody has to act."""


class _Granted(Auth):
    """An access token that is shared with all who use the account and renewed before it ends.

    One at a time renews, across threads and processes: whoever waited for that finds the new token
    stored. It is stored for good before it is used.

    Args:
        endpoint: where tokens come from.
        shared: keeps the account's token.
        header: where the access token goes.
        prefix: what stands before it there.
    """

    def __init__(
        self,
        endpoint: TokenEndpoint,
        shared: Shared,
        *,
        header: str = "Authorization",
        prefix: str = "Bearer ",
    ) -> None:
        self._endpoint, self._shared, self._header, self._prefix = endpoint, shared, header, prefix
        self._token: Token | None = None
        self._unsaved: Token | None = None
        self._shown = threading.local()

    def headers(self, method: str, url: str, body: bytes | None) -> dict[str, str]:
        """See `Auth`."""
        token = self._token
        if token is None or token.ends_at <= clock.now():
            token = self._renewed(token)
        self._shown.token = token
        return {self._header: self._prefix + token.access}

    def renew(self) -> bool:
        """See `Auth`. What other threads have renewed meanwhile is not renewed again."""
        self._renewed(getattr(self._shown, "token", self._token))
        return True

    def _renewed(self, refused: Token | None) -> Token:
        with self._shared.token() as store:
            token = store.load()
            is_newer = token is not None and (refused is None or token.access != refused.access)
            if token is None or not is_newer or token.ends_at <= clock.now():
                # Kept until it is stored: a vendor that rotates gives its refresh token only once.
                self._unsaved = token = self._unsaved or self._asked(token)
                store.save(token)
                self._unsaved = None
            self._token = token
        return token

    def _asked(self, stored: Token | None) -> Token:
        """A new token for the first of the forms that is not refused."""
        *others, last = self._forms(stored)
        for form in others:
            try:
                return self._granted(form)
            except LoginRefusedError:
                continue
        return self._granted(last)

    def _granted(self, form: Mapping[str, str]) -> Token:
        granted = self._endpoint.grant(form)
        ends_at = clock.now() + timedelta(seconds=granted.seconds * _USED_RATIO)
        return Token(granted.access, ends_at, granted.refresh or form.get("refresh_token", ""))

    @abstractmethod
    def _forms(self, stored: Token | None) -> Iterator[Mapping[str, str]]:
        """What to ask with, in the order in which to try."""


class ClientCredentials(_Granted):
    """The app itself logs in with its id and secret (RFC 6749, 4.4).

    Args:
        more: what else the vendor wants in the form (scope, audience).
    """

    def __init__(
        self,
        endpoint: TokenEndpoint,
        shared: Shared,
        *,
        client_id: str,
        client_secret: str,
        more: Mapping[str, str] | None = None,
        header: str = "Authorization",
        prefix: str = "Bearer ",
    ) -> None:
        super().__init__(endpoint, shared, header=header, prefix=prefix)
        self._form = {
            "grant_type": "client_credentials",
            "client_id": client_id,
            "client_secret": client_secret,
            **(more or {}),
        }

    def _forms(self, stored: Token | None) -> Iterator[Mapping[str, str]]:
        yield self._form


class RefreshToken(_Granted):
    """A person let the app in; its refresh token, which may change with each use, goes on with it.

    Args:
        refresh_token: the connection's own, for the first time and for when somebody has put a
            new one there because the stored one was refused.
    """

    def __init__(
        self,
        endpoint: TokenEndpoint,
        shared: Shared,
        *,
        client_id: str,
        client_secret: str,
        refresh_token: str,
        header: str = "Authorization",
        prefix: str = "Bearer ",
    ) -> None:
        super().__init__(endpoint, shared, header=header, prefix=prefix)
        self._client = {"client_id": client_id, "client_secret": client_secret}
        self._first = refresh_token

    def _forms(self, stored: Token | None) -> Iterator[Mapping[str, str]]:
        known = stored.refresh if stored else ""
        for refresh in dict.fromkeys([known or self._first, self._first]):
            yield {"grant_type": "refresh_token", **self._client, "refresh_token": refresh}


class JwtBearer(_Granted):
    """An assertion signed with the app's private key (RFC 7523); each token needs a new one.

    Args:
        issuer: the app's id.
        subject: the user it acts for.
        audience: the login URL it is meant for.
        private_key: PEM text of an RSA key.
    """

    def __init__(
        self,
        endpoint: TokenEndpoint,
        shared: Shared,
        *,
        issuer: str,
        subject: str,
        audience: str,
        private_key: str,
        header: str = "Authorization",
        prefix: str = "Bearer ",
    ) -> None:
        super().__init__(endpoint, shared, header=header, prefix=prefix)
        self._claims = {"iss": issuer, "sub": subject, "aud": audience}
        self._private_key = private_key

    def _forms(self, stored: Token | None) -> Iterator[Mapping[str, str]]:
        import jwt

        claims = {**self._claims, "exp": int(clock.now().timestamp()) + _ASSERTION_SECONDS}
        try:
            assertion = jwt.encode(claims, self._private_key, algorithm="RS256")
        except (ValueError, TypeError, jwt.PyJWTError):
            # Not chained: what a parser says of a key may quote it.
            raise FatalError(
                f"the private key of `{self._endpoint.name}` is none: put the PEM text of the"
                " app's RSA key, from BEGIN to END, into the connection"
            ) from None
        grant_type = "urn:ietf:params:oauth:grant-type:jwt-bearer"
        yield {"grant_type": grant_type, "assertion": assertion}
