"""Shopify Admin GraphQL API 2026-10: client, streams, pages and bulk files."""
