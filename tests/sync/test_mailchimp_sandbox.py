"""Every Mailchimp stream against the sandbox, through the life of its records, to its truth."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from marketing_ops import clock, settings
from marketing_ops.connections import Connection
from marketing_ops.errors import FatalError
from marketing_ops.paths import INCLUDE_VARIABLE
from marketing_ops.sources import registry
from marketing_ops.sources.mailchimp import client as clients
from marketing_ops.sources.mailchimp import compare
from marketing_ops.sources.mailchimp.check import check
from marketing_ops.sources.mailchimp.source import MAILCHIMP
from marketing_ops.sync import engine
from marketing_ops.sync.reconcile import ReconcileReport, reconcile_stream
from marketing_ops.sync.runner import SyncReport, sync_stream
from marketing_ops.warehouse import Warehouse
from marketing_ops.window import Window
from tests.sandbox_fixtures import SandboxServer
from tests.sync.conftest import include_copy

ACCOUNT = "mailchimp_test"
STREAMS = tuple(stream.name for stream in MAILCHIMP.streams)
FIRST_DAYS = 3


class Account:
    """The sandbox's Mailchimp account and what we hold of it."""

    def __init__(self, db: Warehouse, server: SandboxServer) -> None:
        self.db, self.server = db, server
        self.connection = Connection(
            ACCOUNT, host=f"{server.base_url}/mailchimp", password="sandbox-us1"
        )

    def sync(self, stream: str, **options: Any) -> SyncReport:
        """One run at the held clock; its books balance."""
        window = options.pop("window", None) or Window(clock.now(), clock.now())
        report = sync_stream(self.db, ACCOUNT, stream, window, resolve=self._resolve, **options)
        assert report.balanced
        return report

    def sync_all(self) -> None:
        for stream in STREAMS:
            self.sync(stream)

    def compare(self) -> ReconcileReport:
        return reconcile_stream(self.db, ACCOUNT, "members", resolve=self._resolve)

    def _resolve(self, _conn_id: str) -> Connection:
        return self.connection

    def change(self, action: str, key: str = "", **fields: Any) -> str:
        """Change a member at the clock; returns the hash of the address."""
        body = {"action": action, "kind": "member", "id": key, "fields": fields}
        return str(self.server.call("POST", "/_sandbox/mailchimp/records", body).get("id"))

    def later(self, **delta: float) -> None:
        self.server.set_clock(clock.now() + timedelta(**delta))

    def member(self, email: str) -> tuple[Any, ...]:
        row = self.db.execute(
            "select id, email_hash, status, is_deleted from mkt_raw.mailchimp__members"
            " where email = %s",
            (email,),
        ).fetchone()
        assert row is not None
        return tuple(row)

    def held(self, stream: str) -> list[tuple[Any, ...]]:
        """Our rows in the terms of the truth."""
        return sorted(self.db.execute(HELD[stream]).fetchall(), key=str)

    def truth(self, stream: str) -> list[tuple[Any, ...]]:
        response = self.server.http.request(
            "GET", f"{self.server.base_url}/_sandbox/mailchimp/truth/{stream}"
        )
        rows = [json.loads(line) for line in response.data.splitlines()]
        return sorted((tuple(_fact(row, name) for name in TRUE[stream]) for row in rows), key=str)

    def check_all(self) -> None:
        for stream in STREAMS:
            assert self.held(stream) == self.truth(stream), stream


