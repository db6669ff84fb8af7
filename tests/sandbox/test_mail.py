from __future__ import annotations

import smtplib
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from starlette.applications import Starlette
from starlette.testclient import TestClient

from marketing_ops.errors import FatalError
from sandbox.mail import MailSandbox

RAW = (
    "From: Shop <shop@example.com>\r\nTo: {to}\r\nSubject: =?utf-8?q?Gr=C3=BC=C3=9Fe?=\r\n"
    "Message-ID: <{number}@example.com>\r\nX-Marketing-Ops-Send: {number}\r\n"
    "X-Marketing-Ops-Campaign: rescue/mail\r\nMIME-Version: 1.0\r\n"
    'Content-Type: text/html; charset="utf-8"\r\n\r\n<p>Hello <script>alert(1)</script></p>\r\n'
)


@pytest.fixture
def mailbox(tmp_path: Path) -> Iterator[MailSandbox]:
    server = MailSandbox(tmp_path)
    server.start(0)
    yield server
    server.stop()


@pytest.fixture
def client(mailbox: MailSandbox) -> TestClient:
    return TestClient(Starlette(routes=mailbox.routes()))


def _post(mailbox: MailSandbox, number: int = 1, to: str = "ann@example.com") -> None:
    with smtplib.SMTP("127.0.0.1", mailbox.state()["smtp_port"]) as smtp:
        smtp.sendmail("shop@example.com", [to], RAW.format(number=number, to=to).encode())


def test_mail_is_listed_and_readable(mailbox: MailSandbox, client: TestClient) -> None:
    """The list shows time, recipient, decoded subject and campaign; the mail its parts."""
    assert "No mail yet" in client.get("/mail/").text
    _post(mailbox)
    page = client.get("/mail/").text
    assert "Grüße" in page and "ann@example.com" in page and "rescue/mail" in page
    one = client.get("/mail/1").text
    assert 'sandbox="allow-popups' in one and "Message-ID" in one
    assert client.get("/mail/2").status_code == 404


def test_mail_is_shown_without_scripts_and_pictures(
    mailbox: MailSandbox, client: TestClient
) -> None:
    """Looking at a mail runs nothing and loads no pixel, so it is not counted as an open."""
    _post(mailbox)
    policy = client.get("/mail/1/html").headers["content-security-policy"]
    assert "default-src 'none'" in policy and "img-src data:;" in policy
    assert "sandbox" in policy and "allow-scripts" not in policy
    assert (
        "img-src * data:" in client.get("/mail/1/html?images=1").headers["content-security-policy"]
    )
    assert "<script>alert" not in client.get("/mail/1").text


def test_mailbox_pages_and_searches(mailbox: MailSandbox, client: TestClient) -> None:
    """Fifty a page, newest first; a search finds part of an address, signs taken literally."""
    for number in range(51):
        _post(mailbox, number, f"reader_{number}@example.com")
    first, second = client.get("/mail/").text, client.get("/mail/?page=2").text
    assert "reader_50@" in first and "reader_0@" not in first
    assert "reader_0@" in second and "Page 2 of 2" in second
    found = client.get("/mail/api", params={"to": "READER_7@"}).json()
    assert [mail["rcpt"] for mail in found["mails"]] == ["reader_7@example.com"]
    assert client.get("/mail/api", params={"to": "reader%7"}).json()["total"] == 0
    assert "No mail to an address" in client.get("/mail/?to=nobody").text


def test_api_gives_the_parts(mailbox: MailSandbox, client: TestClient) -> None:
    """JSON for tests and scripts: headers, HTML, text, send id."""
    _post(mailbox, 12)
    mail = client.get("/mail/api/1").json()
    assert mail["send_id"] == "12" and "<p>Hello" in mail["html"]
    assert client.get("/mail/api/9").status_code == 404


def test_mails_survive_a_restart(tmp_path: Path) -> None:
    """The mailbox is a file."""
    first = MailSandbox(tmp_path)
    first.start(0)
    _post(first)
    first.stop()
    second = MailSandbox(tmp_path)
    assert second.store.count() == 1
    second.stop()


def test_taken_port_is_one_sentence(mailbox: MailSandbox, tmp_path: Path) -> None:
    """Which port is taken, and what to do."""
    other = MailSandbox(tmp_path / "other")
    with pytest.raises(FatalError, match="is taken: choose another"):
        other.start(mailbox.state()["smtp_port"])
    other.stop()


@pytest.mark.parametrize(
    ("fault", "expected", "kept"),
    [
        ({"kind": "refuse_recipient"}, smtplib.SMTPRecipientsRefused, 0),
        ({"kind": "greylist"}, smtplib.SMTPRecipientsRefused, 0),
        ({"kind": "drop_before_data"}, smtplib.SMTPServerDisconnected, 0),
        ({"kind": "drop_after_data"}, smtplib.SMTPServerDisconnected, 1),
    ],
)
def test_faults_strike_as_often_as_set(
    mailbox: MailSandbox, fault: dict[str, object], expected: type[Exception], kept: int
) -> None:
    """Once, only for the matching address; then the server behaves again."""
    mailbox.set_fault({**fault, "times": 1, "match": "ann@"})
    _post(mailbox, 1, "bob@example.com")
    with pytest.raises(expected):
        _post(mailbox, 2)
    assert mailbox.faults() == []
    _post(mailbox, 3)
    assert mailbox.store.count() == 2 + kept


def test_refused_login_and_clearing(mailbox: MailSandbox) -> None:
    """The published log-in works, a wrong one and the fault do not, until cleared."""
    with smtplib.SMTP("127.0.0.1", mailbox.state()["smtp_port"]) as smtp:
        with pytest.raises(smtplib.SMTPAuthenticationError):
            smtp.login("sandbox", "wrong")
        mailbox.set_fault({"kind": "refuse_auth"})
        with pytest.raises(smtplib.SMTPAuthenticationError):
            smtp.login("sandbox", "sandbox")
        mailbox.clear_faults()
        assert smtp.login("sandbox", "sandbox")[0] == 235


def test_unknown_fault_names_the_known_ones(mailbox: MailSandbox) -> None:
    """A typing error is not silently no fault."""
    with pytest.raises(FatalError, match="Did you mean `greylist`"):
        mailbox.set_fault({"kind": "graylist"})
    with pytest.raises(FatalError, match="no key `count`"):
        mailbox.set_fault({"kind": "slow", "count": 3})


def test_readers_without_links_do_nothing(mailbox: MailSandbox) -> None:
    """A mail without our links is read without a trace; each action happens once."""
    for number in range(40):
        _post(mailbox, number)
    later = datetime.now(UTC) + timedelta(days=30)
    counts = mailbox.perform_due(later)
    assert counts["without_link"] > 0 and counts["open"] == counts["click"] == 0
    assert not any(mailbox.perform_due(later).values())
