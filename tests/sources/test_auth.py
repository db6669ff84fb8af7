"""Who we say we are: keys, tokens that are renewed once for all who share them, signatures."""

from __future__ import annotations

import base64
import hashlib
import hmac
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any
from urllib.parse import parse_qs, parse_qsl, quote, unquote

import jwt
import orjson
import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

from marketing_ops.connections import Connection
from marketing_ops.errors import FatalError, RetryableError
from marketing_ops.sources.auth import (
    Auth,
    Basic,
    Bearer,
    ClientCredentials,
    Grant,
    HeaderKey,
    Hmac,
    JwtBearer,
    LoginRefusedError,
    OAuth1,
    RefreshToken,
    TokenEndpoint,
)
from marketing_ops.sources.httpclient import HttpClient, raise_for_status
from marketing_ops.sources.shared import InProcess, Shared, Token, TokenStore
from marketing_ops.sync.account import AccountShare, another
from marketing_ops.warehouse import Warehouse
from tests.conftest import FrozenClock
from tests.sources.loopback import Asked, Loopback, Reply, loopback

NOON = datetime(2026, 3, 2, 12, tzinfo=UTC)


class Vendor:
    """Grants tokens `a1`, `a2`, ... for half an hour and takes the newest one alone.

    Refresh tokens rotate: `r0` is good once and gives `r1`; any other is refused.
    """

    def __init__(self, server: Loopback) -> None:
        self.server, self.grants, self.refresh = server, 0, "r0"
        self.forms: list[dict[str, str]] = []
        self.url = f"{server.url}/oauth/token"
        server.answer = self.answer

    def answer(self, asked: Asked) -> Reply:
        if asked.path != "/oauth/token":
            is_known = asked.headers["Authorization"] == f"Bearer a{self.grants}"
            return Reply(200 if is_known else 401)
        form = dict(parse_qsl(asked.body.decode()))
        self.forms.append(form)
        if form["grant_type"] == "refresh_token" and form["refresh_token"] != self.refresh:
            return Reply(400, {"status": "BAD_REFRESH_TOKEN", "message": "ana@example.com"})
        self.grants += 1
        self.refresh = f"r{self.grants}"
        return Reply(
            body={
                "access_token": f"a{self.grants}",
                "refresh_token": self.refresh,
                "expires_in": 1800,
            }
        )


@pytest.fixture
def server() -> Iterator[Loopback]:
    with loopback() as found:
        yield found


@pytest.fixture
def vendor(server: Loopback, frozen_clock: FrozenClock) -> Vendor:
    return Vendor(server)


Account = Callable[[Shared], HttpClient]


@pytest.fixture
def refreshing(vendor: Vendor) -> Account:
    """Builds clients of an account that goes on with refresh tokens, from `r0` on."""
    return partial(client_of, vendor, refresh_token="r0")


def client_of(vendor: Vendor, shared: Shared, refresh_token: str) -> HttpClient:
    auth = RefreshToken(
        TokenEndpoint("hub", vendor.url, remedy="let the app in again", sleep=lambda _: None),
        shared,
        client_id="id",
        client_secret="hush",
        refresh_token=refresh_token,
    )
    return HttpClient("hub", vendor.server.url, errors=errors, auth=auth, sleep=lambda _: None)


def errors(answer: Any) -> None:
    raise_for_status("hub", answer, {401: "the token is refused"})


def stored(shared: Shared) -> Token | None:
    with shared.token() as store:
        return store.load()


def shown(auth: Auth, method: str = "GET", url: str = "https://h/x", body: bytes = b"") -> Any:
    return auth.headers(method, url, body)


# ------------------------------------------------------------------ keys


def test_keys_stand_in_a_header() -> None:
    """Header key, bearer and basic; none of them can be renewed."""
    for auth, headers in (
        (HeaderKey("Api-Token", "k"), {"Api-Token": "k"}),
        (Bearer("t"), {"Authorization": "Bearer t"}),
        (
            Basic("any", "ké"),
            {"Authorization": f"Basic {base64.b64encode('any:ké'.encode()).decode()}"},
        ),
    ):
        assert shown(auth) == headers
        assert auth.renew() is False


# ------------------------------------------------------------------ tokens that end


