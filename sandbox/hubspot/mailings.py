"""Marketing e-mails, every second Tuesday, and what became of each copy."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from sandbox.hashing import number, pick
from sandbox.hubspot import PORTAL
from sandbox.hubspot.pipeline import DAY_MS
from sandbox.records import Row

if TYPE_CHECKING:
    from sandbox.hubspot.crm import Crm

FORTNIGHT = 14 * DAY_MS
FIRST = 1_735_635_600_000 + 7 * DAY_MS
"""Tuesday, 7 January 2025, 09:00 UTC."""
EMAIL_IDS = 180_000_000
SUBJECTS = (
    "Fresh this week",
    "Our best of the month",
    "Recipes for the weekend",
    "New on the shelf",
)
LINKS = ("https://shop.example.com/offers", "https://shop.example.com/recipes")
PROXY = "Mozilla/5.0 (Windows NT 5.1; rv:11.0) Gecko Firefox/11.0 (via ggpht.com GoogleImageProxy)"
BROWSER = "Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7) AppleWebKit/537.36 Chrome/141.0"
MINUTE, HOUR = 60_000, 3_600_000


def between(after: int, until: int) -> Iterator[int]:
    """The instants of mailings in (after, until]."""
    at = FIRST + -((FIRST - after - 1) // FORTNIGHT) * FORTNIGHT
    while at <= until:
        if at > after:
            yield at
        at += FORTNIGHT


def email_id(at: int) -> int:
    """The id of a mailing."""
    return EMAIL_IDS + (at - FIRST) // FORTNIGHT


def subject(at: int) -> str:
    """The subject of a mailing."""
    return pick(SUBJECTS, "subject", email_id(at))


def events(crm: Crm, at: int) -> Iterator[Row]:
    """What happens to a mailing's copies from `at` on; one event in fifty is reported late.

    Two opens of five come from a proxy seconds after delivery; half of those HubSpot itself
    knows to be no person (`filteredEvent`).
    """
    for one in crm.records.all("contacts", at):
        email = one.document["properties"].get("email")
        said = crm.records.get("consent", f"{email}|501", at) if email else None
        if said is None or said.document["status"] != "SUBSCRIBED":
            continue
        key = (email_id(at), one.key)
        if number("in mailing", *key) % 10 < 6:
            yield from _copy(email, key, at)


def _copy(email: str, key: tuple[int, str], at: int) -> Iterator[Row]:
    sent = at + number("sent", *key) % (20 * MINUTE)
    first = _event(email, key, "SENT", sent)
    yield first
    if number("bounces", *key) % 100 == 0:
        more = {"category": "UNKNOWN_USER", "response": "550 5.1.1 unknown", "status": "5.1.1"}
        yield _event(email, key, "BOUNCE", sent + 4_000, **more)
        return
    delivered = sent + 2_000 + number("delivered", *key) % 5_000
    yield _event(email, key, "DELIVERED", delivered)
    habit = number("habit", *key) % 100
    if habit < 18:
        seconds = 1_000 + number("proxy", *key) % 3_000
        flags: dict[str, Any] = {"filteredEvent": habit < 9, "is_machine": True}
        yield _event(email, key, "OPEN", delivered + seconds, userAgent=PROXY, **flags)
    if 10 <= habit < 38:
        read = delivered + 2 * MINUTE + number("read", *key) % (30 * HOUR)
        yield _event(email, key, "OPEN", read, "again", userAgent=BROWSER)
        if habit < 17:
            url = pick(LINKS, *key)
            yield _event(email, key, "CLICK", read + 20_000, url=url, userAgent=BROWSER)


def _event(
    email: str, key: tuple[int, str], kind: str, created: int, name: str = "", **more: Any
) -> Row:
    seed = number("event", *key, kind, name), number("event", *key, name, kind)
    unique = str(uuid.UUID(int=(seed[0] << 64) | seed[1]))
    late = number("late", unique) % 50 == 0
    document = {
        "id": unique,
        "created": created,
        "type": kind,
        "recipient": email,
        "portalId": PORTAL,
        "appId": 113,
        "appName": "Batch",
        "emailCampaignId": key[0],
        "emailCampaignGroupId": key[0],
        "smtpId": None,
        **more,
    }
    seen = created + (number("later", unique) % (40 * MINUTE) if late else 0)
    return "email_event", unique, seen, document
