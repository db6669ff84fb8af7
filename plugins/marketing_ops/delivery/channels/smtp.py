"""One SMTP account: a connection kept open, and each mail's outcome told apart exactly.

The border is DATA's body. Before it the server has nothing, so the mail can be tried again; once
the body is on its way only the server's answer tells, and no answer means `unknown`.
"""

from __future__ import annotations

import contextlib
import ipaddress
import re
import smtplib
import ssl
from dataclasses import dataclass
from typing import Literal

from marketing_ops.connections import Connection
from marketing_ops.delivery.channels.message import Mail
from marketing_ops.errors import FatalError, RetryableError

_PORTS = {"none": 25, "starttls": 587, "ssl": 465}
_AUTH_CODES = (530, 534, 535, 538)
_CLOSING = 421

# 5.1.x says the recipient's address is wrong, except where it means the sender's (RFC 3463).
_HARD_BOUNCE = re.compile(r"5\.1\.(?![78]\b)\d+")
_DATA_TIMEOUT_SECONDS = 120.0

_BROKEN = (smtplib.SMTPServerDisconnected, OSError)


@dataclass(frozen=True)
class Outcome:
    """What became of one mail.

    Attributes:
        status: accepted; rejected (for good); unknown (the server may have it); retry (it has not).
        reason: the server's code or what broke; never the server's text, which quotes addresses.
        is_hard_bounce: the server says that this mailbox does not exist.
    """

    status: Literal["accepted", "rejected", "unknown", "retry"]
    reason: str = ""
    is_hard_bounce: bool = False


