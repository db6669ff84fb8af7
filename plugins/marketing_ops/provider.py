"""The connection types with their forms: Airflow reads them through an entry point at start.

Imported by every Airflow process before its configuration is complete: nothing here may import
Airflow, and nothing may fail.
"""

from __future__ import annotations

from typing import Any

from marketing_ops import __version__

_HOOKS = "marketing_ops.operators.hooks"


def get_provider_info() -> dict[str, Any]:
    """What `apache_airflow_provider` entry points return."""
    return {
        "package-name": "marketing-ops",
        "name": "Marketing Ops",
        "description": "Marketing automation as code on Apache Airflow.",
        "versions": [__version__],
        "connection-types": [_shopify(), _receiver()],
    }


def _shopify() -> dict[str, Any]:
    return {
        "connection-type": "shopify",
        "hook-class-name": f"{_HOOKS}.ShopifyHook",
        "hook-name": "Shopify",
        "ui-field-behaviour": {
            "hidden-fields": ["port", "schema"],
            "relabeling": {
                "host": "Shop",
                "login": "Client id (empty with an access token)",
                "password": "Access token, or client secret",
            },
            "placeholders": {"host": "your-shop.myshopify.com"},
        },
    }


def _receiver() -> dict[str, Any]:
    return {
        "connection-type": "marketing_ops_receiver",
        "hook-class-name": f"{_HOOKS}.ReceiverHook",
        "hook-name": "Marketing Ops receiver",
        "ui-field-behaviour": {
            "hidden-fields": ["host", "port", "schema", "login"],
            "relabeling": {"password": "Key that signs links (32 random characters or more)"},
            "placeholders": {},
        },
    }
