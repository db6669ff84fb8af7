"""Who the CRM knows: people of the shop, leads the shop never met, companies, owners."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from sandbox.hashing import number, pick
from sandbox.hubspot.pipeline import LABEL, OWNER_IDS, SECTORS
from sandbox.hubspot.properties import LIFECYCLE
from sandbox.life import SIGN_UP_BASE
from sandbox.people import FIRST_NAMES, LAST_NAMES, PLACES
from sandbox.shopify.world import World

KNOWN_OF_TEN = 6
LEADS_OF_TEN = 7
"""Leads for each ten people of the shop that the CRM knows."""
COMPANIES = 40
_NAMES = ("Alder", "Birch", "Cedar", "Dune", "Ember", "Fjord", "Grove", "Harbor")
_TRADES = ("Foods", "Labs", "Logistics", "Media", "Works")
_JOBS = ("Buyer", "Office manager", "Head of IT", "Controller", "Founder", "Assistant")
_SOURCES = ("ORGANIC_SEARCH", "PAID_SEARCH", "EMAIL_MARKETING", "REFERRALS", "OFFLINE")
_STATUSES = ("NEW", "OPEN", "IN_PROGRESS", "CONNECTED", "UNQUALIFIED")
COMPANY_IDS = tuple(str(30_000_000_000 + place) for place in range(COMPANIES))


def shop_people(world: World) -> Iterator[dict[str, Any]]:
    """About six of ten people of the shop, as contacts."""
    rows = world.reader.execute(
        "select id, document from people where id < ? order by id", (SIGN_UP_BASE,)
    )
    for key, document in rows.fetchall():
        if number("crm knows", key) % 10 >= KNOWN_OF_TEN:
            continue
        person = json.loads(document)
        yield {
            "email": person["email"],
            "firstname": person["first_name"],
            "lastname": person["last_name"],
            "phone": person["phone"],
            "city": person["city"],
            "state": person.get("province"),
            "country": person.get("country_code"),
            "zip": person.get("zip"),
            "hs_language": person.get("locale"),
            "hs_timezone": person.get("time_zone"),
            "lifecyclestage": "customer",
            **_common("person", key),
        }


def lead(name: object) -> dict[str, Any]:
    """Somebody the shop does not know."""
    first, last = pick(FIRST_NAMES, "lead", name, "first"), pick(LAST_NAMES, "lead", name, "last")
    city, province, _, code, zone = pick(PLACES, "lead", name, "place")
    letters = "".join(one for one in f"{first}.{last}".lower() if one.isascii() and one.isalpha())
    return {
        "email": f"{letters}.lead{name}@example.com",
        "firstname": first,
        "lastname": last,
        "city": city,
        "state": province,
        "country": "US",
        "zip": code,
        "hs_language": "en",
        "hs_timezone": zone,
        "jobtitle": pick(_JOBS, "lead", name, "job"),
        "lifecyclestage": LIFECYCLE[number("lead", name, "stage") % 4],
        **_common("lead", name),
    }


def _common(*key: object) -> dict[str, Any]:
    values = {
        "hs_analytics_source": pick(_SOURCES, *key, "source"),
        "hs_lead_status": pick(_STATUSES, *key, "status"),
        "data_label": LABEL,
    }
    if number(*key, "owned") % 3 == 0:
        values["hubspot_owner_id"] = pick(OWNER_IDS, *key, "owner")
    return values


def company(place: int) -> dict[str, Any]:
    """One of the companies."""
    name = f"{_NAMES[place % len(_NAMES)]} {_TRADES[place // len(_NAMES)]}"
    city, province, *_ = pick(PLACES, "company", place)
    staff = 10 + number("company", place, "staff") % 5000
    return {
        "name": name,
        "domain": f"{name.lower().replace(' ', '-')}.example",
        "industry": pick(SECTORS, "company", place, "sector"),
        "country": "United States",
        "city": city,
        "state": province,
        "numberofemployees": staff,
        "annualrevenue": staff * (60_000 + number("company", place) % 90_000),
        "hubspot_owner_id": pick(OWNER_IDS, "company", place, "owner"),
        "lifecyclestage": "customer",
        "data_label": LABEL,
    }


def edit(values: dict[str, Any], *key: object) -> dict[str, Any]:
    """What somebody in sales, or the contact, changes about a contact."""
    stage = values.get("lifecyclestage")
    place = LIFECYCLE.index(stage) if stage in LIFECYCLE else 0
    city, province, _, code, zone = pick(PLACES, *key, "place")
    return pick(
        (
            {"lifecyclestage": LIFECYCLE[min(place + 1, 5)]},
            {"hs_lead_status": pick(_STATUSES, *key, "status")},
            {"hubspot_owner_id": pick(OWNER_IDS, *key, "owner")},
            {"city": city, "state": province, "zip": code, "hs_timezone": zone},
            {"jobtitle": pick(_JOBS, *key, "job")},
            {"favourite_aisle": pick(("produce", "bakery", "frozen", "dairy"), *key, "aisle")},
        ),
        *key,
        "what",
    )
