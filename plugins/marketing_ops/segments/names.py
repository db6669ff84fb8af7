"""The words a segment may use: columns of contacts, event types, fields of events."""

from __future__ import annotations

from typing import Literal

Kind = Literal["text", "number", "date", "instant", "json"]

COLUMNS: dict[str, Kind] = {
    "country": "text",
    "region": "text",
    "city": "text",
    "postal_code": "text",
    "language": "text",
    "time_zone": "text",
    "lifecycle": "text",
    "birth_date": "date",
    "created_at": "instant",
    "email": "text",
    "phone": "text",
    "first_name": "text",
    "last_name": "text",
}
"""Columns of `mkt_core.contacts` that a rule may test, and what they hold."""

WITHOUT_HISTORY = frozenset({"created_at", "email", "phone", "first_name", "last_name"})
"""Columns `mkt_core.contact_history` does not keep: their present value holds at any instant."""

EVENT_TYPES: dict[str, str] = {
    "order_placed": "an order was placed",
    "order_cancelled": "an order was cancelled",
    "order_refunded": "an order was refunded, wholly or in part",
    "cart_updated": "something changed in a cart that is not paid yet",
    "subscribed": "consent to marketing was given",
    "unsubscribed": "consent to marketing was withdrawn",
    "email_sent": "a mail, of ours or of a vendor's campaign, was accepted for delivery",
    "email_delivered": "a vendor's mail reached its mailbox",
    "email_opened": "a mail was opened by a person",
    "email_clicked": "a link in a mail was clicked",
    "email_bounced": "a vendor's mail came back",
    "complained": "a vendor's mail was called spam",
    "list_joined": "came onto a vendor's list; key: its id",
    "list_left": "left a vendor's list; key: its id",
    "deal_created": "a deal with them as its primary contact was opened",
    "deal_stage_changed": "such a deal entered a stage; key: the stage's id",
    "deal_won": "such a deal was won",
    "deal_lost": "such a deal was lost",
}
"""Event types that unify writes, and what each says."""

ORDER_EVENTS = frozenset({"order_placed", "order_cancelled", "order_refunded"})
"""Events with an `order_id`, so that the categories of what was ordered are known."""

EVENT_FIELDS: dict[str, Kind] = {
    "key": "text",
    "amount": "number",
    "currency": "text",
    "campaign": "text",
    "product_category": "text",
}
"""What `where` of an event rule may test, beside `properties.<key>`."""

SUMMABLE = ("amount",)
"""Numeric fields for sum, min, max and avg, beside `properties.<key>`."""

DISTINCT_FIELDS = ("key", "currency", "campaign")
"""Fields for `aggregate: distinct`, beside `properties.<key>`."""

LATER_RULES = frozenset({"sequence", "metric", "deal", "product", "campaign", "list"})
"""Rules of the grammar that this version does not evaluate yet."""
