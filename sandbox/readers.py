"""What the readers of the sandbox's mails do, derived by hash: nobody real ever opened these.

Every choice hangs on the Message-ID and the recipient, so that the same mail is always read the
same way: about 35 % are opened by a person, a fifth of those clicked, 0.4 % unsubscribed in one
click, and 10 % fetched by a mail provider's machine within seconds.
"""

from __future__ import annotations

import email
import email.policy
import hashlib
import html
import math
import re
from dataclasses import dataclass
from datetime import datetime, timedelta
from statistics import NormalDist
from urllib.parse import urlsplit

import urllib3

from sandbox.mail_store import MailStore, headers

PERSON = "Mozilla/5.0 (iPhone; CPU iPhone OS 18_5 like Mac OS X) AppleWebKit/605.1.15 Mobile/15E148"
PROXY = "Mozilla/5.0 (Windows NT 5.1; rv:11.0) Gecko Firefox/11.0 (via ggpht.com GoogleImageProxy)"

OPEN_RATIO = 0.35
CLICK_RATIO = 0.20
UNSUBSCRIBE_RATIO = 0.004
MACHINE_RATIO = 0.10

_LOCAL = ("127.0.0.1", "localhost", "::1")
_MEDIAN_DELAY_SECONDS = 2.5 * 3600


@dataclass(frozen=True)
class Links:
    """The addresses in one mail that a reader may call."""

    pixel: str | None
    clicks: list[str]
    unsubscribe: str | None


def plan(message_id: str, recipient: str, received_at: datetime) -> list[tuple[str, datetime]]:
    """What happens to this mail and when: (`open`|`machine_open`|`click`|`unsubscribe`, instant).

    Args:
        received_at: the product's clock at reception; delays count from it.
    """

    def draw(name: str) -> float:
        return _draw(name, message_id, recipient)

    actions: list[tuple[str, datetime]] = []
    if draw("machine") < MACHINE_RATIO:
        actions.append(("machine_open", received_at + timedelta(seconds=2 + 8 * draw("proxy"))))
    if draw("open") < OPEN_RATIO:
        spread = NormalDist().inv_cdf(min(max(draw("delay"), 1e-6), 1 - 1e-6))
        delay = min(max(_MEDIAN_DELAY_SECONDS * math.exp(1.1 * spread), 40.0), 4 * 86400.0)
        opened_at = received_at + timedelta(seconds=delay)
        actions.append(("open", opened_at))
        if draw("click") < CLICK_RATIO:
            actions.append(("click", opened_at + timedelta(seconds=8 + 110 * draw("think"))))
    if draw("unsubscribe") < UNSUBSCRIBE_RATIO:
        hours = 1 + 9 * draw("tired")
        actions.append(("unsubscribe", received_at + timedelta(hours=hours)))
    return actions


def links(raw: bytes) -> Links:
    """The pixel, the tracked links and the one-click address of a mail, on this machine only.

    A link to any other host is left out: the sandbox never calls the outside world.
    """
    message = email.message_from_bytes(raw, policy=email.policy.default)
    body = message.get_body(preferencelist=("html",))
    text = body.get_content() if body is not None else ""
    sources = [html.unescape(value) for value in re.findall(r'<img[^>]+src="([^"]+)"', text)]
    targets = [html.unescape(value) for value in re.findall(r'href="([^"]+)"', text)]
    pixel = next((url for url in sources if "/o/" in url and _is_local(url)), None)
    clicks = [url for url in targets if "/c/" in url and _is_local(url)]
    listed = re.search(r"<(https?://[^>]+)>", headers(raw).get("list-unsubscribe", ""))
    unsubscribe = listed.group(1) if listed and _is_local(listed.group(1)) else None
    return Links(pixel, clicks, unsubscribe)


class Readers:
    """Everybody who reads the sandbox's mails; they act by calling the links in them."""

    def __init__(self, store: MailStore) -> None:
        self._store = store
        self._http = urllib3.PoolManager(num_pools=2, maxsize=2, retries=False, timeout=10.0)

    def perform_due(self, now: datetime) -> dict[str, int]:
        """Do what is due by `now`; returns how many opens, clicks, ... were made.

        When the receiver cannot be reached the rest stays due (`waiting` counts this round's).
        """
        counts = {"open": 0, "machine_open": 0, "click": 0, "unsubscribe": 0}
        counts |= {"without_link": 0, "refused": 0, "waiting": 0}
        while due := self._store.due_actions(now):
            for position, action in enumerate(due):
                found = self._store.get(action.message)
                result = self._act(action.kind, found[1], found[0].rcpt) if found else None
                if result is not None and result >= 500:
                    counts["waiting"] = len(due) - position
                    return counts
                word = "without_link" if result is None else action.kind
                counts[word if result is None or result < 400 else "refused"] += 1
                self._store.finish_action(action.id, now, word if result is None else str(result))
        return counts

    def _act(self, kind: str, raw: bytes, recipient: str) -> int | None:
        """The receiver's status (503 when it is away), or None when the mail has no such link."""
        found = links(raw)
        agent = {"user-agent": PROXY if kind == "machine_open" else PERSON}
        try:
            if kind == "unsubscribe":
                if found.unsubscribe is None:
                    return None
                answer = self._http.request(
                    "POST",
                    found.unsubscribe,
                    fields={"List-Unsubscribe": "One-Click"},
                    encode_multipart=False,
                    headers=agent,
                )
                return answer.status
            url = found.pixel
            if kind == "click":
                message_id = headers(raw).get("message-id", "")
                place = int(_draw("link", message_id, recipient) * len(found.clicks))
                url = found.clicks[place] if found.clicks else None
            if url is None:
                return None
            # The redirect's target is a page of the shop: calling the receiver is enough.
            return self._http.request("GET", url, headers=agent, redirect=False).status
        except urllib3.exceptions.HTTPError:
            return 503


def _draw(name: str, message_id: str, recipient: str) -> float:
    text = f"{name}|{message_id}|{recipient.lower()}"
    digest = hashlib.md5(text.encode(), usedforsecurity=False).digest()
    return int.from_bytes(digest[:8], "big") / 2**64


def _is_local(url: str) -> bool:
    parts = urlsplit(url)
    return parts.scheme in ("http", "https") and parts.hostname in _LOCAL
