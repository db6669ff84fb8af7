"""Names, addresses, birthdays and consents that the data does not have, derived by hash."""

from __future__ import annotations

import unicodedata
from dataclasses import dataclass, field
from datetime import date, timedelta
from pathlib import Path
from typing import Any

from sandbox.hashing import number, pick

_WORDS = {
    line.split()[0]: line.split()[1:]
    for line in Path(__file__).with_name("names.txt").read_text(encoding="utf-8").splitlines()
}
FIRST_NAMES, LAST_NAMES, AREAS = _WORDS["first"], _WORDS["last"], _WORDS["areas"]
PLACES = (
    ("Cincinnati", "Ohio", "OH", "45202", "America/New_York"),
    ("Cincinnati", "Ohio", "OH", "45219", "America/New_York"),
    ("Columbus", "Ohio", "OH", "43215", "America/New_York"),
    ("Dayton", "Ohio", "OH", "45402", "America/New_York"),
    ("Lexington", "Kentucky", "KY", "40507", "America/New_York"),
    ("Louisville", "Kentucky", "KY", "40202", "America/Kentucky/Louisville"),
    ("Indianapolis", "Indiana", "IN", "46204", "America/Indiana/Indianapolis"),
    ("Atlanta", "Georgia", "GA", "30303", "America/New_York"),
    ("Chicago", "Illinois", "IL", "60601", "America/Chicago"),
    ("Nashville", "Tennessee", "TN", "37201", "America/Chicago"),
    ("Houston", "Texas", "TX", "77002", "America/Chicago"),
    ("Denver", "Colorado", "CO", "80202", "America/Denver"),
    ("Phoenix", "Arizona", "AZ", "85004", "America/Phoenix"),
    ("Los Angeles", "California", "CA", "90012", "America/Los_Angeles"),
    ("Portland", "Oregon", "OR", "97204", "America/Los_Angeles"),
    ("Honolulu", "Hawaii", "HI", "96813", "Pacific/Honolulu"),
)
STREETS = ("Oak Street", "Main Street", "Vine Street", "Park Avenue", "Lake Drive", "Hill Road")
AGES = {
    "19-24": (19, 24),
    "25-34": (25, 34),
    "35-44": (35, 44),
    "45-54": (45, 54),
    "55-64": (55, 64),
    "65+": (65, 86),
}
CONSENTS = (
    ["SUBSCRIBED"] * 70 + ["NOT_SUBSCRIBED"] * 20 + ["UNSUBSCRIBED"] * 6 + ["PENDING"] * 3
) + ["INVALID"]


@dataclass
class Person:
    """Somebody the shop may meet. `given` fields win over derived ones; tags are `key:value`."""

    id: int
    number: int
    tags: list[str] = field(default_factory=list)
    given: dict[str, Any] = field(default_factory=dict)

    def document(self, today: date) -> dict[str, Any]:
        """The fields of the customer that do not change by themselves.

        Whatever is derived here has the tag `derived`; names and addresses belong to nobody.
        """
        key = ("person", self.number)
        first, last = pick(FIRST_NAMES, *key, "first"), pick(LAST_NAMES, *key, "last")
        city, province, code, postal_code, zone = pick(PLACES, *key, "place")
        attributes = dict(tag.split(":", 1) for tag in self.tags if ":" in tag)
        attributes.setdefault("timezone", zone)
        attributes.setdefault("birthday", self._birthday(today, attributes.get("age")).isoformat())
        derived = {
            "first_name": first,
            "last_name": last,
            "email": f"{_plain(first)}.{_plain(last)}.{self.number}@example.com",
            "phone": _phone(self.number),
            "address1": f"{1 + number(*key, 'door') % 900} {pick(STREETS, *key, 'street')}",
            "city": city,
            "province": province,
            "province_code": code,
            "country_code": "US",
            "zip": postal_code,
            "locale": "en",
            "time_zone": attributes["timezone"],
        }
        if self.given.get("country_code", "US") != "US":
            derived |= dict.fromkeys(("phone", "address1", "city", "zip"))
        plain = [tag for tag in self.tags if ":" not in tag]
        tags = [f"{name}:{value}" for name, value in attributes.items()]
        return {**derived, **self.given, "tags": sorted([*tags, *plain, "derived"])}

    def consent(self) -> str:
        """What the person said about e-mail when the shop first met them."""
        return self.given.get("marketing_state") or pick(CONSENTS, "consent", self.number)

    def _birthday(self, today: date, age: str | None) -> date:
        key = ("person", self.number, "birthday")
        youngest, oldest = AGES.get(age or "", (19, 79))
        years = youngest + number(*key, "years") % (oldest - youngest + 1)
        return today - timedelta(days=years * 365 + years // 4 + number(*key) % 365)


def _plain(name: str) -> str:
    letters = unicodedata.normalize("NFKD", name.lower())
    return "".join(letter for letter in letters if letter.isascii() and letter.isalnum())


def _phone(number_: int) -> str | None:
    """A number of the range kept for fiction, nobody else's; None when the range is used up."""
    area, last = divmod(number_, 100)
    return f"+1{AREAS[area]}55501{last:02d}" if area < len(AREAS) else None
