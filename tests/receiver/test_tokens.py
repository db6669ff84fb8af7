from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from marketing_ops.connections import Connection
from marketing_ops.errors import FatalError
from marketing_ops.receiver import tokens
from marketing_ops.receiver.tokens import BadTokenError, LinkToken

KEY = b"k" * 32
TOKEN = LinkToken(202603 * 10**12 + 7, 42, "journey-eu")
NOW = datetime(2026, 3, 2, tzinfo=UTC)


@given(st.integers(1, 10**19), st.integers(1, 10**18), st.text("abc-_9", min_size=1), st.text())
def test_what_was_signed_is_read_back(send_id: int, contact_id: int, brand: str, url: str) -> None:
    """Any ids, brand and target come back as they went in."""
    token = LinkToken(send_id, contact_id, brand)
    assert tokens.read(KEY, "c", tokens.sign(KEY, "c", token, url), url) == token


@pytest.mark.parametrize(
    "forged",
    ["", ".", "x", tokens.sign(b"another key here" * 2, "u", TOKEN), tokens.sign(KEY, "o", TOKEN)],
)
def test_foreign_or_misused_token_is_refused(forged: str) -> None:
    """No signature, another key, another purpose: not believed."""
    with pytest.raises(BadTokenError):
        tokens.read(KEY, "u", forged)


def test_changed_payload_is_refused() -> None:
    """Another send under an old signature is not believed."""
    payload, _, signature = tokens.sign(KEY, "u", TOKEN).rpartition(".")
    with pytest.raises(BadTokenError):
        tokens.read(KEY, "u", f"{payload.replace('2a', '2b')}.{signature}")


def test_click_is_signed_for_one_target() -> None:
    """The target stands under the signature."""
    text = tokens.sign(KEY, "c", TOKEN, "https://journey.example.com/")
    with pytest.raises(BadTokenError):
        tokens.read(KEY, "c", text, "https://evil.example.org/")


def test_stop_token_expires() -> None:
    """Good until its instant, not after, and no link token is one."""
    text = tokens.sign_stop(KEY, "all", NOW + timedelta(minutes=5))
    assert tokens.read_stop(KEY, text, NOW) == "all"
    with pytest.raises(BadTokenError, match="expired"):
        tokens.read_stop(KEY, text, NOW + timedelta(minutes=6))
    with pytest.raises(BadTokenError):
        tokens.read_stop(KEY, tokens.sign(KEY, "u", TOKEN), NOW)


def test_short_key_is_refused_without_showing_it() -> None:
    """A key that can be guessed signs nothing."""
    with pytest.raises(FatalError, match="16 characters") as caught:
        tokens.receiver_key(lambda name: Connection(name, password="short-key"))
    assert "short-key" not in str(caught.value)
