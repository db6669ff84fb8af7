"""A rendered template as the bytes of one mail, with its links tracked."""

from __future__ import annotations

import binascii
import hashlib
import html as html_text
import re
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from email.header import Header
from email.utils import format_datetime, formataddr, parseaddr

_HREF = re.compile(r"""href=(["'])(https?://[^"']*)\1""", re.IGNORECASE)
_ADDRESS = re.compile(r"[A-Za-z0-9.!#$%&'*+/=?^_`{|}~-]{1,64}@[A-Za-z0-9.-]{1,253}")
_CONTROL = re.compile(r"[\x00-\x1f\x7f]+")


@dataclass(frozen=True)
class Sender:
    """A brand's sender as header and envelope need it."""

    header: str
    address: str
    domain: str

    @classmethod
    def parse(cls, text: str) -> Sender | None:
        """`Name <address>` taken apart; None when there is no address in it."""
        name, address = parseaddr(text)
        plain = wire_address(address)
        if plain is None:
            return None
        return cls(formataddr((name, plain), charset="utf-8"), plain, plain.rpartition("@")[2])


@dataclass(frozen=True)
class Mail:
    """One mail for one recipient, ready for the wire. `data` has CRLF line ends."""

    sender: str
    recipient: str
    data: bytes


@dataclass(frozen=True)
class Parts:
    """What a mail says; `unsubscribe_url` None leaves the one-click headers out."""

    subject: str
    html: str
    text: str
    unsubscribe_url: str | None


def wire_address(text: str) -> str | None:
    """The address as SMTP can carry it, its domain in ASCII; None when it cannot be one."""
    local, at, domain = text.strip().rpartition("@")
    try:
        address = f"{local}{at}{domain.encode('idna').decode('ascii')}"
    except UnicodeError:
        return None
    return address if _ADDRESS.fullmatch(address) and ".." not in address else None


def track(html: str, click_url: Callable[[str], str], pixel_url: str, keep: str | None) -> str:
    """`html` with web links going through `click_url` and the open pixel at its end.

    Args:
        keep: a link that stays as it is: the way out must work without us counting it.
    """

    def rewrite(match: re.Match[str]) -> str:
        url = html_text.unescape(match.group(2))
        if url == keep:
            return match.group()
        return f'href="{html_text.escape(click_url(url))}"'

    tracked = _HREF.sub(rewrite, html)
    pixel = (
        f'<img src="{html_text.escape(pixel_url)}" width="1" height="1" alt=""'
        ' style="display:block;width:1px;height:1px;border:0">'
    )
    head, body_end, tail = tracked.rpartition("</body>")
    return f"{head}{pixel}{body_end}{tail}" if body_end else f"{tracked}{pixel}"


def build(
    sender: Sender, recipient: str, parts: Parts, *, send_id: int, campaign: str, at: datetime
) -> Mail:
    """The mail as multipart/alternative in UTF-8.

    Its Message-ID hangs on the send alone: a second copy of the same send would carry the same.

    Args:
        campaign: `<campaign>/<step>`, for people who read headers.
        at: the product's clock; becomes the Date.
    """
    boundary = f"=_{hashlib.sha256(str(send_id).encode()).hexdigest()[:24]}"
    lines = [
        f"From: {sender.header}",
        f"To: {recipient}",
        f"Subject: {_header_text(parts.subject)}",
        f"Date: {format_datetime(at)}",
        f"Message-ID: <{send_id}@{sender.domain}>",
        f"X-Marketing-Ops-Send: {send_id}",
        f"X-Marketing-Ops-Campaign: {_CONTROL.sub(' ', campaign)}",
    ]
    if parts.unsubscribe_url is not None:
        lines.append(f"List-Unsubscribe: <{parts.unsubscribe_url}>")
        lines.append("List-Unsubscribe-Post: List-Unsubscribe=One-Click")
    lines.append("MIME-Version: 1.0")
    lines.append(f'Content-Type: multipart/alternative; boundary="{boundary}"')
    head = "\r\n".join(lines).encode("ascii")
    pieces = [
        head,
        b"",
        *_part(boundary, "plain", parts.text),
        *_part(boundary, "html", parts.html),
    ]
    data = b"\r\n".join([*pieces, f"--{boundary}--".encode(), b""])
    return Mail(sender.address, recipient, data)


def _part(boundary: str, kind: str, content: str) -> list[bytes]:
    lines = content.replace("\r\n", "\n").replace("\r", "\n").replace("\n", "\r\n")
    return [
        f"--{boundary}".encode(),
        f"Content-Type: text/{kind}; charset=utf-8".encode(),
        b"Content-Transfer-Encoding: quoted-printable",
        b"",
        binascii.b2a_qp(lines.encode(), istext=True),
    ]


def _header_text(text: str) -> str:
    plain = _CONTROL.sub(" ", text).strip()
    charset = "us-ascii" if plain.isascii() else "utf-8"
    return Header(plain, charset, header_name="Subject").encode(linesep="\r\n")
