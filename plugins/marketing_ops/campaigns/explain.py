"""Why things happened to a contact, or did not: the log in words."""

from __future__ import annotations

from marketing_ops import sqlfile
from marketing_ops.warehouse import Warehouse, translated_errors

_SKIPPED = {
    "late": "it was overdue by more than guards.late allows",
    "cap": "the brand's cap was used up",
    "give_up": "quiet hours, the cap or old data held it longer than give_up allows",
    "no_consent": "there is no consent to mail from this brand",
    "no_address": "there is no address",
    "contact_deleted": "the contact was deleted",
    "sending_off": "the account's sending mode is off",
    "not_allowed": "the address is not on the account's allow list",
    "unsubscribed": "the contact unsubscribed",
    "hard_bounce": "the address bounced",
    "complaint": "the contact complained",
}
_HELD = {
    "quiet": "it is night where the contact lives",
    "cap": "the brand's cap leaves no place yet",
    "stale": "orders and consents are older than guards.fresh allows",
}


def contact(warehouse: Warehouse, contact_id: int) -> list[str]:
    """One line per movement of the contact through any campaign, oldest first.

    Empty for somebody who never entered one. Lines hold ids and names of steps, no address.
    """
    with translated_errors():
        rows = sqlfile.execute(
            warehouse, "engage/explain_contact", {"contact_id": contact_id}
        ).fetchall()
    return [f"{row[0]:%Y-%m-%d %H:%M} {row[1]} v{row[2]}: {_words(*row[3:])}" for row in rows]


def _words(
    reason: str,
    from_step: str | None,
    to_step: str | None,
    ref: str | None,
    send_status: str | None,
) -> str:
    kind, _, detail = reason.partition(":")
    where = f", now at `{to_step}`" if to_step else ", at the end"
    if kind == "entered":
        return f"entered by {ref}{where}"
    if kind == "holdout":
        return f"entered by {ref} as holdout: gets nothing, is only measured"
    if kind == "claimed":
        return f"send `{from_step}` decided (send {ref}, {send_status}){where}"
    if kind == "skipped":
        return f"send `{from_step}` skipped: {_SKIPPED.get(detail, detail)}{where}"
    if kind == "held":
        return f"send `{from_step}` held: {_HELD.get(detail, detail)}"
    if kind == "exit":
        by = f" (event {ref})" if ref else ""
        return f"left at `{from_step}`: {detail}{by}"
    if kind == "goal":
        return f"reached the goal (event {ref})"
    if kind == "waited":
        return f"the wait `{from_step}` was over{where}"
    return f"{reason} at `{from_step}`{where}"
