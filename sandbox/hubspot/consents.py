"""What people said about e-mail, by address and subscription type."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sandbox.hashing import number
from sandbox.hubspot.values import iso
from sandbox.records import Row

if TYPE_CHECKING:
    from sandbox.hubspot.crm import Crm

SUBSCRIPTIONS = {
    501: ("Newsletter", "Offers and recipes", "Marketing"),
    502: ("Product news", "New products and events", "Marketing"),
}
STATES = ("SUBSCRIBED", "UNSUBSCRIBED", "NOT_SPECIFIED")
BASES = (
    "LEGITIMATE_INTEREST_PQL",
    "LEGITIMATE_INTEREST_CLIENT",
    "LEGITIMATE_INTEREST_OTHER",
    "PERFORMANCE_OF_CONTRACT",
    "CONSENT_WITH_NOTICE",
    "NON_GDPR",
    "PROCESS_AND_STORE",
)


def first_status(email: str, subscription: int) -> str | None:
    """What somebody said when the CRM first met them; None: nothing."""
    place = number("consent", email, subscription) % 100
    said = 70 if subscription == 501 else 25
    if place < said:
        return "SUBSCRIBED"
    return "UNSUBSCRIBED" if place < said + 8 else None


def row(
    email: str,
    subscription: int,
    status: str,
    at: int,
    *,
    source: str,
    basis: str | None = "CONSENT_WITH_NOTICE",
    explanation: str | None = None,
) -> Row:
    """A new status of an address."""
    document = {
        "email": email.lower(),
        "subscription": subscription,
        "status": status,
        "source": source,
        "basis": basis,
        "explanation": explanation or ("Derived" if basis else None),
        "at": at,
    }
    return "consent", f"{email.lower()}|{subscription}", at, document


def say(
    crm: Crm,
    email: str,
    subscription: int,
    status: str,
    at: int,
    *,
    source: str = "API",
    basis: str | None = None,
    explanation: str | None = None,
    contact: str | None = None,
) -> None:
    """Set a status; the contact shows it as `hs_email_optout_...`, and was modified thereby."""
    one = row(email, subscription, status, at, source=source, basis=basis, explanation=explanation)
    crm.records.put_many([one])
    if contact is None:
        found = crm.view("contacts", at).email(email)
        contact = found.key if found else None
    if contact is not None:
        states = {shown(crm, email, key, at)["status"] for key in SUBSCRIPTIONS}
        values: dict[str, Any] = {
            f"hs_email_optout_{subscription}": status == "UNSUBSCRIBED",
            "hs_email_optout": states == {"UNSUBSCRIBED"},
        }
        crm.learn("contacts", values)
        crm.change("contacts", contact, values, at)


def shown(crm: Crm, email: str, subscription: int, now: int) -> dict[str, Any]:
    """A status as the API writes it; somebody who said nothing is NOT_SPECIFIED."""
    one = crm.records.get("consent", f"{email.lower()}|{subscription}", now)
    said = one.document if one else {"status": "NOT_SPECIFIED", "source": "", "at": 0}
    return {
        "subscriberIdString": email,
        "channel": "EMAIL",
        "subscriptionId": subscription,
        "subscriptionName": SUBSCRIPTIONS[subscription][0],
        "status": said["status"],
        "source": said["source"],
        "legalBasis": said.get("basis"),
        "legalBasisExplanation": said.get("explanation"),
        "timestamp": iso(said["at"]),
    }
