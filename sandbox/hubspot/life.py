"""What happens in the portal by itself as the clock passes: about twenty changes an hour.

Each is worked out from hashes at its own instant and laid over the record as it then is.
"""

from __future__ import annotations

import heapq
import threading
from typing import TYPE_CHECKING, Any

from sandbox.hashing import number, pick
from sandbox.hubspot import consents, mailings, people, seed
from sandbox.hubspot.pipeline import LABEL, OWNER_IDS, Step

if TYPE_CHECKING:
    from sandbox.hubspot.crm import Crm

HOUR_MS = 3_600_000
CHANGES_AN_HOUR = 20
QUIET_MS = 5_000
"""Nothing happens by itself so shortly before the clock: a reader and a check see the same."""
IDS, API_IDS = 80_000_000_000, 90_000_000_000
"""Ids given by life, and by the creates of the API."""


class Life:
    """Lives the hours of a portal up to the clock, once."""

    def __init__(self, crm: Crm) -> None:
        self.crm = crm
        self._lock = threading.RLock()
        self._lived_to: int | None = None
        self._contacts: list[str] = []
        self._deals: list[str] = []
        self._moves: list[tuple[int, str]] = []

    def advance(self, now: int) -> None:
        """Let happen what is due; a clock that was set back waits until it is there again."""
        until = now - QUIET_MS
        with self._lock:
            if self._lived_to is None:
                self._wake()
            since = self._lived_to
            if since is None or until <= since:
                return
            # First, so that what happens here and asks for the time does not start again.
            self._lived_to = until
            due = self._due(since, until)
            for at, name, detail in due:
                self._happen(at, name, detail)
            if due:
                self.crm.records.put_meta({"lived_to": until})

    def _wake(self) -> None:
        records = self.crm.records
        self._lived_to = records.meta().get("lived_to")
        now = self._lived_to or 0
        self._contacts, self._deals = self._ever("contacts", now), self._ever("deals", now)
        plans = ((one.document.get("plan"), one.key) for one in records.all("deals", now))
        self._moves = [(plan[0][0], key) for plan, key in plans if plan]
        heapq.heapify(self._moves)

    def _ever(self, kind: str, now: int) -> list[str]:
        """The objects made by seed and life, in the order of time, as if nobody had stopped."""
        records = self.crm.records
        found = [*records.all(kind, now), *records.gone(kind, now)]
        found.sort(key=lambda one: (one.created_at, one.key))
        return [one.key for one in found if int(one.key) < API_IDS]

    def _due(self, since: int, until: int) -> list[tuple[int, str, Any]]:
        """What happens in (since, until], in order."""
        due: list[tuple[int, str, Any]] = []
        for hour in range(since // HOUR_MS, until // HOUR_MS + 1):
            begin = hour * HOUR_MS
            for slot in range(CHANGES_AN_HOUR):
                at = begin + number("life", hour, slot) % HOUR_MS
                due.append((at, "change", (hour, slot)))
            if number("new deal", hour) % 11 == 0:
                due.append((begin + number("deal at", hour) % HOUR_MS, "deal", hour))
        due += [(at, "mailing", None) for at in mailings.between(since, until)]
        while self._moves and self._moves[0][0] <= until:
            at, key = heapq.heappop(self._moves)
            due.append((max(at, since + 1), "move", key))
        return sorted(
            (one for one in due if since < one[0] <= until), key=lambda one: (one[0], str(one[1:]))
        )

    def _happen(self, at: int, name: str, detail: Any) -> None:
        crm = self.crm
        if name == "mailing":
            crm.records.put_many(mailings.events(crm, at))
        elif name == "deal":
            key = str(IDS + detail * 100 + 99)
            rows = list(seed.deal(crm, key, at, at, self._contacts))
            crm.records.put_many(rows)
            self._deals.append(key)
            self._plan(key, rows[-1][3] or {})
        elif name == "move":
            self._move(detail, at)
        else:
            self._change(at, *detail)

    def _plan(self, key: str, document: dict[str, Any]) -> None:
        if document.get("plan"):
            heapq.heappush(self._moves, (document["plan"][0][0], key))

    def _move(self, key: str, at: int) -> None:
        """A deal moves on, unless somebody moved it another way since."""
        one = self.crm.get("deals", key, at)
        if one is None or not one.document.get("plan"):
            return
        (_, stage, reason), *rest = one.document["plan"]
        self.crm.change("deals", key, Step(at, stage, reason).values(), at)
        moved = self.crm.get("deals", key, at)
        if rest and moved is not None:
            document = {**moved.document, "plan": rest}
            self.crm.records.put("deals", key, at, document)
            self._plan(key, document)

    def _change(self, at: int, hour: int, slot: int) -> None:
        crm, name = self.crm, ("change", hour, slot)
        place = number(*name, "kind") % 100
        contact = pick(self._contacts, *name, "who")
        one = crm.get("contacts", contact, at)
        if place < 4:
            key = str(IDS + hour * 100 + slot)
            links = {"companies": [pick(people.COMPANY_IDS, *name)]}
            crm.create("contacts", people.lead(f"{hour}x{slot}"), at, links, key)
            self._contacts.append(key)
        elif place < 20:
            deal = pick(self._deals, *name, "deal")
            crm.change("deals", deal, {"hubspot_owner_id": pick(OWNER_IDS, *name, "owner")}, at)
        elif place < 24:
            company = pick(people.COMPANY_IDS, *name)
            crm.change("companies", company, {"numberofemployees": 10 + number(*name) % 5000}, at)
        elif one is None:
            return
        elif place < 25:
            crm.archive("contacts", contact, at)
        elif place < 26:
            self._merge(contact, at, hour, slot)
        elif place < 38:
            self._list(contact, at, number(*name, "list"))
        elif place < 44:
            email = one.document["properties"].get("email")
            said = crm.records.get("consent", f"{email}|501", at)
            is_on = said is not None and said.document["status"] == "SUBSCRIBED"
            status = "UNSUBSCRIBED" if is_on else "SUBSCRIBED"
            if email:
                said_by = {"source": "Form", "basis": "CONSENT_WITH_NOTICE"}
                consents.say(crm, email, 501, status, at, **said_by, contact=contact)
        else:
            crm.change("contacts", contact, people.edit(one.document["properties"], *name), at)

    def _merge(self, contact: str, at: int, hour: int, slot: int) -> None:
        other = pick(self._contacts, "merge", hour, slot)
        key = str(IDS + hour * 100 + slot)
        if self.crm.merge("contacts", contact, other, at, key) is not None:
            self._contacts.append(key)

    def _list(self, contact: str, at: int, place: int) -> None:
        """Somebody joins a list or leaves it."""
        kind = f"member:{pick(seed.LISTS, place)[0]}"
        is_member = self.crm.records.get(kind, contact, at) is not None
        self.crm.records.put(kind, contact, at, None if is_member else {"at": at, "label": LABEL})
