"""The portal's past: fourteen months up to some days before the machine's date.

What comes after is lived by life.py as the clock passes, so that a change made through the API is
never overwritten by one that was written ahead.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from sandbox.hashing import number, pick
from sandbox.hubspot import consents, mailings, people, pipeline
from sandbox.hubspot.pipeline import AGENTS, DAY_MS, LABEL, OWNER_IDS
from sandbox.hubspot.properties import modified
from sandbox.hubspot.values import iso
from sandbox.records import Row

if TYPE_CHECKING:
    from sandbox.hubspot.crm import Crm

VERSION = 2
"""Changes when the same inputs would give another portal."""
PAST_DAYS = 425
LIVED_DAYS = 5
"""So many days before the machine's date the past ends and life begins."""
HOUR_MS = 3_600_000
CONTACT_IDS, DEAL_IDS = 20_000_000_000, 40_000_000_000
LEAST_LEADS = 250
LISTS = (
    # id, name, processing type, of a thousand contacts so many are members
    ("101", "Newsletter readers", "DYNAMIC", 600),
    ("102", "Trade fair visitors", "MANUAL", 60),
    ("103", "Customers", "DYNAMIC", 450),
    ("104", "Spring snapshot", "SNAPSHOT", 200),
    ("105", "Call list", "MANUAL", 10),
)


def seed(crm: Crm, real_now: int) -> None:
    """Write the past of a portal that has none yet."""
    end = (real_now // HOUR_MS) * HOUR_MS - LIVED_DAYS * DAY_MS
    start = end - PAST_DAYS * DAY_MS
    crm.records.put_many([*_owners(start), *_companies(crm, start), *_contacts(crm, start, end)])
    contacts = [one.key for one in crm.records.all("contacts", end)]
    crm.records.put_many(_deals(crm, contacts, start, end))
    crm.records.put_many([*_consents(crm, end), *_lists(contacts, start, end)])
    for at in mailings.between(end - 45 * DAY_MS, end):
        crm.records.put_many(mailings.events(crm, at))
    crm.records.put_meta({"lived_to": end})


def _owners(start: int) -> Iterator[Row]:
    for key, (first, last, team) in zip(OWNER_IDS, AGENTS, strict=True):
        document = {
            "email": f"{first}.{last}@example.com".lower(),
            "firstName": first,
            "lastName": last,
            "team": team,
            "createdAt": start,
            "updatedAt": start,
        }
        yield "owner", key, start, document
    left = start + 200 * DAY_MS
    yield "owner", OWNER_IDS[-1], left, None


def _companies(crm: Crm, start: int) -> Iterator[Row]:
    for place in range(people.COMPANIES):
        key = people.COMPANY_IDS[place]
        at = start + number("company", place, "made") % (100 * DAY_MS)
        yield "companies", key, at, crm.made("companies", key, people.company(place), {}, at)


def _contacts(crm: Crm, start: int, end: int) -> Iterator[Row]:
    known = list(people.shop_people(crm.world))
    wanted = max(LEAST_LEADS, len(known) * people.LEADS_OF_TEN // 10)
    leads = [people.lead(place) for place in range(wanted)]
    span = end - start - DAY_MS
    times = {one["email"]: start + number("joins", one["email"]) % span for one in known + leads}
    everybody = sorted(known + leads, key=lambda one: (times[one["email"]], one["email"]))
    for place, values in enumerate(everybody):
        key, at = str(CONTACT_IDS + place), times[values["email"]]
        links: dict[str, list[str]] = {}
        if "jobtitle" in values:
            links = {"companies": [pick(people.COMPANY_IDS, "works for", place)]}
            values = {**values, "company": people.company(int(links["companies"][0][-2:]))["name"]}
        given = {name: value for name, value in values.items() if value is not None}
        document = crm.made("contacts", key, given, links, at)
        yield "contacts", key, at, document
        if number("edited", place) % 2:
            later = at + number("edited", place, "at") % (end - at)
            changed = {**document["properties"], **people.edit(given, "edited", place)}
            changed[modified("contacts")] = iso(later)
            yield "contacts", key, later, {**document, "properties": changed}


def _deals(crm: Crm, contacts: list[str], start: int, end: int) -> Iterator[Row]:
    wanted = min(900, max(150, len(contacts) * 36 // 100))
    for place in range(wanted):
        at = start + (end - start) * place // wanted + number("deal", place) % HOUR_MS
        yield from deal(crm, str(DEAL_IDS + place), at, end, contacts)


def deal(crm: Crm, key: str, at: int, end: int, contacts: list[str]) -> Iterator[Row]:
    """A deal's versions up to `end`; its later moves lie in the document under `plan`."""
    values, steps = pipeline.plan(key, at)
    values["deal_currency_code"] = crm.world.currency
    links = {"contacts": _buyers(crm, key, at, contacts), "companies": []}
    if number(key, "company") % 6:
        links["companies"] = [pick(people.COMPANY_IDS, key, "account")]
    document: dict[str, Any] = {"properties": values, "links": links}
    for place, step in enumerate(steps):
        if step.at > end:
            break
        given = {**document["properties"], **step.values()}
        document = crm.made("deals", key, given, links, step.at)
        document["properties"]["createdate"] = iso(at)
        rest = [[later.at, later.stage, later.reason] for later in steps[place + 1 :]]
        yield "deals", key, step.at, {**document, "plan": rest} if rest else document


def _buyers(crm: Crm, key: str, at: int, contacts: list[str]) -> list[str]:
    """One to three contacts that exist already."""
    wanted = 1 + number(key, "buyers") % 3
    found = (pick(contacts, key, "buyer", place) for place in range(wanted * 2)) if contacts else ()
    there = [one for one in dict.fromkeys(found) if crm.get("contacts", one, at) is not None]
    return there[:wanted]


def _consents(crm: Crm, end: int) -> Iterator[Row]:
    for one in crm.records.all("contacts", end):
        email = one.document["properties"]["email"]
        for subscription in consents.SUBSCRIPTIONS:
            status = consents.first_status(email, subscription)
            if status is not None:
                at = one.created_at
                yield consents.row(email, subscription, status, at, source="Form")


def _lists(contacts: list[str], start: int, end: int) -> Iterator[Row]:
    for key, name, processing, share in LISTS:
        document = {"name": name, "processingType": processing, "at": start, "label": LABEL}
        yield "list", key, start, document
        for contact in contacts:
            if number("member", key, contact) % 1000 < share:
                at = end - number("joined", key, contact) % (30 * DAY_MS)
                yield f"member:{key}", contact, at, {"at": at}
