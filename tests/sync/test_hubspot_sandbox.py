"""HubSpot's streams against the sandbox, through the life of their records, to its truth."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest

from marketing_ops import clock
from marketing_ops.connections import Connection
from marketing_ops.doctor.accounts import accounts
from marketing_ops.errors import FatalError, QuotaExhaustedError, RetryableError
from marketing_ops.sources.hubspot import search
from marketing_ops.sources.hubspot.source import HUBSPOT
from marketing_ops.sync.estimate import estimates
from marketing_ops.warehouse import WAREHOUSE_CONNECTION, Warehouse
from tests.sandbox_fixtures import SandboxServer
from tests.sync.hubspot_account import ACCOUNT, FAST, STREAMS, TOKEN, Account, prepare

_DAYS = itertools.count(30, 2)


@pytest.fixture
def portal(
    db: Warehouse, sandbox_at: SandboxServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Account]:
    """The portal at noon; nothing of it is read yet."""
    prepare(tmp_path, monkeypatch, sandbox_at)
    yield Account(db, sandbox_at)
    sandbox_at.call("DELETE", "/_sandbox/hubspot/settings")


@pytest.fixture
def crm(portal: Account) -> Account:
    """The portal on a day of this test's own, on which nothing happens by itself. Tests share the
    portal: on one day they would see each other's changes come.
    """
    portal.configure(is_living=False)
    portal.later(days=next(_DAYS))
    return portal


@pytest.mark.slow
def test_every_stream_equals_the_truth_through_its_life(portal: Account) -> None:
    """First load three days ago, then runs day by day: at each end the raw tables are the portal,
    row for row, and a second full read writes nothing.
    """
    today = clock.now()
    portal.server.set_clock(today - timedelta(days=3))
    portal.sync_all()
    portal.check()
    for days in (2, 1, 0):
        portal.server.set_clock(today - timedelta(days=days))
        portal.sync_all()
        portal.check()
    for stream in STREAMS:
        assert portal.sync(stream, kind="full_refresh").written == 0, stream


@pytest.mark.slow
def test_snapshot_of_nothing_marks_all_of_it_gone(crm: Account) -> None:
    """Runs of one session do not remember what earlier ones saw; an empty list is an answer too."""
    crm.sync("list_members")
    for _ in range(2):
        for key, contact, _at in crm.truth("list_members")[::2]:
            path = f"{crm.url}/crm/lists/2026-09/{key}/memberships/remove"
            crm.server.http.request(
                "PUT", path, json=[contact], headers={"Authorization": f"Bearer {TOKEN}"}
            )
        crm.later(minutes=1)
        crm.sync("list_members")
        crm.check("list_members")


@pytest.mark.slow
def test_more_of_one_instant_than_a_search_hands_out_lose_none(crm: Account) -> None:
    """1,200 contacts changed in one millisecond where a search ends at 1,000: each comes, once."""
    crm.configure(search_cap=1000)
    crm.sync("contacts")
    crm.later(minutes=10)
    made = crm.bulk("contacts", 1200)
    crm.later(seconds=1)
    crm.change("insert", "contact", fields={"email": "after.bulk@example.com"})
    crm.later(minutes=1)
    report = crm.sync("contacts")
    assert report.counts["contacts"]["inserted"] > made["count"]
    assert report.counts["contacts"]["duplicates"] == 0
    crm.check("contacts")
    again = crm.sync("contacts", kind="full_refresh")
    assert again.written == 0
    assert HUBSPOT.count is not None
    stream = HUBSPOT.stream("contacts")
    assert stream is not None
    assert HUBSPOT.count(crm.client(), stream, None) == again.counts["contacts"]["fetched"]


@pytest.mark.slow
def test_delete_merge_restore_and_erasure_of_contacts(crm: Account) -> None:
    """The archive marks what was deleted, a new id what was merged into it; what is restored or
    erased is found by the comparison.
    """
    keys = [
        crm.change("insert", "contact", fields={"email": f"life{n}@example.com"}) for n in range(5)
    ]
    crm.sync("contacts")
    crm.sync("contact_deletions")
    crm.later(minutes=10)
    crm.change("delete", "contact", keys[0])
    crm.change("delete", "contact", keys[1])
    crm.change("erase", "contact", keys[2])
    merged = crm.change("merge", "contact", keys[3], other=keys[4])
    crm.later(minutes=1)
    crm.sync("contacts")
    crm.sync("contact_deletions")
    gone = [crm.row("contacts", key, "is_deleted") for key in keys]
    assert gone == [(True,), (True,), (False,), (True,), (True,)]
    assert crm.row("contacts", merged, "is_deleted") == (False,)
    assert crm.compare().gone == 1
    crm.check("contacts")
    into = "select external_id from mkt_staging.merges where into_external_id = %s order by 1"
    assert [key for (key,) in crm.db.execute(into, (merged,))] == sorted(keys[3:])
    crm.later(minutes=10)
    crm.change("restore", "contact", keys[1])
    crm.later(minutes=10)
    crm.sync("contacts")
    crm.sync("contact_deletions")
    crm.compare()
    assert crm.row("contacts", keys[1], "is_deleted") == (False,)
    crm.check("contacts")


@pytest.mark.slow
def test_deal_moves_and_is_linked_anew(crm: Account) -> None:
    """A deal's stages are its history, its contacts those HubSpot associates, its currency the
    account's where it names none.
    """
    person, other = (crm.truth("contacts")[place][0] for place in (0, 1))
    fields = {"dealname": "Big", "dealstage": "qualifiedtobuy", "amount": "1234.50"}
    key = crm.change("insert", "deal", fields=fields, links={"contacts": [person]})
    crm.later(minutes=5)
    crm.sync("deals")
    assert crm.row("deals", key, "amount::text", "currency", "contact_ids") == (
        "1234.50",
        "USD",
        [person],
    )
    crm.later(minutes=5)
    crm.change("update", "deal", key, fields={"dealstage": "closedlost"})
    crm.change("link", "deal", key, links={"contacts": [other]})
    crm.later(minutes=5)
    crm.sync("deals")
    assert crm.row("deals", key, "stage_id", "contact_ids") == ("closedlost", [person, other])
    crm.check("deals", "deal_stages")
    crm.later(minutes=5)
    crm.change("delete", "deal", key)
    crm.sync("deal_deletions")
    crm.check("deals", "deal_stages")


@pytest.mark.slow
def test_search_that_lags_behind_loses_nothing(crm: Account) -> None:
    """What the index shows only a minute later comes with the next run: the cursor stays behind."""
    crm.configure(search_lag_seconds=60)
    crm.sync("contacts")
    crm.later(minutes=10)
    late = crm.change("insert", "contact", fields={"email": "late@example.com"})
    crm.later(seconds=30)
    crm.sync("contacts")
    assert crm.row("contacts", late, "id") is None
    crm.later(seconds=80)
    crm.sync("contacts")
    assert crm.row("contacts", late, "id") == (late,)
    crm.check("contacts")


@pytest.mark.slow
def test_parts_are_the_whole_and_go_on_where_they_stopped(
    crm: Account, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A first load in parts that breaks off in the middle ends as one that did not."""
    monkeypatch.setattr(search, "WORTH_CUTTING", 100)
    stream = HUBSPOT.stream("contacts")
    assert stream is not None
    assert HUBSPOT.slices is not None
    assert HUBSPOT.count is not None
    crm.bulk("contacts", 2000)
    client = crm.client()
    parts = HUBSPOT.slices(client, stream, 4)
    assert 1 < len(parts) <= 4
    counts = [HUBSPOT.count(client, stream, part) for part in parts]
    assert sum(filter(None, counts)) == HUBSPOT.count(client, stream, None)
    crm.fault("status", status=400, match='"operator":"GT"', times=1)
    with pytest.raises(FatalError, match="correlationId"):
        crm.sync("contacts")
    assert crm.sync("contacts").kind == "initial"
    crm.check("contacts")


