"""Airflow's hooks for our connection types: the form's owner, and the engines' view of it."""

from __future__ import annotations

from typing import Any

from airflow.sdk import BaseHook

from marketing_ops.connections import Connection
from marketing_ops.operators.connections import from_airflow


class AccountHook(BaseHook):
    """One account of a vendor system.

    Args:
        conn_id: an Airflow connection id.
    """

    conn_name_attr = "conn_id"
    conn_type = "marketing_ops"
    hook_name = "Marketing Ops account"

    def __init__(self, *, conn_id: str, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.conn_id = conn_id

    def get_conn(self) -> Connection:
        """The connection in the form that the engines take.

        Raises:
            FatalError: there is no such connection.
        """
        return from_airflow(self.conn_id)


class ShopifyHook(AccountHook):
    """One Shopify shop."""

    conn_type = "shopify"
    hook_name = "Shopify"
    default_conn_name = "shopify_default"


class ReceiverHook(AccountHook):
    """The key that signs the links in our mails."""

    conn_type = "marketing_ops_receiver"
    hook_name = "Marketing Ops receiver"
    default_conn_name = "marketing_ops_receiver"
