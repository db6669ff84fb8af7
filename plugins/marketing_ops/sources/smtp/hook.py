"""The Airflow hook of an SMTP account: it only proves that the server answers."""

from __future__ import annotations

import smtplib
from typing import Any

from airflow.sdk import BaseHook


class SmtpAccountHook(BaseHook):
    """One SMTP account that delivery sends through.

    Args:
        smtp_conn_id: a connection of type `marketing_ops_smtp`.
    """

    conn_name_attr = "smtp_conn_id"
    default_conn_name = "smtp_default"
    conn_type = "marketing_ops_smtp"
    hook_name = "Marketing Ops: SMTP"

    def __init__(self, *, smtp_conn_id: str = default_conn_name, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.smtp_conn_id = smtp_conn_id

    def get_conn(self) -> smtplib.SMTP:
        """A connected session, logged in where the account has a user; the caller quits it."""
        account = self.get_connection(self.smtp_conn_id)
        extra = account.extra_dejson
        security, timeout = extra.get("security", "starttls"), float(extra.get("timeout") or 30)
        kind = smtplib.SMTP_SSL if security == "ssl" else smtplib.SMTP
        session = kind(account.host or "", account.port or 0, timeout=timeout)
        if security == "starttls":
            session.starttls()
        if account.login:
            session.login(account.login, account.password or "")
        return session

    def test_connection(self) -> tuple[bool, str]:
        """Whether the server takes the login, and what is wrong if not."""
        try:
            self.get_conn().quit()
        except (OSError, smtplib.SMTPException) as error:
            return False, f"the server is not usable: {type(error).__name__}"
        return True, "the server answers"