TRUE = {
    "audiences": ("id", "name", "created_at"),
    "members": (
        "list_id",
        "contact_id",
        "id",
        "email",
        "status",
        "merge_fields",
        "tags",
        "language",
        "opted_in_at",
        "last_changed",
    ),
    "segments": ("list_id", "id", "name", "type", "members", "updated_at"),
    "campaigns": ("id", "list_id", "title", "status", "sent_at", "emails"),
    "email_activity": ("campaign_id", "email_id", "email", "action", "at", "url", "bounce"),
    "opens": ("campaign_id", "email_id", "email", "at", "is_machine"),
    "sent": ("campaign_id", "email_id", "email", "status"),
    "unsubscribes": ("campaign_id", "email_id", "at", "reason"),
    "complaints": ("list_id", "campaign_id", "email_id", "email", "at"),
}
HELD = {
    "audiences": "select id, name, created_at from mkt_raw.mailchimp__audiences"
    " where not is_deleted",
    "members": "select list_id, contact_id, email_hash, email, status, merge_fields,"
    " array(select jsonb_array_elements(tags) ->> 'name'), language, optin_at, last_changed"
    " from mkt_raw.mailchimp__members where not is_deleted",
    "segments": "select list_id, segment_id, name, type, member_count, updated_at"
    " from mkt_raw.mailchimp__segments where not is_deleted",
    "campaigns": "select id, list_id, title, status, sent_at, emails_sent"
    " from mkt_raw.mailchimp__campaigns where not is_deleted",
    "email_activity": "select campaign_id, email_hash, email, action, occurred_at, url, type"
    " from mkt_raw.mailchimp__email_activity",
    "opens": "select campaign_id, email_hash, email, occurred_at, is_machine"
    " from mkt_raw.mailchimp__opens",
    "sent": "select campaign_id, email_hash, email, status from mkt_raw.mailchimp__sent",
    "unsubscribes": "select campaign_id, email_hash, occurred_at, reason"
    " from mkt_raw.mailchimp__unsubscribes",
    "complaints": "select list_id, campaign_id, email_hash, email, occurred_at"
    " from mkt_raw.mailchimp__complaints where not is_deleted",
}
_TIMES = ("at", "sent_at", "created_at", "updated_at", "opted_in_at", "last_changed")


def _fact(row: dict[str, Any], name: str) -> Any:
    value = row[name]
    return datetime.fromisoformat(value) if name in _TIMES and value else value


@pytest.fixture
def account(
    db: Warehouse,
    sandbox_at: SandboxServer,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> Iterator[Account]:
    """The account as it was three days ago; nothing of it is here yet."""
    include = include_copy(tmp_path)
    text = f"source: {ACCOUNT}\nsystem: mailchimp\nconnection: {ACCOUNT}\nbrand: journey\n"
    (include / "sources" / f"{ACCOUNT}.yaml").write_text(text)
    monkeypatch.setenv(INCLUDE_VARIABLE, str(include))
    settings.settings.cache_clear()
    sandbox_at.set_clock(clock.now() - timedelta(days=FIRST_DAYS))
    yield Account(db, sandbox_at)
    settings.settings.cache_clear()


@pytest.fixture
def small_pages(monkeypatch: pytest.MonkeyPatch) -> None:
    """Pages of 100: the account has several of them, and parts of some hundred."""
    streams = tuple(replace(stream, page_size=100) for stream in MAILCHIMP.streams)
    monkeypatch.setitem(registry.SYSTEMS, "mailchimp", replace(MAILCHIMP, streams=streams))
    monkeypatch.setattr(compare, "_FEW", 50)


@pytest.mark.slow
def test_every_stream_equals_the_truth_through_its_life(account: Account) -> None:
    """First load, then runs with changes, a new address, an archived and a deleted member: the raw
    tables are the account, row for row.
    """
    fresh = account.change("insert", email_address="life.a@example.com")
    gone = account.change("insert", email_address="life.b@example.com")
    account.sync_all()
    account.check_all()
    key = account.member("life.a@example.com")[0]
    account.later(hours=1)
    moved = account.change("update", fresh, email_address="life.c@example.com")
    for hours in (1, 20, 24):
        account.later(hours=hours)
        account.sync_all()
        account.check_all()
    assert account.member("life.c@example.com")[:2] == (key, moved)
    account.later(minutes=30)
    account.change("archive", moved)
    account.change("delete", gone)
    account.later(minutes=30)
    account.sync_all()
    assert account.member("life.c@example.com")[2:] == ("archived", False)
    assert account.member("life.b@example.com")[3] is False
    assert account.compare().gone == 1
    assert account.member("life.b@example.com")[3] is True
    account.check_all()
    account.later(hours=1)
    account.change("restore", moved)
    account.sync_all()
    assert account.member("life.c@example.com")[2:] == ("subscribed", False)
    account.check_all()


@pytest.mark.slow
def test_running_again_writes_nothing(account: Account) -> None:
    """A second full read finds every row unchanged, and a comparison nothing to repair."""
    account.sync_all()
    for stream in STREAMS:
        again = account.sync(stream, kind="full_refresh")
        assert again.written == 0, stream
    found = account.compare()
    assert (found.missing, found.outdated, found.gone) == (0, 0, 0)


@pytest.mark.slow
def test_comparison_brings_back_what_is_lost(account: Account) -> None:
    """Members that are missing or outdated here are fetched one by one."""
    account.sync("members")
    account.db.execute(
        "delete from mkt_raw.mailchimp__members where id in"
        " (select id from mkt_raw.mailchimp__members order by last_changed limit 3)"
    )
    account.db.execute(
        "update mkt_raw.mailchimp__members set status = 'x', row_hash = '',"
        " source_updated_at = source_updated_at - interval '1 day' where id in"
        " (select id from mkt_raw.mailchimp__members order by last_changed limit 2)"
    )
    account.later(hours=1)
    found = account.compare()
    assert (found.missing, found.outdated, found.unrepaired) == (3, 2, 0)
    account.sync("members")
    assert account.held("members") == account.truth("members")


@pytest.mark.slow
@pytest.mark.usefixtures("small_pages")
def test_members_that_move_between_pages_are_not_lost(account: Account) -> None:
    """After a page its first member changes and every row behind moves up: nobody is lost, neither
    by a first load in parts nor by a later full read, which would mark who was not seen.
    """
    account.server.fault("shift", "mailchimp", times=8, match="exclude_fields")
    account.sync("members")
    account.later(minutes=1)
    account.server.fault("shift", "mailchimp", times=8, match="exclude_fields")
    account.sync("members", kind="full_refresh")
    assert account.db.execute(
        "select count(*) from mkt_raw.mailchimp__members where is_deleted"
    ).fetchone() == (0,)
    account.later(minutes=1)
    account.sync("members")
    assert account.held("members") == account.truth("members")


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["html403", "html429", "throttle", "drop_connection", "status"])
def test_what_passes_is_waited_for(account: Account, kind: str) -> None:
    """The edge's web pages, an eleventh connection, a cut answer, a 500: the run goes on."""
    account.server.fault(kind, "mailchimp", times=2, match="/lists")
    account.sync("members")
    assert account.held("members") == account.truth("members")


