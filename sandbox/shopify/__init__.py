"""Shopify's GraphQL Admin API 2026-10, as far as we use it."""

API_VERSION = "2026-10"
