"""HubSpot, simulated: the CRM, lists, consents, e-mail activity, limits and webhooks."""

KEPT = ("companies", "contacts", "deals", "tasks", "notes", "calls", "emails", "meetings")
"""The kinds of objects, by their names in paths. Of two linked ones the later holds the link."""
PORTAL = 44_150_726