@pytest.mark.slow
@pytest.mark.usefixtures("small_pages")
def test_ten_connections_at_once_are_not_passed(account: Account) -> None:
    """Parts are read side by side within our share of the account's connections."""
    account.server.call("POST", "/_sandbox/mailchimp/settings", {"delay_seconds": 0.02})
    account.sync("members")
    account.server.call("POST", "/_sandbox/mailchimp/settings", {"delay_seconds": 0.0})
    assert account.held("members") == account.truth("members")
    requests = account.server.requests("mailchimp")
    assert {request["status"] for request in requests} == {200}
    assert sum("before_last_changed" in request["query"] for request in requests) > 1


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["nan", "bad_utf8"])
def test_one_damaged_record_is_rejected_alone(account: Account, kind: str) -> None:
    """What is no JSON costs the record it stands in; the next comparison brings it back."""
    account.server.fault(kind, "mailchimp", times=1, match="exclude_fields")
    report = account.sync("members")
    assert report.counts["members"]["rejected"] == 1
    account.later(hours=1)
    account.sync("members")
    assert account.compare().unrepaired == 0
    assert account.held("members") == account.truth("members")


@pytest.mark.slow
def test_refused_key_is_fatal_and_says_what_to_do(account: Account) -> None:
    """A 401 is one call, and names the request and no key."""
    account.connection = Connection(ACCOUNT, host=account.connection.host, password="wrong-us1")
    with pytest.raises(FatalError, match=r"request .*refused: create one in Mailchimp") as caught:
        account.sync("members")
    assert "wrong" not in str(caught.value)


@pytest.mark.slow
@pytest.mark.usefixtures("small_pages")
def test_repeated_page_fails_the_run(account: Account, monkeypatch: pytest.MonkeyPatch) -> None:
    """A page that comes twice would hide another one."""
    monkeypatch.setattr(compare, "_FEW", 10_000)
    account.server.fault("repeat_page", "mailchimp", times=1, match="offset=80")
    with pytest.raises(FatalError, match="repeats a page"):
        account.sync("members")
    account.sync("members")
    assert account.held("members") == account.truth("members")


