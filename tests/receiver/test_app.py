from __future__ import annotations

import json
import logging
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import quote

import psycopg
import pytest
from starlette.testclient import TestClient

from marketing_ops.connections import Connection
from marketing_ops.delivery import switch
from marketing_ops.receiver import tokens
from marketing_ops.receiver.app import create_app
from marketing_ops.receiver.pages import PIXEL
from marketing_ops.receiver.tokens import LinkToken
from marketing_ops.warehouse import Warehouse, ensure_partitions

KEY = "k" * 32
SHOP = "https://journey.example.com/a?b=c+d&e=ü"
SEND_ID = 202603 * 10**12 + 1
TOKEN = LinkToken(SEND_ID, 42, "journey")
PERSON = {"user-agent": "Mozilla/5.0 (iPhone) Safari/604.1"}
PROXY = {"user-agent": "Mozilla/5.0 (via ggpht.com GoogleImageProxy)"}


class Accounts:
    """A resolver whose warehouse a test may take away."""

    def __init__(self, uri: str) -> None:
        parts = psycopg.conninfo.conninfo_to_dict(uri)
        self.port = int(str(parts.get("port", 5432)))
        self.parts = parts

    def __call__(self, conn_id: str) -> Connection:
        if conn_id == tokens.RECEIVER_CONNECTION:
            return Connection(conn_id, password=KEY)
        return Connection(
            conn_id,
            host=str(self.parts.get("host")),
            port=self.port,
            login=str(self.parts.get("user")),
            schema=str(self.parts["dbname"]),
        )


@pytest.fixture
def accounts(warehouse_uri: str) -> Accounts:
    return Accounts(warehouse_uri)


@pytest.fixture
def client(accounts: Accounts, frozen_clock: Any) -> Iterator[TestClient]:
    with TestClient(create_app(accounts), follow_redirects=False) as found:
        yield found


def _link(purpose: Any, url: str = "", token: LinkToken = TOKEN, key: str = KEY) -> str:
    text = tokens.sign(key.encode(), purpose, token, url)
    return {
        "o": f"/o/{text}.gif",
        "c": f"/c/{text}?u={quote(url, safe='')}",
        "u": f"/u/{text}",
    }[purpose]


def _inbox(db: Warehouse) -> list[tuple[str, str, str]]:
    rows = db.execute(
        "select account, topic, delivery_id from mkt_ops.webhook_inbox where source = 'receiver'"
        " order by inbox_id"
    )
    return [(str(a), str(b), str(c)) for a, b, c in rows]


def test_opens_are_kept_once_for_people_and_once_for_machines(
    client: TestClient, db: Warehouse
) -> None:
    """A mail opened twice by a person and once by a proxy makes two rows, with the clock's time."""
    for agent in (PERSON, PROXY, PERSON):
        answer = client.get(_link("o"), headers=agent)
        assert (answer.status_code, answer.content) == (200, PIXEL)
        assert answer.headers["cache-control"] == "no-store"
    assert _inbox(db) == [
        ("journey", "email_opened", f"email_opened:{SEND_ID}:person"),
        ("journey", "email_opened", f"email_opened:{SEND_ID}:machine"),
    ]
    row = db.execute("select body from mkt_ops.webhook_inbox order by inbox_id").fetchone()
    assert row is not None
    body = json.loads(row[0])
    assert (body["send_id"], body["at"], body["url"]) == (
        SEND_ID,
        "2026-03-02T12:00:00+00:00",
        None,
    )


def test_forged_open_gets_the_picture_and_leaves_no_trace(
    client: TestClient, db: Warehouse
) -> None:
    """The pixel never fails visibly, and believes nobody."""
    answer = client.get(_link("o", key="another key of 16 and more"))
    assert (answer.status_code, answer.content) == (200, PIXEL)
    assert _inbox(db) == []


def test_click_redirects_to_its_signed_target(client: TestClient, db: Warehouse) -> None:
    """302 to exactly the signed address; one row per send, target and kind of reader."""
    for agent in (PERSON, PERSON, PROXY):
        answer = client.get(_link("c", SHOP), headers=agent)
        assert (answer.status_code, answer.headers["location"]) == (302, quote(SHOP, safe=":/?&=+"))
    client.get(_link("c", "https://journey.example.com/b"), headers=PERSON)
    topics = [delivery.rsplit(":", 1)[-1] for _, _, delivery in _inbox(db)]
    assert topics == ["person", "machine", "person"]


