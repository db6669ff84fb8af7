"""The Airflow hook of a shop: it only builds the client."""

from __future__ import annotations

from typing import Any

from airflow.sdk import BaseHook

from marketing_ops.connections import Connection
from marketing_ops.errors import MarketingOpsError
from marketing_ops.sources.shopify.client import ShopifyClient


class ShopifyHook(BaseHook):
    """Reads one shop through its Admin GraphQL API.

    Args:
        shopify_conn_id: a connection of type `marketing_ops_shopify`.
        quota_share: the share (0-1) of the shop's query cost that may be used.
    """

    conn_name_attr = "shopify_conn_id"
    default_conn_name = "shopify_default"
    conn_type = "marketing_ops_shopify"
    hook_name = "Marketing Ops: Shopify"

    def __init__(
        self, *, shopify_conn_id: str = default_conn_name, quota_share: float = 0.5, **kwargs: Any
    ) -> None:
        super().__init__(**kwargs)
        self.shopify_conn_id = shopify_conn_id
        self.quota_share = quota_share

    def get_conn(self) -> ShopifyClient:
        """The client of the shop; nothing is called yet."""
        found = self.get_connection(self.shopify_conn_id)
        connection = Connection(
            conn_id=self.shopify_conn_id,
            conn_type=found.conn_type or "",
            host=found.host or "",
            port=found.port,
            schema=found.schema or "",
            login=found.login or "",
            password=found.password or "",
            extra=found.extra_dejson,
        )
        return ShopifyClient(connection, self.quota_share)

    def test_connection(self) -> tuple[bool, str]:
        """Whether the shop answers, and its name or what is wrong."""
        try:
            shop = self.get_conn().query("{shop{name}}")["shop"]
        except MarketingOpsError as error:
            return False, str(error)
        return True, f"reaches the shop {shop['name']}"
