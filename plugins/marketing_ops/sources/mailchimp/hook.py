"""The Airflow hook of a Mailchimp account: it only builds the client."""

from __future__ import annotations

from typing import Any

from airflow.sdk import BaseHook

from marketing_ops.connections import Connection
from marketing_ops.errors import MarketingOpsError
from marketing_ops.sources.mailchimp.client import MailchimpClient


class MailchimpHook(BaseHook):
    """Reads and writes one Mailchimp account through its Marketing API.

    Args:
        mailchimp_conn_id: a connection of type `marketing_ops_mailchimp`.
        quota_share: the share (0-1) of the account's ten connections that may be used.
    """

    conn_name_attr = "mailchimp_conn_id"
    default_conn_name = "mailchimp_default"
    conn_type = "marketing_ops_mailchimp"
    hook_name = "Marketing Ops: Mailchimp"

    def __init__(
        self, *, mailchimp_conn_id: str = default_conn_name, quota_share: float = 0.5, **kwargs: Any
    ) -> None:
        super().__init__(**kwargs)
        self.mailchimp_conn_id = mailchimp_conn_id
        self.quota_share = quota_share

    def get_conn(self) -> MailchimpClient:
        """The client of the account; nothing is called yet."""
        found = self.get_connection(self.mailchimp_conn_id)
        connection = Connection(
            conn_id=self.mailchimp_conn_id,
            conn_type=found.conn_type or "",
            host=found.host or "",
            port=found.port,
            schema=found.schema or "",
            login=found.login or "",
            password=found.password or "",
            extra=found.extra_dejson,
        )
        return MailchimpClient(connection, self.quota_share)

    def test_connection(self) -> tuple[bool, str]:
        """Whether the account answers, or what is wrong."""
        try:
            self.get_conn().get("/ping")
        except MarketingOpsError as error:
            return False, str(error)
        return True, "reaches the account"
