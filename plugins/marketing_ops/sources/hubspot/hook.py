"""The Airflow hook of a HubSpot account: it only builds the client."""

from __future__ import annotations

from typing import Any

from airflow.sdk import BaseHook

from marketing_ops.connections import Connection
from marketing_ops.errors import MarketingOpsError
from marketing_ops.sources.hubspot.client import HubSpotClient


class HubSpotHook(BaseHook):
    """Reads and writes one HubSpot account through its API.

    Args:
        hubspot_conn_id: a connection of type `marketing_ops_hubspot`.
        quota_share: the share (0-1) of the account's limits that may be used.
    """

    conn_name_attr = "hubspot_conn_id"
    default_conn_name = "hubspot_default"
    conn_type = "marketing_ops_hubspot"
    hook_name = "Marketing Ops: HubSpot"

    def __init__(
        self, *, hubspot_conn_id: str = default_conn_name, quota_share: float = 0.5, **kwargs: Any
    ) -> None:
        super().__init__(**kwargs)
        self.hubspot_conn_id = hubspot_conn_id
        self.quota_share = quota_share

    def get_conn(self) -> HubSpotClient:
        """The client of the account; nothing is called yet."""
        found = self.get_connection(self.hubspot_conn_id)
        connection = Connection(
            conn_id=self.hubspot_conn_id,
            conn_type=found.conn_type or "",
            host=found.host or "",
            port=found.port,
            schema=found.schema or "",
            login=found.login or "",
            password=found.password or "",
            extra=found.extra_dejson,
        )
        return HubSpotClient(connection, self.quota_share)

    def test_connection(self) -> tuple[bool, str]:
        """Whether the account answers, and its number or what is wrong."""
        try:
            details = self.get_conn().details()
        except MarketingOpsError as error:
            return False, str(error)
        return True, f"reaches the account {details.portal_id}"
