"""Signed links: made when a mail is written, checked in constant time when somebody follows one.

A token is `payload.signature`. It carries ids and the brand, no personal data, and is good for one
purpose only: an open's token unsubscribes nobody. A click's signature covers its target.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Literal

from marketing_ops.connections import Resolver
from marketing_ops.errors import FatalError, MarketingOpsError

RECEIVER_CONNECTION = "marketing_ops_receiver"

Purpose = Literal["o", "c", "u"]
"""o: open pixel, c: click, u: unsubscribe; the first part of the link's path."""

_SIGNATURE_BYTES = 16
_SHORTEST_KEY = 16
_LONGEST_TOKEN = 512


class BadTokenError(MarketingOpsError):
    """Not a token of ours, not for this purpose, or expired."""


@dataclass(frozen=True)
class LinkToken:
    """Which send a link belongs to; `contact_id` is the contact at the time of sending."""

    send_id: int
    contact_id: int
    brand: str


def receiver_key(resolve: Resolver) -> bytes:
    """The key that signs links: the password of connection `marketing_ops_receiver`.

    Raises:
        FatalError: the connection is missing, or its password is shorter than 16 characters.
    """
    password = resolve(RECEIVER_CONNECTION).password
    if len(password) < _SHORTEST_KEY:
        raise FatalError(
            f"connection `{RECEIVER_CONNECTION}` needs a password of {_SHORTEST_KEY} characters or"
            " more: it signs the links in mails"
        )
    return password.encode()


def sign(key: bytes, purpose: Purpose, token: LinkToken, url: str = "") -> str:
    """The token's text for a link; for a click with the target `url` under the signature."""
    payload = f"{token.send_id:x}-{token.contact_id:x}-{token.brand}"
    return f"{payload}.{_signature(key, purpose, payload, url)}"


def read(key: bytes, purpose: Purpose, text: str, url: str = "") -> LinkToken:
    """The token in a link.

    Raises:
        BadTokenError: it was not signed by this key for this purpose (and, for a click, this url).
    """
    payload = _verified(key, purpose, text, url)
    send_id, contact_id, brand = payload.split("-", 2)
    return LinkToken(int(send_id, 16), int(contact_id, 16), brand)


def sign_stop(key: bytes, scope: str, valid_until: datetime) -> str:
    """A token that may stop the sends of `scope` (`all` or a brand) until `valid_until`."""
    payload = f"{int(valid_until.timestamp()):x}-{scope}"
    return f"{payload}.{_signature(key, 'stop', payload, '')}"


def read_stop(key: bytes, text: str, now: datetime) -> str:
    """The scope that a stop token is for.

    Raises:
        BadTokenError: it was not signed by this key as a stop token, or has expired.
    """
    until, scope = _verified(key, "stop", text, "").split("-", 1)
    if datetime.fromtimestamp(int(until, 16), UTC) < now:
        raise BadTokenError("the token has expired")
    return scope


def _verified(key: bytes, purpose: str, text: str, url: str) -> str:
    payload, dot, signature = text.rpartition(".")
    expected = _signature(key, purpose, payload, url)
    is_ours = hmac.compare_digest(expected.encode(), signature.encode("utf-8", "replace"))
    if not dot or len(text) > _LONGEST_TOKEN or not is_ours:
        raise BadTokenError("the token is not valid")
    return payload


def _signature(key: bytes, purpose: str, payload: str, url: str) -> str:
    signed = "\n".join((purpose, payload, url)).encode("utf-8", "surrogatepass")
    digest = hmac.digest(key, signed, hashlib.sha256)[:_SIGNATURE_BYTES]
    return base64.urlsafe_b64encode(digest).decode().rstrip("=")