@pytest.mark.slow
def test_comparison_repairs_what_was_lost_changed_and_left_over(crm: Account) -> None:
    """A row that is missing, one that is old and one that is gone at HubSpot become right."""
    for stream in ("contacts", "deals", "companies"):
        crm.sync(stream)
    crm.later(hours=1)
    for table in ("contacts", "deals", "companies"):
        (lost,), (old,) = crm.db.execute(
            f"select id from mkt_raw.hubspot__{table} where not is_deleted"
            " order by updated_at limit 2".encode()
        ).fetchall()
        crm.db.execute(f"delete from mkt_raw.hubspot__{table} where id = %s".encode(), (lost,))
        crm.db.execute(
            f"update mkt_raw.hubspot__{table} set source_updated_at = '2001-01-01',"
            " row_hash = 'x' where id = %s".encode(),
            (old,),
        )
        found = crm.compare(table)
        assert (found.missing, found.outdated, found.unrepaired) == (1, 1, 0)
        crm.sync(table)
        crm.check(table)


@pytest.mark.slow
def test_token_that_ends_between_pages_is_renewed_once(crm: Account) -> None:
    """An app's token expires in the middle of a load; its refresh token, which changes with each
    use, goes on.
    """
    crm.configure(is_rotating=True)
    crm.connection = replace(
        crm.connection,
        login="hubspot-client",
        password="hubspot-secret",
        extra={"refresh_token": "hubspot-refresh"},
    )
    crm.fault("expired_token", match="/search", times=1)
    crm.sync("contacts")
    crm.fault("expired_token", match="/batch/read", times=1)
    crm.sync("deals")
    crm.later(hours=1)
    crm.sync("contacts")
    crm.check("contacts")


