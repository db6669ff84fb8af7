"""What happens in the account by itself: people join, change, leave; a newsletter every week.

Fourteen months come first, with about four changes a day, up to a week before the end of the shop's
data; after that some changes an hour, for as long as the clock runs. All of it follows from hashes.
"""

from __future__ import annotations

import json
from bisect import insort
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any, NamedTuple

from sandbox.hashing import number, pick
from sandbox.mailchimp.activity import HOUR, LATEST, SECOND, Mailing
from sandbox.mailchimp.book import Book
from sandbox.mailchimp.documents import audience, campaign, left, person, segment, send
from sandbox.mailchimp.names import LIST, key_of, members
from sandbox.people import FIRST_NAMES, Person
from sandbox.records import FOREVER, Document, Row

DAY = 24 * HOUR
HISTORY_DAYS = 425
FIRST_NUMBER = 100_000_001
TAGS = {50_001: "VIP", 50_002: "Recipe club"}
STATUSES = (
    ["subscribed"] * 72
    + ["unsubscribed"] * 10
    + ["archived"] * 5
    + ["cleaned"] * 4
    + ["pending"] * 4
    + ["transactional"] * 5
)
SUBJECTS = (
    "Fresh this week",
    "Your weekend table",
    "What is in season",
    "Five dinners in thirty minutes",
    "Little prices, big basket",
    "Straight from the oven",
)
KINDS = (
    ["profile"] * 44
    + ["join"] * 16
    + ["tag"] * 14
    + ["leave"] * 8
    + ["return"] * 6
    + ["address"] * 5
    + ["archive"] * 4
    + ["clean"] * 2
    + ["forget"]
)


class Shop(NamedTuple):
    """What the account knows of the shop: its name, its last day of data, its people."""

    name: str
    last_day: int
    people: Callable[[], list[tuple[int, str]]]


class _Happening(NamedTuple):
    at: int
    kind: str
    subject: int = 0


