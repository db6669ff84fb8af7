"""The Airflow hook of the one connection that is no vendor's."""

from __future__ import annotations

from typing import Any

from airflow.sdk import BaseHook

from marketing_ops.connections import Connection
from marketing_ops.operators.connections import from_airflow

_SHORTEST_KEY = 32


class ReceiverHook(BaseHook):
    """The key that signs the links in our mails.

    Args:
        receiver_conn_id: a connection of type `marketing_ops_receiver`.
    """

    conn_name_attr = "receiver_conn_id"
    default_conn_name = "marketing_ops_receiver"
    conn_type = "marketing_ops_receiver"
    hook_name = "Marketing Ops: receiver"

    def __init__(self, *, receiver_conn_id: str = default_conn_name, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.receiver_conn_id = receiver_conn_id

    def get_conn(self) -> Connection:
        """The connection in the form that the engines take.

        Raises:
            FatalError: there is no such connection.
        """
        return from_airflow(self.receiver_conn_id)

    def test_connection(self) -> tuple[bool, str]:
        """Whether the key is long enough to sign with."""
        if len(self.get_conn().password) < _SHORTEST_KEY:
            return False, f"the key is shorter than {_SHORTEST_KEY} characters: make a longer one"
        return True, "the key is long enough"