@pytest.mark.parametrize(
    "path",
    [
        _link("c", SHOP).replace("journey.example.com", "evil.example.org"),
        _link("c", SHOP).partition("?")[0],
        _link("c", "javascript:alert(1)"),
        _link("u").replace("/u/", "/c/") + "?u=https%3A%2F%2Fevil.example.org",
    ],
)
def test_click_never_leads_elsewhere(client: TestClient, db: Warehouse, path: str) -> None:
    """A changed target, none, a script, another link's token: 400, no redirect, nothing stored."""
    answer = client.get(path)
    assert answer.status_code == 400
    assert "location" not in answer.headers
    assert _inbox(db) == []


def test_unsubscribe_page_changes_nothing_and_needs_no_script(
    client: TestClient, db: Warehouse
) -> None:
    """GET shows a form; scanners that follow every link unsubscribe nobody."""
    answer = client.get(_link("u"))
    assert answer.status_code == 200
    assert "Unsubscribe from Journey Market?" in answer.text
    assert '<form method="post">' in answer.text and "<script" not in answer.text
    assert _inbox(db) == []
    assert db.execute("select count(*) from mkt_engage.suppressions").fetchone() == (0,)


@pytest.mark.parametrize("is_multipart", [False, True])
def test_one_click_acts_at_once_and_only_once(
    client: TestClient, db: Warehouse, is_multipart: bool
) -> None:
    """RFC 8058: either encoding; a suppression of the brand and one inbox row, twice posted."""
    field = {"List-Unsubscribe": "One-Click"}
    for _ in range(2):
        files = {name: (None, value) for name, value in field.items()}
        answer = (
            client.post(_link("u"), files=files)
            if is_multipart
            else client.post(_link("u"), data=field)
        )
        assert answer.status_code == 200
    rows = db.execute(
        "select contact_id, brand, channel, reason, source from mkt_engage.suppressions"
    ).fetchall()
    assert rows == [(42, "journey", "email", "unsubscribed", "receiver")]
    assert _inbox(db) == [("journey", "unsubscribed", f"unsubscribed:{SEND_ID}:1")]


def test_unsubscribing_again_after_coming_back_is_heard(client: TestClient, db: Warehouse) -> None:
    """A lifted suppression does not make an old mail's link deaf."""
    client.post(_link("u"), data={"List-Unsubscribe": "One-Click"})
    db.execute("update mkt_engage.suppressions set lifted_at = since")
    client.post(_link("u"), data={"List-Unsubscribe": "One-Click"})
    assert [delivery[-2:] for _, _, delivery in _inbox(db)] == [":1", ":2"]
    active = db.execute("select count(*) from mkt_engage.suppressions where lifted_at is null")
    assert active.fetchone() == (1,)


def test_unsubscribe_follows_a_merge(client: TestClient, db: Warehouse) -> None:
    """The person the send's contact was merged into is suppressed."""
    db.execute(
        "insert into mkt_core.contact_merges (from_contact_id, into_contact_id, matched_on, batch,"
        " merged_at) values (42, 7, 'email', 1, '2026-03-01')"
    )
    client.post(_link("u"), data={"List-Unsubscribe": "One-Click"})
    assert db.execute("select contact_id from mkt_engage.suppressions").fetchone() == (7,)


@pytest.mark.parametrize("body", [b"", b"confirm=1", b"List-Unsubscribe=No"])
def test_post_without_the_one_click_field_changes_nothing(
    client: TestClient, db: Warehouse, body: bytes
) -> None:
    """Only the field of RFC 8058 unsubscribes."""
    assert client.post(_link("u"), content=body).status_code == 400
    assert _inbox(db) == []


def test_forged_unsubscribe_is_refused(client: TestClient, db: Warehouse) -> None:
    """An open's token, or another key's, unsubscribes nobody."""
    for path in (
        _link("o")[:-4].replace("/o/", "/u/"),
        _link("u", key="another key of 16 and more"),
    ):
        answer = client.post(path, data={"List-Unsubscribe": "One-Click"})
        assert answer.status_code == 400
    assert _inbox(db) == []


