from __future__ import annotations

import socket
import ssl
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from marketing_ops.connections import Connection
from marketing_ops.delivery.channels.message import Mail
from marketing_ops.delivery.channels.smtp import SmtpChannel, _dotted
from marketing_ops.errors import FatalError, RetryableError

MAIL = Mail("shop@example.com", "ann@example.com", b"Subject: x\r\n\r\n.dot\r\nend\r\n")


class Script:
    """A server that answers each command's first word from a table; `DATA.` is the body's end."""

    def __init__(self, answers: dict[str, str], tls: ssl.SSLContext | None = None) -> None:
        self.answers = answers
        self.commands: list[str] = []
        self.body = b""
        self._tls = tls
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        threading.Thread(target=self._serve, daemon=True).start()

    def close(self) -> None:
        self._listener.close()

    def _serve(self) -> None:
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            with connection:
                try:
                    self._session(connection)
                except OSError:
                    continue

    def _session(self, connection: socket.socket) -> None:
        connection.sendall(b"220 ready\r\n")
        file = connection.makefile("rwb")
        while line := file.readline():
            word = line.split()[0].decode().upper()
            self.commands.append(word)
            answer = self.answers.get(word, "250 ok")
            if answer == "drop":
                return
            file.write(answer.encode() + b"\r\n")
            file.flush()
            if word == "STARTTLS" and self._tls is not None:
                self._tls.wrap_socket(connection, server_side=True).unwrap()
                return
            if word == "DATA" and answer.startswith("354"):
                while (piece := file.readline()) != b".\r\n":
                    self.body += piece
                end = self.answers.get("DATA.", "250 taken")
                if end == "drop":
                    return
                file.write(end.encode() + b"\r\n")
                file.flush()


@pytest.fixture
def script() -> Iterator[Any]:
    started: list[Script] = []

    def start(tls: ssl.SSLContext | None = None, /, **answers: str) -> Script:
        table = {"DATA": "354 go"} | {
            name.replace("_", "."): text for name, text in answers.items()
        }
        started.append(Script(table, tls))
        return started[-1]

    yield start
    for server in started:
        server.close()


def _channel(server: Script, **extra: Any) -> SmtpChannel:
    extra = {"timeout": 2, "security": "none"} | extra
    return SmtpChannel(Connection("smtp", host="127.0.0.1", port=server.port, extra=extra))


@pytest.mark.parametrize(
    ("answers", "expected"),
    [
        ({}, ("accepted", "", False)),
        ({"RCPT": "550 5.1.1 no ann@example.com"}, ("rejected", "550 5.1.1", True)),
        ({"RCPT": "550 5.1.10 null mx"}, ("rejected", "550 5.1.10", True)),
        ({"RCPT": "550 5.1.8 your domain"}, ("rejected", "550 5.1.8", False)),
        ({"RCPT": "554 5.7.1 policy"}, ("rejected", "554 5.7.1", False)),
        ({"RCPT": "550 no code"}, ("rejected", "550", False)),
        ({"RCPT": "452 4.2.2 full"}, ("retry", "452 4.2.2", False)),
        ({"RCPT": "421 4.3.2 closing"}, ("retry", "421 4.3.2", False)),
        ({"RCPT": "drop"}, ("retry", "connection lost before DATA", False)),
        ({"DATA": "451 4.3.0 busy"}, ("retry", "451 4.3.0", False)),
        ({"DATA": "drop"}, ("retry", "connection lost before DATA", False)),
        ({"DATA_": "552 5.3.4 too big"}, ("rejected", "552 5.3.4", False)),
        ({"DATA_": "550 5.1.1 late"}, ("rejected", "550 5.1.1", False)),
        ({"DATA_": "451 4.7.1 greylisted"}, ("retry", "451 4.7.1", False)),
        ({"DATA_": "drop"}, ("unknown", "connection lost after DATA", False)),
        ({"DATA_": "what?"}, ("unknown", "answer -1 after DATA", False)),
    ],
)
def test_answers_become_outcomes(
    script: Any, answers: dict[str, str], expected: tuple[str, str, bool]
) -> None:
    """Each answer at each moment has one meaning; the server's text is never kept."""
    outcome = _channel(script(**answers)).send(MAIL)
    assert (outcome.status, outcome.reason, outcome.is_hard_bounce) == expected