def test_client_credentials(vendor: Vendor, frozen_clock: FrozenClock) -> None:
    """Fetched at the first need, shared, and renewed at 80 % of its life, not before."""
    shared = InProcess()

    def auth() -> Auth:
        return ClientCredentials(
            TokenEndpoint("hub", vendor.url),
            shared,
            client_id="id",
            client_secret="hush",
            more={"scope": "contacts"},
        )

    first = auth()
    assert shown(first) == {"Authorization": "Bearer a1"}
    assert vendor.forms == [
        {
            "grant_type": "client_credentials",
            "client_id": "id",
            "client_secret": "hush",
            "scope": "contacts",
        }
    ]
    frozen_clock.move(NOON + timedelta(seconds=1439))
    assert shown(first) == shown(auth()) == {"Authorization": "Bearer a1"}
    frozen_clock.move(NOON + timedelta(seconds=1440))
    assert shown(first) == {"Authorization": "Bearer a2"}
    assert vendor.grants == 2


def test_a_token_that_ends_mid_page_is_renewed(refreshing: Account, vendor: Vendor) -> None:
    """A 401 between two pages costs one renewal and no error, for writes too."""
    client = refreshing(InProcess())
    client.get_json("/page/1")
    vendor.grants += 1  # the vendor has forgotten a1
    assert client.get_json("/page/2") == {}
    vendor.grants += 1
    assert client.send_json("POST", "/contacts", {}) == {}
    assert [asked.path for asked in vendor.server.asked if "page" in asked.path] == [
        "/page/1",
        "/page/2",
        "/page/2",
    ]


def test_refresh_tokens_rotate(
    refreshing: Account, vendor: Vendor, frozen_clock: FrozenClock
) -> None:
    """Each renewal goes on with the refresh token of the one before, in later processes too."""
    shared = InProcess()
    for hour in range(3):
        frozen_clock.move(NOON + timedelta(hours=hour))
        refreshing(shared).get_json("/page")
    assert [form["refresh_token"] for form in vendor.forms] == ["r0", "r1", "r2"]
    token = stored(shared)
    assert token is not None
    assert (token.access, token.refresh) == ("a3", "r3")


def test_a_token_is_stored_before_it_is_used(refreshing: Account, vendor: Vendor) -> None:
    """Nothing is called with a token that is not stored, and one that could not be stored is kept
    for the next try: the vendor gives its refresh token only once.
    """

    class Full(InProcess):
        left = 2

        @contextmanager
        def token(self) -> Iterator[TokenStore]:
            with super().token() as store:
                yield self if self.left else store

        def load(self) -> Token | None:
            return None

        def save(self, token: Token) -> None:
            self.left -= 1
            raise RetryableError("the database is away")

    shared = Full()
    assert refreshing(shared).get_json("/page") == {}
    assert [asked.path for asked in vendor.server.asked] == ["/oauth/token", "/page"]
    token = stored(shared)
    assert token is not None
    assert token.refresh == "r1"


def test_one_refresher_at_a_time_across_processes(
    refreshing: Account, vendor: Vendor, db: Warehouse
) -> None:
    """Sixteen threads of two workers, refused at once, renew once; one waits for the other."""
    connection = Connection("hub", password="hush")
    shares = [AccountShare(another(db), "hub", connection) for _ in range(2)]
    clients = [refreshing(share) for share in shares]
    for client in clients:
        client.get_json("/page")
    assert vendor.grants == 1
    vendor.grants = 2  # a1 is no longer taken
    with ThreadPoolExecutor(16) as pool:
        calls = [pool.submit(clients[n % 2].get_json, f"/page/{n}") for n in range(64)]
        assert [call.result() for call in calls] == [{}] * 64
    assert vendor.grants == 3
    row = db.execute("select sealed from mkt_ops.account_tokens").fetchone()
    assert row is not None
    assert b"a3" not in bytes(row[0])
    for share in shares:
        share.close()


def test_a_new_refresh_token_in_the_connection_is_tried(vendor: Vendor) -> None:
    """Somebody let the app in again: when the stored one is refused, the connection's goes on."""
    shared = InProcess()
    client_of(vendor, shared, "r0").get_json("/page")
    vendor.refresh, vendor.grants = "fresh", 9
    assert client_of(vendor, shared, "fresh").get_json("/page") == {}
    assert [form["refresh_token"] for form in vendor.forms] == ["r0", "r1", "fresh"]


