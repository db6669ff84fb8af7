"""The alert mail, through the connection `marketing_ops_alerts`."""

from __future__ import annotations

import logging
import smtplib
from email.message import EmailMessage
from typing import TYPE_CHECKING

from marketing_ops.errors import FatalError

if TYPE_CHECKING:
    from marketing_ops.connections import Connection

log = logging.getLogger("marketing_ops.notifiers.mail")

CONNECTION = "marketing_ops_alerts"
_TIMEOUT_SECONDS = 10


def send(subject: str, text: str) -> bool:
    """Mail an alert; False when no such connection exists or the mail could not be handed over.

    The connection: host, port, login, password; its extra names `to` (addresses, separated by
    commas), `from`, and `security`: starttls (default), tls or none.
    """
    from marketing_ops.operators.connections import from_airflow

    try:
        connection = from_airflow(CONNECTION)
    except FatalError:
        log.info("no connection %s: the notice stands in this log only", CONNECTION)
        return False
    try:
        _hand_over(connection, subject, text)
    except (OSError, smtplib.SMTPException, FatalError) as error:
        log.error("the alert could not be mailed: %s", type(error).__name__)
        return False
    log.info("on-call was mailed")
    return True


def _hand_over(connection: Connection, subject: str, text: str) -> None:
    extra = connection.extra
    if not extra.get("to"):
        raise FatalError(f"connection `{CONNECTION}` names nobody in its extra `to`")
    message = EmailMessage()
    message["Subject"] = subject
    message["From"] = str(extra.get("from") or connection.login or "marketing_ops@localhost")
    message["To"] = str(extra["to"])
    message.set_content(text)
    security = str(extra.get("security") or "starttls")
    client = smtplib.SMTP_SSL if security == "tls" else smtplib.SMTP
    port = connection.port or {"tls": 465, "starttls": 587}.get(security, 25)
    with client(connection.host, port, timeout=_TIMEOUT_SECONDS) as server:
        if security == "starttls":
            server.starttls()
        if connection.login:
            server.login(connection.login, connection.password)
        server.send_message(message)