def test_body_arrives_with_its_dots(script: Any) -> None:
    """Lines that start with a dot are doubled on the wire, so none ends the mail early."""
    server = script()
    assert _channel(server).send(MAIL).status == "accepted"
    assert server.body == b"Subject: x\r\n\r\n..dot\r\nend\r\n"
    assert _dotted(b"no newline") == b"no newline\r\n.\r\n"


def test_connection_is_kept_and_a_stale_one_replaced(script: Any) -> None:
    """One greeting for many mails; a server that hung up meanwhile is called again."""
    server = script()
    channel = _channel(server)
    assert [channel.send(MAIL).status for _ in range(2)] == ["accepted"] * 2
    assert server.commands.count("EHLO") == 1
    assert channel._smtp is not None and channel._smtp.sock is not None
    channel._smtp.sock.shutdown(socket.SHUT_RDWR)
    assert channel.send(MAIL).status == "accepted"
    assert server.commands.count("EHLO") == 2
    channel.close()


@pytest.mark.parametrize(
    ("answers", "error", "sentence"),
    [
        ({"MAIL": "550 5.1.8 no"}, FatalError, r"refuses the sender \(550\)"),
        ({"MAIL": "530 5.7.0 log in"}, FatalError, "asks for a log-in"),
        ({"RCPT": "530 5.7.0 log in"}, FatalError, "asks for a log-in"),
        ({"MAIL": "451 4.3.2 later"}, RetryableError, r"takes no mail now \(451\)"),
        ({"MAIL": "drop"}, RetryableError, "closes the connection before any mail"),
        ({"EHLO": "drop"}, RetryableError, "cannot be reached"),
    ],
)
def test_what_concerns_the_account_is_raised(
    script: Any, answers: dict[str, str], error: type[Exception], sentence: str
) -> None:
    """Trouble with the account, not the recipient, stops the run and names the account."""
    with pytest.raises(error, match=f"connection `smtp` {sentence}"):
        _channel(script(**answers)).send(MAIL)


def test_server_that_stays_silent_after_the_body_is_unknown(
    script: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A time-out after the body is no refusal."""
    from marketing_ops.delivery.channels import smtp

    monkeypatch.setattr(smtp, "_DATA_TIMEOUT_SECONDS", 0.2)
    server = script(DATA_="250-one moment")
    assert _channel(server, timeout=0.2).send(MAIL).status == "unknown"


def test_server_without_starttls_is_refused(script: Any) -> None:
    """Asked for encryption, we never fall back to plain text."""
    with pytest.raises(FatalError, match="offers no STARTTLS"):
        _channel(script(), security="starttls").send(MAIL)


def _own_certificate(folder: Path) -> Path:
    """A key and a certificate that vouches for itself, in one file."""
    from datetime import UTC, datetime, timedelta

    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "127.0.0.1")])
    now = datetime.now(UTC)
    builder = x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
    signed = (
        builder.not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .sign(key, hashes.SHA256())
    )
    plain = serialization.NoEncryption()
    pkcs8 = serialization.PrivateFormat.PKCS8
    path = folder / "server.pem"
    path.write_bytes(
        key.private_bytes(serialization.Encoding.PEM, pkcs8, plain)
        + signed.public_bytes(serialization.Encoding.PEM)
    )
    return path


def test_untrusted_certificate_is_refused(script: Any, tmp_path: Path) -> None:
    """A certificate nobody vouches for ends the run before log-in."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(_own_certificate(tmp_path))
    server = script(context, EHLO="250-hello\r\n250 STARTTLS", STARTTLS="220 go")
    with pytest.raises(FatalError, match="certificate that is not trusted"):
        _channel(server, security="starttls").send(MAIL)
    assert "AUTH" not in server.commands and "MAIL" not in server.commands


@pytest.mark.parametrize(
    ("connection", "sentence"),
    [
        (Connection("smtp"), "names no server"),
        (Connection("smtp", host="x", extra={"security": "maybe"}), "none, starttls or ssl"),
    ],
)
def test_wrong_connection_is_one_sentence(connection: Connection, sentence: str) -> None:
    """What is wrong with the connection, before anything is called."""
    with pytest.raises(FatalError, match=sentence):
        SmtpChannel(connection)
