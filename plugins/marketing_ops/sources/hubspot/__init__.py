"""HubSpot: CRM objects, lists, consents and e-mail events."""