def test_commands_go_on_with_the_accounts_token(crm: Account, db: Warehouse) -> None:
    """The refresh token of the connection was used long ago: `estimate` and `doctor` use the stored
    one, and leave one behind with which the workers go on.
    """
    crm.configure(is_rotating=True)
    crm.connection = replace(
        crm.connection,
        login="hubspot-client",
        password="hubspot-secret",
        extra={"refresh_token": "hubspot-refresh"},
    )
    crm.sync("owners")
    crm.later(hours=1)
    at = db.info
    stored = Connection(
        WAREHOUSE_CONNECTION,
        host=at.host,
        port=at.port,
        schema=at.dbname,
        login=at.user,
        password=at.password,
    )
    known = {WAREHOUSE_CONNECTION: stored}

    def resolve(name: str) -> Connection:
        return known.get(name, crm.connection)

    assert next(estimates(ACCOUNT, ["contacts"], resolve)).records
    crm.later(hours=1)
    (section,) = accounts([ACCOUNT], resolve, is_offline=False, patience=60)
    assert [line for line in section.findings if "refused" in line.says] == []
    crm.later(hours=1)
    crm.sync("owners")


@pytest.mark.slow
def test_missing_scope_names_it_and_leaves_other_streams_alone(crm: Account) -> None:
    """A 403 is fatal for what needs the scope, and for nothing else."""
    crm.configure(missing_scopes=["crm.objects.deals.read"])
    with pytest.raises(FatalError, match=r"grant it crm\.objects\.deals\.read"):
        crm.sync("deals")
    crm.sync("companies")
    crm.check("companies")


@pytest.mark.slow
def test_used_up_day_postpones_until_the_accounts_midnight(crm: Account) -> None:
    """Our share of the day's calls ends in the middle: what was read stays, the run is postponed,
    and the next day's goes on.
    """
    crm.configure(daily=1000, daily_used=999)
    with pytest.raises(QuotaExhaustedError, match="used up") as caught:
        crm.sync("consents")
    assert 0 < caught.value.reset_seconds <= 86_400
    row = crm.db.execute(
        "select status from mkt_ops.sync_runs order by sync_run_id desc limit 1"
    ).fetchone()
    assert row == ("postponed",)
    blocked = crm.db.execute(
        "select blocked_until > %s from mkt_ops.account_state where account = %s",
        (clock.now(), ACCOUNT),
    ).fetchone()
    assert blocked == (True,)
    crm.configure(**FAST, daily=625_000, daily_used=0)
    crm.later(days=1, hours=6)
    crm.sync("consents")
    crm.check("consents")


@pytest.mark.slow
@pytest.mark.parametrize("fault", ["bad_utf8", "nan"])
def test_damaged_record_is_rejected_and_no_other(crm: Account, fault: str) -> None:
    """Bytes that are no UTF-8, or a NaN, in one record of a page: it is kept aside."""
    crm.fault(fault, match='"limit":200', property="firstname", place=3, times=1)
    report = crm.sync("contacts")
    assert report.counts["contacts"]["rejected"] == 1
    rejected = crm.db.execute("select record_id from mkt_ops.rejected_records").fetchall()
    assert [key for (key,) in rejected] == [crm.truth("contacts")[3][0]]


@pytest.mark.slow
def test_page_that_lost_its_records_is_no_end(crm: Account) -> None:
    """A page that counts records and shows none is asked for again by the next run."""
    crm.sync("contacts")
    crm.later(hours=3)
    crm.fault("drop_page", match="/contacts/search", times=1)
    with pytest.raises(RetryableError, match="shows none"):
        crm.sync("contacts")
    crm.sync("contacts")
    crm.check("contacts")