class Life:
    """Writes the account's records up to the clock, never further."""

    def __init__(self, records: Book, shop: Shop) -> None:
        self.records, self.shop = records, shop
        # The last day of the shop's data may lie some days ahead of the clock.
        self.born = (shop.last_day - 6) * DAY
        self._mailings: dict[str, Mailing] = {}
        self._joiners: list[Document] | None = None
        facts = records.meta()
        if not facts:
            facts = self._seed()
        self.written_to: int = facts["written_to"]
        self._number: int = facts["number"]
        self._joined: int = facts["joined"]
        self._due = 0
        self._effects: list[_Happening] = []
        for one in records.all("campaign", self.written_to):
            if (one.document["sent"] or 0) > self.written_to - LATEST:
                self._expect(one.key)

    def next_number(self, count: int = 1) -> int:
        """The first of `count` numbers that no member has."""
        first = self._number
        self._number += count
        self.records.put_meta({"number": self._number})
        return first

    def mailing(self, campaign: str) -> Mailing | None:
        """The mails of a campaign that was sent."""
        if campaign not in self._mailings:
            found = self.records.get("recipients", campaign, FOREVER)
            if found is None:
                return None
            rows = list(zip(found.document["n"], found.document["email"], strict=True))
            self._mailings[campaign] = Mailing(campaign, found.at, rows)
        return self._mailings[campaign]

    def sent(self, campaign: str) -> None:
        """A campaign was sent: what its readers do to themselves will come."""
        self._mailings.pop(campaign, None)
        self._expect(campaign)
        self._due = 0

    def extend(self, now: int, per_hour: int) -> None:
        """Let happen what is due by `now`."""
        if now < self._due or now <= self.written_to:
            return
        work = _Work(self)
        for hour in range(self.written_to // HOUR, now // HOUR + 1):
            self._due = (hour + 1) * HOUR
            for one in self._happenings(hour, per_hour):
                if one.at > now:
                    self._due = min(self._due, one.at)
                elif one.at > self.written_to:
                    work.perform(one)
            # What a mail of this very hour led to.
            while self._effects and self._effects[0].at <= min(now, (hour + 1) * HOUR - 1):
                work.perform(self._effects.pop(0))
        if self._effects:
            self._due = min(self._due, self._effects[0].at)
        self.records.put_many(work.rows)
        self.written_to = now
        facts = {"written_to": now, "number": self._number, "joined": self._joined}
        self.records.put_meta(facts)

    def _expect(self, campaign: str) -> None:
        mailing = self.mailing(campaign)
        for subject, one in mailing.all(FOREVER, "bounce", "unsubscribe") if mailing else ():
            if one.at > self.written_to and one.detail != "soft":
                kind = "cleaned_by" if one.action == "bounce" else "left_by"
                insort(self._effects, _Happening(one.at, kind, subject))

    def _happenings(self, hour: int, per_hour: int) -> list[_Happening]:
        found = []
        week, begins = divmod(hour * HOUR - 5 * DAY - 15 * HOUR, 7 * DAY)
        if begins == 0:
            found.append(_Happening(hour * HOUR, "newsletter", week))
        is_live = hour * HOUR >= self.born
        count = per_hour if is_live else number("calm", hour) % 6 == 0
        for place in range(count):
            at = hour * HOUR + (1 + number("at", hour, place) % 3599) * SECOND
            kind = pick(KINDS, "kind", hour, place)
            if is_live and kind == "forget":
                # No read shows it, so that a run could not be compared with the truth afterwards:
                # who wants somebody deleted for good asks for it.
                kind = "archive"
            found.append(_Happening(at, kind, number("subject", hour, place)))
        return sorted(found)

    # -- the beginning ----------------------------------------------------------------------------

    def _seed(self) -> dict[str, Any]:
        start = self.born - HISTORY_DAYS * DAY
        rows: list[Row] = [("audience", LIST, start - 700 * DAY, audience(self.shop.name))]
        for key, name in TAGS.items():
            rows.append(("segment", str(key), start - 600 * DAY, segment(LIST, name)))
        blank = {"condition_type": "TextMerge", "field": "BIRTHDAY", "op": "blank"}
        saved = segment(LIST, "No birthday yet", {"match": "all", "conditions": [blank]})
        rows.append(("segment", "60001", start - 300 * DAY, saved))
        following = FIRST_NUMBER
        known = [json.loads(text) for key, text in self.shop.people() if _share(key) < 55]
        known = [one for one in known if one.get("email")]
        strangers = max(len(known) // 6, 20)
        known += [_stranger(FIRST_NUMBER - 1 - place) for place in range(strangers)]
        for document in known:
            chance = number("member", following)
            at = start - (1 + chance % (600 * 86_400)) * SECOND
            status = pick(STATUSES, "status", following)
            member = person(LIST, following, document, at, status)
            member["tags"] = [key for key in TAGS if number("tag", key, following) % 9 == 0]
            rows.append((members(LIST), str(following), at, member))
            following += 1
        self.records.put_many(rows)
        facts = {"written_to": start - 1, "number": following, "joined": 0}
        self.records.put_meta(facts)
        return facts

    def joiner(self) -> Document:
        """Who joins next: more of the shop's people, then strangers."""
        if self._joiners is None:
            rows = [(key, text) for key, text in self.shop.people() if 55 <= _share(key) < 70]
            self._joiners = [json.loads(text) for _, text in rows]
        self._joined += 1
        if self._joined <= len(self._joiners):
            return self._joiners[self._joined - 1]
        return _stranger(2 * FIRST_NUMBER + self._joined)


class _Work:
    """One stretch of life: the members as they are, the rows that came of it."""

    def __init__(self, life: Life) -> None:
        self.life, self.rows = life, list[Row]()
        everybody = life.records.all(members(LIST), life.written_to)
        self.members = {one.document["n"]: one.document for one in everybody}
        self.order = list(self.members)
        self.hashes = {one["hash"] for one in self.members.values()}

    def perform(self, one: _Happening) -> None:
        """Let one thing happen."""
        if one.kind == "newsletter":
            self._newsletter(one.at, one.subject)
        elif one.kind == "join":
            self._join(one.at)
        elif one.kind in ("cleaned_by", "left_by"):
            self._effect(one)
        else:
            getattr(self, f"_{one.kind}")(one.at, one.subject)

    def _put(self, at: int, document: Document) -> None:
        self.members[document["n"]] = document
        self.rows.append((members(LIST), str(document["n"]), at, document))

    def _somebody(self, subject: int, *statuses: str) -> Document | None:
        """The first member of one of these statuses at or after a place given by chance."""
        for step in range(min(len(self.order), 200)):
            found = self.members.get(self.order[(subject + step) % len(self.order)])
            if found is not None and found["status"] in statuses:
                return found
        return None

    def _join(self, at: int) -> None:
        document = self.life.joiner()
        if not document.get("email") or key_of(document["email"]) in self.hashes:
            return
        following = self.life.next_number()
        status = pick(["subscribed"] * 7 + ["pending"] * 2 + ["transactional"], "new", following)
        self.order.append(following)
        self._put(at, person(LIST, following, document, at, status))
        self.hashes.add(key_of(document["email"]))

    def _profile(self, at: int, subject: int) -> None:
        found = self._somebody(subject, "subscribed", "unsubscribed", "transactional")
        if found is None:
            return
        merge = dict(found["merge"])
        if subject % 3 == 0:
            merge["FNAME"] = pick(FIRST_NAMES, "renamed", at)
        elif subject % 3 == 1:
            merge["BIRTHDAY"] = f"{1 + subject // 3 % 12:02d}/{1 + subject // 36 % 28:02d}"
        vip = found["vip"] != (subject % 3 == 2)
        self._put(at, {**found, "merge": merge, "vip": vip, "by": "user"})

    def _tag(self, at: int, subject: int) -> None:
        found = self._somebody(subject, "subscribed", "transactional")
        if found is not None:
            tags = set(found["tags"]) ^ {pick(list(TAGS), "tagged", at)}
            self._put(at, {**found, "tags": sorted(tags), "by": "admin"})

    def _leave(self, at: int, subject: int) -> None:
        found = self._somebody(subject, "subscribed")
        if found is not None:
            self._put(at, left(found, at, "user", "NORMAL"))

    def _return(self, at: int, subject: int) -> None:
        found = self._somebody(subject, "pending", "unsubscribed")
        if found is not None:
            self._put(at, {**found, "status": "subscribed", "opt": at, "by": "user"})

    def _address(self, at: int, subject: int) -> None:
        found = self._somebody(subject, "subscribed")
        if found is None:
            return
        name, _, host = found["email"].partition("@")
        email = f"{name.partition('+')[0]}+{at // 1000 % 100_000}@{host}"
        self._put(at, {**found, "email": email, "hash": key_of(email), "by": "user"})

    def _archive(self, at: int, subject: int) -> None:
        found = self._somebody(subject, "unsubscribed", "transactional", "pending")
        if found is not None:
            self._put(at, {**found, "status": "archived", "by": "admin"})

    def _clean(self, at: int, subject: int) -> None:
        found = self._somebody(subject, "subscribed")
        if found is not None:
            self._put(at, {**found, "status": "cleaned", "by": "user"})

    def _forget(self, at: int, subject: int) -> None:
        found = self._somebody(subject, "archived")
        if found is not None:
            del self.members[found["n"]]
            self.order.remove(found["n"])
            self.rows.append((members(LIST), str(found["n"]), at, None))
            kept = {"hash": found["hash"], "by": "admin"}
            self.rows.append(("forgotten", f"{LIST}:{kept['hash']}", at, kept))

    def _effect(self, one: _Happening) -> None:
        found = self.members.get(one.subject)
        if found is None or found["status"] != "subscribed":
            return
        if one.kind == "cleaned_by":
            self._put(one.at, {**found, "status": "cleaned", "by": "user"})
        else:
            self._put(one.at, left(found, one.at, "user", "NORMAL"))

    def _newsletter(self, at: int, week: int) -> None:
        key = key_of(f"newsletter:{week}")[:10]
        title = f"Newsletter {datetime.fromtimestamp(at / 1000, UTC):%G week %V}"
        draft = campaign(LIST, title, pick(SUBJECTS, "subject", week), at - 26 * HOUR)
        reached = [one for one in self.members.values() if one["status"] == "subscribed"]
        self.rows.append(("campaign", key, at - 26 * HOUR, draft))
        # Written now: what comes of this mail is part of the same stretch.
        self.life.records.put_many(send(key, draft, reached, at))
        self.life.sent(key)


def _share(key: int) -> int:
    return number("mailchimp", key) % 100


def _stranger(key: int) -> Document:
    return Person(key, key).document(datetime(2026, 1, 1, tzinfo=UTC).date())