class SmtpChannel:
    """An SMTP account; connects with the first mail.

    Extras of the connection: `security` (`none`, `starttls`, `ssl`; default `starttls`, on a
    loopback host `none`) and `timeout` in seconds (default 30).
    """

    def __init__(self, connection: Connection) -> None:
        self._account = connection
        if not connection.host:
            raise FatalError(f"connection `{connection.conn_id}` names no server: set its host")
        default = "none" if _is_loopback(connection.host) else "starttls"
        security = str(connection.extra.get("security") or default).lower()
        self._security = {"tls": "ssl"}.get(security, security)
        if self._security not in _PORTS:
            raise FatalError(
                f"connection `{connection.conn_id}`: security is none, starttls or ssl"
            )
        self._timeout = float(connection.extra.get("timeout") or 30)
        self._smtp: smtplib.SMTP | None = None

    def send(self, mail: Mail) -> Outcome:
        """Hand one mail over.

        Raises:
            RetryableError: the server cannot be reached or takes no mail now; this mail was not
                handed over.
            FatalError: log-in or sender is refused, or its certificate is not trusted; this mail
                was not handed over.
        """
        smtp = self._begin(mail.sender)
        try:
            code, text = smtp.rcpt(mail.recipient)
            if code not in (250, 251):
                return self._refused(code, text)
            code, text = smtp.docmd("DATA")
            if code != 354:
                return self._refused(code, text)
        except _BROKEN:
            self._drop()
            return Outcome("retry", "connection lost before DATA")
        try:
            if smtp.sock is not None:
                smtp.sock.settimeout(max(self._timeout, _DATA_TIMEOUT_SECONDS))
            smtp.send(_dotted(mail.data))
            code, text = smtp.getreply()
            if smtp.sock is not None:
                smtp.sock.settimeout(self._timeout)
        except (*_BROKEN, smtplib.SMTPException):
            self._drop()
            return Outcome("unknown", "connection lost after DATA")
        if 200 <= code < 300:
            return Outcome("accepted")
        if code < 400:
            self._drop()
            return Outcome("unknown", f"answer {code} after DATA")
        return self._refused(code, text, is_after_data=True)

    def greet(self) -> str:
        """How the server was reached and logged in to, without a mail.

        Raises:
            RetryableError, FatalError: as `send` does before it hands a mail over.
        """
        smtp = self._smtp or self._connect()
        secured = "without encryption" if self._security == "none" else f"over {self._security}"
        login = "logged in" if self._account.login else "without a log-in"
        size = smtp.esmtp_features.get("size", "")
        limit = f", mails up to {int(size) >> 20} MiB" if size.isdigit() and int(size) else ""
        return f"answers {secured}, {login}{limit}"

    def close(self) -> None:
        """Say goodbye; errors do not matter any more."""
        if self._smtp is not None:
            with contextlib.suppress(*_BROKEN, smtplib.SMTPException):
                self._smtp.quit()
            self._drop()

    def _begin(self, sender: str) -> smtplib.SMTP:
        """A connection on which MAIL FROM was taken; a stale one is replaced once."""
        was_open = self._smtp is not None
        smtp = self._smtp or self._connect()
        try:
            code, _ = smtp.mail(sender)
        except _BROKEN as error:
            self._drop()
            if was_open:
                return self._begin(sender)
            raise RetryableError(self._says("closes the connection before any mail")) from error
        if code == 250:
            return smtp
        self._drop()
        if code == _CLOSING and was_open:
            return self._begin(sender)  # it closes idle or long connections; a fresh one may go on
        if code in _AUTH_CODES:
            raise FatalError(self._says(f"asks for a log-in ({code}): set login and password"))
        if code >= 500:
            raise FatalError(
                self._says(
                    f"refuses the sender ({code}): check the brand's `sender` in settings.yaml"
                )
            )
        raise RetryableError(self._says(f"takes no mail now ({code})"))

    def _refused(self, code: int, text: bytes, *, is_after_data: bool = False) -> Outcome:
        found = re.match(rb"\s*([245]\.\d{1,3}\.\d{1,3})\b", text)
        reason = f"{code} {found.group(1).decode()}" if found else str(code)
        smtp = self._smtp
        if code == _CLOSING or code < 0 or smtp is None:
            self._drop()
        else:
            try:
                smtp.rset()
            except _BROKEN:
                self._drop()
        if code in _AUTH_CODES:
            self._drop()
            raise FatalError(self._says(f"asks for a log-in ({code}): set login and password"))
        if code >= 500:
            is_hard = not is_after_data and _HARD_BOUNCE.search(reason) is not None
            return Outcome("rejected", reason, is_hard)
        return Outcome("retry", reason)

    def _connect(self) -> smtplib.SMTP:
        host, account = self._account.host, self._account
        port = account.port or _PORTS[self._security]
        context = ssl.create_default_context() if self._security != "none" else None
        try:
            if self._security == "ssl":
                self._smtp = smtplib.SMTP_SSL(host, port, timeout=self._timeout, context=context)
            else:
                self._smtp = smtplib.SMTP(host, port, timeout=self._timeout)
            self._smtp.ehlo_or_helo_if_needed()
            if self._security == "starttls":
                self._smtp.starttls(context=context)
            if account.login:
                self._smtp.login(account.login, account.password)
        except ssl.SSLCertVerificationError as error:
            self._drop()
            raise FatalError(self._says("has a certificate that is not trusted")) from error
        except smtplib.SMTPAuthenticationError as error:
            self._drop()
            sentence = f"refuses the log-in ({error.smtp_code}): check its login and password"
            if error.smtp_code >= 500:
                raise FatalError(self._says(sentence)) from None
            raise RetryableError(self._says(sentence)) from None
        except smtplib.SMTPNotSupportedError as error:
            self._drop()
            sentence = "offers no STARTTLS or no log-in: check the connection's security and login"
            raise FatalError(self._says(sentence)) from error
        except (*_BROKEN, smtplib.SMTPException) as error:
            self._drop()
            raise RetryableError(
                self._says("cannot be reached: check its host and port, and that the server runs")
            ) from error
        return self._smtp

    def _says(self, what: str) -> str:
        return f"the SMTP server of connection `{self._account.conn_id}` {what}"

    def _drop(self) -> None:
        if self._smtp is not None:
            self._smtp.close()
        self._smtp = None


def _dotted(data: bytes) -> bytes:
    """The body as DATA carries it: lines that start with a dot get a second one (RFC 5321)."""
    doubled = re.sub(rb"(?m)^\.", b"..", data)
    return doubled + (b".\r\n" if doubled.endswith(b"\r\n") else b"\r\n.\r\n")


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
