"""Unify: raw rows become contacts, consents, orders, carts and events, batch by batch."""
