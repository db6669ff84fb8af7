"""The sales pipeline, derived.

The shape - products and their prices, win rates, the days from engaging to closing, sectors - was
measured on the "CRM Sales Opportunities" data of Maven Analytics (public domain; 8,800 deals of a
fictitious hardware seller, 4,238 won, 2,473 lost). Names of people, the split into stages over time
and lost reasons are not in it and are invented. Every object has `data_label` = `derived`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from sandbox.hashing import number, pick
from sandbox.hubspot.values import iso

DAY_MS = 86_400_000
LABEL = "derived"


@dataclass(frozen=True)
class Stage:
    """A stage of the pipeline `default`."""

    id: str
    label: str
    order: int
    probability: float
    is_closed: bool

    def properties(self) -> dict[str, str]:
        """What HubSpot works out of a deal's stage."""
        return {
            "hs_is_closed": str(self.is_closed).lower(),
            "hs_is_closed_won": str(self.probability == 1.0).lower(),
            "hs_deal_stage_probability": str(self.probability),
        }


STAGES = {
    stage.id: stage
    for stage in (
        Stage("appointmentscheduled", "Prospecting", 0, 0.2, False),
        Stage("qualifiedtobuy", "Engaging", 1, 0.5, False),
        Stage("closedwon", "Won", 2, 1.0, True),
        Stage("closedlost", "Lost", 3, 0.0, True),
    )
}
PROSPECTING, ENGAGING, WON, LOST = STAGES

PRODUCTS = (
    # name, list price, share of deals in thousandths, won of a thousand closed
    ("GTX Basic", 550, 212, 637),
    ("MG Special", 55, 188, 648),
    ("GTX Pro", 4821, 168, 636),
    ("MG Advanced", 3393, 160, 603),
    ("GTX Plus Basic", 1096, 157, 621),
    ("GTX Plus Pro", 5482, 110, 643),
    ("GTK 500", 26768, 5, 600),
)
WON_DAYS = (1, 2, 5, 7, 8, 9, 11, 15, 40, 50, 57, 65, 71, 77, 83, 88, 93, 99, 106, 116, 138)
"""Days from engaging to won, at each twentieth of the deals; the median is 57.

Around the gap between the quick and the slow ones the steps are evened out, so that the median over
both outcomes is about 45, as measured, though the slowest of the newest deals are still open.
"""
LOST_DAYS = (1, 1, 2, 5, 6, 7, 8, 9, 10, 12, 20, 36, 56, 65, 72, 79, 85, 92, 101, 110, 138)
"""The same for lost; most are lost within three weeks."""
SECTORS = (
    *("RETAIL",) * 17,
    *("COMPUTER_SOFTWARE",) * 12,
    *("HOSPITAL_HEALTH_CARE",) * 12,
    *("MARKETING_AND_ADVERTISING",) * 9,
    *("FINANCIAL_SERVICES",) * 8,
    *("TELECOMMUNICATIONS",) * 7,
    *("ENTERTAINMENT",) * 6,
    *("EXECUTIVE_OFFICE",) * 5,
    *("HUMAN_RESOURCES",) * 5,
)
LOST_REASONS = (
    "Price too high",
    "Chose a competitor",
    "No budget",
    "No decision",
    "Missing feature",
    "Bad timing",
)
AGENTS = (
    # first name, last name, team; the last one has left the company
    ("Ada", "Novak", "Central"),
    ("Bruno", "Keller", "Central"),
    ("Clara", "Santos", "Central"),
    ("Dario", "Lindholm", "Central"),
    ("Elif", "Marsh", "East"),
    ("Fabian", "Okafor", "East"),
    ("Greta", "Ilic", "East"),
    ("Hugo", "Tanaka", "West"),
    ("Irma", "Vogel", "West"),
    ("Jonas", "Petit", "West"),
)
OWNER_IDS = tuple(str(71_000_000 + place) for place in range(len(AGENTS)))
PIPELINE = "default"


@dataclass(frozen=True)
class Step:
    """One move of a deal."""

    at: int
    stage: str
    reason: str | None = None

    def values(self) -> dict[str, Any]:
        """The properties this move sets."""
        values: dict[str, Any] = {"dealstage": self.stage}
        if STAGES[self.stage].is_closed:
            values["closedate"] = iso(self.at)
        if self.reason:
            values["closed_lost_reason"] = self.reason
        return values


def plan(key: str, created: int) -> tuple[dict[str, Any], list[Step]]:
    """A new deal's properties and its later moves, some of which lie far in the future.

    One in three is prospected first, up to six weeks, and one in eighteen never engages; one in
    eight that engages never closes.
    """
    name, price, won = _product(key)
    is_won = number(key, "won") % 1000 < won
    is_cold = number(key, "cold") % 18 == 0
    engaged = created + (number(key, "wait") % (42 * DAY_MS) if number(key) % 3 == 0 else 0)
    closed = engaged + _days(WON_DAYS if is_won else LOST_DAYS, key)
    steps = [Step(created, PROSPECTING)] if is_cold or engaged > created else []
    if not is_cold:
        steps.append(Step(engaged, ENGAGING))
    if not is_cold and number(key, "stalls") % 8:
        reason = None if is_won else pick(LOST_REASONS, key, "reason")
        steps.append(Step(closed, WON if is_won else LOST, reason))
    amount = price * (90 + number(key, "discount") % 21) / 100
    values = {
        "dealname": f"{name} {key[-6:]}",
        "pipeline": PIPELINE,
        "amount": f"{amount:.2f}",
        "closedate": iso(created + 60 * DAY_MS),
        "hubspot_owner_id": pick(OWNER_IDS, key, "owner"),
        "dealtype": pick(("newbusiness", "existingbusiness"), key, "type"),
        "data_label": LABEL,
    }
    return values, steps


def _product(key: str) -> tuple[str, int, int]:
    place = number(key, "product") % 1000
    for name, price, share, won in PRODUCTS:
        place -= share
        if place < 0:
            return name, price, won
    raise AssertionError("the shares of the products make a thousand")


def _days(twentieths: tuple[int, ...], key: str) -> int:
    """A length in ms that is distributed like the quantiles, between two of them evenly."""
    place = number(key, "days") % 20_000
    low, high = twentieths[place // 1000], twentieths[place // 1000 + 1]
    return int((low + (high - low) * (place % 1000) / 1000) * DAY_MS)