@pytest.mark.parametrize(
    ("status", "body", "code"),
    [
        (
            400,
            {"status": "BAD_REFRESH_TOKEN", "message": "ana@example.com"},
            "400 BAD_REFRESH_TOKEN",
        ),
        (
            400,
            {"error": "invalid_grant", "error_description": "ana@example.com"},
            "400 invalid_grant",
        ),
        (401, {"error": "hush"}, "401"),
    ],
)
def test_a_refused_login_says_what_to_do(
    refreshing: Account, vendor: Vendor, status: int, body: Any, code: str
) -> None:
    """Fatal, one call, the vendor's code and the remedy, nothing else of its answer."""
    vendor.server.answer = lambda _: Reply(status, body)
    with pytest.raises(LoginRefusedError) as caught:
        refreshing(InProcess()).get_json("/page")
    assert str(caught.value) == f"`hub` is refused its login ({code}): let the app in again"
    assert len(vendor.server.asked) == 1


def test_token_endpoints_differ(server: Loopback, frozen_clock: FrozenClock) -> None:
    """JSON, basic, an own way to answer, no lifetime, a busy moment, a wrong address."""
    waits: list[float] = []
    endpoint = TokenEndpoint(
        "hub",
        f"{server.url}/token",
        is_json=True,
        is_basic=True,
        parse=lambda answer: Grant(answer["session"]["key"], 60),
        sleep=waits.append,
    )
    server.replies = [
        Reply(429, headers={"Retry-After": "1"}),
        Reply(body={"session": {"key": "k"}}),
    ]
    auth = ClientCredentials(
        endpoint, InProcess(), client_id="id", client_secret="hush", header="X-Key", prefix=""
    )
    assert shown(auth) == {"X-Key": "k"}
    assert orjson.loads(server.asked[1].body) == {"grant_type": "client_credentials"}
    assert server.asked[1].headers["Authorization"] == shown(Basic("id", "hush"))["Authorization"]
    assert waits == [1.0]
    usual = TokenEndpoint("hub", f"{server.url}/token", remedy="look", sleep=waits.append)
    server.replies = [
        Reply(body={"access_token": "a"}),
        Reply(body={"access_token": "a", "expires_in": "7200"}),
        Reply(body={"error": "hush"}),
        Reply(404),
    ]
    assert [usual.grant({"a": "b"}).seconds for _ in range(2)] == [3600, 7200]
    with pytest.raises(LoginRefusedError, match="grants no access token: look"):
        usual.grant({})
    with pytest.raises(FatalError, match="check the connection's host"):
        usual.grant({})


def test_secrets_are_not_shown() -> None:
    """Neither a grant nor a token shows itself in a log."""
    assert "hush" not in repr(Grant("hush", 1, "hush")) + repr(Token("hush", NOON, "hush"))


# ------------------------------------------------------------------ signatures


@pytest.fixture(scope="module")
def rsa_key() -> rsa.RSAPrivateKey:
    return rsa.generate_private_key(public_exponent=65537, key_size=2048)


def pem(key: rsa.RSAPrivateKey) -> str:
    return key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    ).decode()


def jwt_bearer(vendor: Vendor, private_key: str) -> JwtBearer:
    return JwtBearer(
        TokenEndpoint("hub", vendor.url),
        InProcess(),
        issuer="app",
        subject="ana",
        audience="https://login.example.com",
        private_key=private_key,
    )


def test_jwt_bearer_signs_each_time_anew(
    vendor: Vendor, rsa_key: rsa.RSAPrivateKey, frozen_clock: FrozenClock
) -> None:
    """RS256, good for at most three minutes, and a new assertion for each token."""
    auth = jwt_bearer(vendor, pem(rsa_key))
    assert shown(auth) == {"Authorization": "Bearer a1"}
    frozen_clock.move(NOON + timedelta(hours=1))
    assert shown(auth) == {"Authorization": "Bearer a2"}
    for form, at in zip(vendor.forms, (NOON, NOON + timedelta(hours=1)), strict=True):
        assert form["grant_type"] == "urn:ietf:params:oauth:grant-type:jwt-bearer"
        claims = jwt.decode(
            form["assertion"],
            rsa_key.public_key(),
            algorithms=["RS256"],
            audience="https://login.example.com",
            options={"verify_exp": False},
        )
        assert (claims["iss"], claims["sub"]) == ("app", "ana")
        assert 60 < claims["exp"] - at.timestamp() <= 180