@pytest.mark.slow
@pytest.mark.usefixtures("small_pages")
@pytest.mark.parametrize("few", [50, 10_000], ids=["parts", "whole"])
def test_interrupted_load_goes_on(
    account: Account, monkeypatch: pytest.MonkeyPatch, few: int
) -> None:
    """An initial load that breaks in the middle goes on behind what it committed."""
    monkeypatch.setattr(compare, "_FEW", few)
    monkeypatch.setattr(engine, "BATCH_ROWS", 50)
    page = "sort_dir=ASC&before_last_changed" if few == 50 else "offset=160"
    account.server.fault("shift", "mailchimp", times=2, match="exclude_fields")
    account.server.fault("status", "mailchimp", times=1, status=400, match=page)
    with pytest.raises(FatalError):
        account.sync("members")
    account.later(minutes=1)
    account.sync("members")
    account.sync("members")
    assert account.held("members") == account.truth("members")


@pytest.mark.slow
def test_writers_against_the_sandbox(account: Account) -> None:
    """Whoever left by themselves is not brought back; tags and segments say who they took."""
    email = "left.by.herself@example.com"
    key = account.change("insert", email_address=email)
    account.change("update", key, status="unsubscribed", by="user")
    forgotten = account.change("insert", email_address="forgotten@example.com")
    account.change("delete", forgotten)
    account.sync("audiences")
    client = clients.MailchimpClient(account.connection)
    (audience,) = [row[0] for row in account.held("audiences")][:1]
    rows = [
        {"email_address": email, "language": "de"},
        {"email_address": "forgotten@example.com"},
        {"email_address": "written@example.com"},
    ]
    found = MAILCHIMP.writers["members"](client, audience, rows)
    assert [one.status for one in found] == ["done", "rejected", "done"]
    assert found[1].reason == "forgotten_email"
    written = found[2].external_id
    some = [written, email, "x@example.com"]
    tagged = MAILCHIMP.writers["tags"](client, audience, some, add=["from us"])
    assert [one.status for one in tagged] == ["done", "done", "missing"]
    account.later(minutes=1)
    account.sync("members")
    account.sync("segments")
    assert account.member(email)[2] == "unsubscribed"
    assert account.member("written@example.com")[2] == "pending"
    segment = account.db.execute(
        "select id from mkt_raw.mailchimp__segments where name = 'from us'"
    ).fetchone()
    assert segment is not None
    put = MAILCHIMP.writers["segment_members"](
        client, segment[0], add=[email, "nobody@example.com"], remove=["written@example.com"]
    )
    assert [one.status for one in put] == ["done", "missing", "done"]


@pytest.mark.slow
def test_staging_shows_contacts_consents_lists_and_events(account: Account) -> None:
    """What core reads: one contact and one consent a member, lists, list members and events."""
    account.sync_all()
    counts = account.db.execute(
        "select (select count(*) from mkt_staging.mailchimp__contacts),"
        " (select count(*) from mkt_staging.mailchimp__consents),"
        " (select count(distinct external_id) from mkt_staging.mailchimp__contacts)"
    ).fetchone()
    assert counts == (len(account.truth("members")),) * 3
    statuses = dict(
        account.db.execute(
            "select members.status, array_agg(distinct consents.status order by consents.status)"
            " from mkt_raw.mailchimp__members as members"
            " inner join mkt_staging.mailchimp__consents as consents"
            " on members.id = consents.external_id group by members.status"
        ).fetchall()
    )
    assert statuses["subscribed"] == ["granted", "none"]  # without permission for e-mail
    assert statuses["unsubscribed"] == statuses["cleaned"] == ["denied"]
    assert (statuses["pending"], statuses["archived"]) == (["pending"], ["none"])
    events = dict(
        account.db.execute(
            "select event_type, count(*) from mkt_staging.mailchimp__email_events"
            " where contact_id is not null and occurred_at is not null group by event_type"
        ).fetchall()
    )
    assert events.keys() == {
        "email_sent",
        "email_opened",
        "email_clicked",
        "email_bounced",
        "unsubscribed",
        "complained",
    }
    lost = account.db.execute(
        "select count(*) from mkt_staging.mailchimp__list_members as held"
        " left join mkt_staging.mailchimp__lists as lists on held.list_id = lists.external_id"
        " where lists.external_id is null"
    ).fetchone()
    assert lost == (0,)


@pytest.mark.slow
def test_doctor_reads_the_account(account: Account) -> None:
    """Login, address, clock, scopes and limit are looked at, and are fine."""
    found = list(check(clients.MailchimpClient(account.connection)))
    assert [one.what for one in found] == ["login", "version", "clock", "scopes", "quota"]
    assert all(one.is_ok for one in found)
    assert not any("@" in one.says for one in found)