def test_long_body_is_refused(client: TestClient, db: Warehouse) -> None:
    """Nobody can fill our memory: 413 beyond 8 KB."""
    body = b"List-Unsubscribe=One-Click&" + b"x" * 9000
    assert client.post(_link("u"), content=body).status_code == 413
    assert _inbox(db) == []


def test_reader_settles_a_send_in_doubt(client: TestClient, db: Warehouse) -> None:
    """Who opens a mail has it: unknown becomes accepted; a claimed send is left alone."""
    at = datetime(2026, 3, 2, tzinfo=UTC)
    ensure_partitions(db, "mkt_engage.sends", at.date(), at.date())
    for number, status in ((1, "unknown"), (2, "claimed")):
        db.execute(
            "insert into mkt_engage.sends (send_id, entered_on, enrolment_id, step_id, visit,"
            " campaign_id, version, contact_id, shard, brand, channel, via, status, due_at,"
            " tick_id) values (%s, %s, %s, 1, 1, 1, 1, 42, 1, 'journey', 'email', 'x', %s, %s, 1)",
            (202603 * 10**12 + number, at.date(), number, status, at),
        )
        client.get(_link("o", token=LinkToken(202603 * 10**12 + number, 42, "journey")))
    rows = db.execute("select status from mkt_engage.sends order by send_id").fetchall()
    assert rows == [("accepted",), ("claimed",)]


def test_signed_stop_throws_the_switch(
    client: TestClient, db: Warehouse, frozen_clock: Any
) -> None:
    """POST /stop needs a fresh stop token; it is audited."""
    token = tokens.sign_stop(KEY.encode(), "all", frozen_clock.instant + timedelta(minutes=5))
    assert client.post("/stop").status_code == 401
    assert not switch.is_stopped(db)
    answer = client.post("/stop", headers={"authorization": f"Bearer {token}"})
    assert answer.json() == {"stopped": "all"}
    assert switch.is_stopped(db)
    frozen_clock.move(frozen_clock.instant + timedelta(minutes=6))
    assert client.post("/stop", headers={"authorization": f"Bearer {token}"}).status_code == 401


def test_restarted_postgres_is_found_again(client: TestClient, db: Warehouse) -> None:
    """Connections that broke meanwhile are replaced without a failed request."""
    assert client.get("/healthz").status_code == 200
    db.execute(
        "select pg_terminate_backend(pid) from pg_stat_activity"
        " where application_name = 'marketing_ops receiver' and datname = current_database()"
    )
    assert client.post(_link("u"), data={"List-Unsubscribe": "One-Click"}).status_code == 200
    assert len(_inbox(db)) == 1


def test_without_postgres_readers_are_served_and_wishes_refused(
    accounts: Accounts, frozen_clock: Any, caplog: pytest.LogCaptureFixture
) -> None:
    """Picture and redirect answer; unsubscribe, stop and health say 503. No token is logged."""
    accounts.port = 1
    stop = tokens.sign_stop(KEY.encode(), "all", frozen_clock.instant + timedelta(minutes=5))
    with (
        caplog.at_level(logging.DEBUG, "marketing_ops"),
        TestClient(create_app(accounts), follow_redirects=False) as client,
    ):
        assert client.get(_link("o")).content == PIXEL
        assert client.get(_link("c", SHOP)).status_code == 302
        answer = client.post(_link("u"), data={"List-Unsubscribe": "One-Click"})
        assert answer.status_code == 503 and "try again" in answer.text
        assert client.post("/stop", headers={"authorization": f"Bearer {stop}"}).status_code == 503
        assert client.get("/healthz").status_code == 503
    assert "opened: lost" in caplog.text
    for secret in (stop, tokens.sign(KEY.encode(), "u", TOKEN), KEY):
        assert secret not in caplog.text


def test_head_requests_are_not_readers(client: TestClient, db: Warehouse) -> None:
    """Link checkers ask with HEAD: answered, not counted."""
    assert client.head(_link("c", SHOP)).status_code == 302
    assert _inbox(db) == []
