"""Unify: raw rows become contacts, consents, orders, carts and events, one numbered batch a time."""