def test_a_private_key_that_is_none_is_named_without_it(vendor: Vendor) -> None:
    """The sentence says where a key goes; no part of what stands there is shown."""
    with pytest.raises(FatalError, match="private key of `hub` is none: put the PEM") as caught:
        shown(jwt_bearer(vendor, "-----BEGIN hush"))
    assert caught.value.__cause__ is None
    assert "hush" not in str(caught.value)
    assert vendor.forms == []


def oauth1_signature(method: str, base: str, params: list[tuple[str, str]], key: str) -> str:
    """The signature as RFC 5849, section 3.4, writes it."""
    escaped = sorted((quote(a, safe="~"), quote(b, safe="~")) for a, b in params)
    joined = "&".join(f"{a}={b}" for a, b in escaped)
    text = "&".join([method, quote(base, safe="~"), quote(joined, safe="~")])
    return base64.b64encode(hmac.new(key.encode(), text.encode(), hashlib.sha256).digest()).decode()


def test_oauth1_in_the_header(frozen_clock: FrozenClock) -> None:
    """HMAC-SHA256 over method, URL and query, with consumer and token, never twice the same."""
    auth = OAuth1("ck", "cs", token="tk", token_secret="ts", realm="acme")
    url = "https://api.example.com/v1/orders?status=any&q=a%20b"
    header = shown(auth, url=url)["Authorization"]
    assert auth.url("GET", url) == url
    assert header.startswith('OAuth realm="acme"')
    sent = {
        name: unquote(value.strip('"'))
        for name, _, value in (part.strip().partition("=") for part in header[6:].split(","))
    }
    params = [(name, value) for name, value in sent.items() if name.startswith("oauth_")]
    params = [
        *((a, b) for a, b in params if a != "oauth_signature"),
        ("status", "any"),
        ("q", "a b"),
    ]
    assert sent["oauth_timestamp"] == str(int(NOON.timestamp()))
    assert sent["oauth_signature"] == oauth1_signature(
        "GET", "https://api.example.com/v1/orders", params, "cs&ts"
    )
    assert shown(auth, url=url)["Authorization"] != header


def test_oauth1_in_the_query(server: Loopback, frozen_clock: FrozenClock) -> None:
    """For servers that never see the header: the signature travels in the URL."""
    auth = OAuth1("ck", "cs", is_in_query=True)
    HttpClient("shop", server.url, errors=errors, auth=auth).get_json("/orders", {"page": 2})
    asked = server.asked[0]
    assert "Authorization" not in asked.headers
    sent = {name: values[0] for name, values in parse_qs(asked.path.partition("?")[2]).items()}
    signature = sent.pop("oauth_signature")
    assert sent["page"] == "2"
    assert signature == oauth1_signature("GET", f"{server.url}/orders", [*sent.items()], "cs&")


def test_hmac_signs_what_is_sent(frozen_clock: FrozenClock) -> None:
    """The raw body by itself, or with method, URL and instant where a vendor wants them."""
    body = b'{"a":1}'
    plain = Hmac("hush", "X-Signature", prefix="sha256=")
    expected = hmac.new(b"hush", body, hashlib.sha256).hexdigest()
    assert shown(plain, "POST", body=body) == {"X-Signature": f"sha256={expected}"}
    more = Hmac(
        "hush",
        "X-Signature",
        text=lambda method, url, raw, at: f"{method}{url}{raw.decode()}{at}".encode(),
        encoding="base64",
        digest="sha512",
        time_header="X-Time",
        fixed={"X-Key": "k"},
    )
    instant = str(int(NOON.timestamp()))
    text = f"POSThttps://h/x{body.decode()}{instant}".encode()
    assert shown(more, "POST", body=body) == {
        "X-Key": "k",
        "X-Time": instant,
        "X-Signature": base64.b64encode(hmac.new(b"hush", text, hashlib.sha512).digest()).decode(),
    }
