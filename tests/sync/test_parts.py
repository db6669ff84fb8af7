"""Parts, snapshots, merges, fields and files, against a made-up vendor over real HTTP."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from marketing_ops import clock, sqlfile
from marketing_ops.errors import (
    FatalError,
    QuotaExhaustedError,
    RetryableError,
    StillRunningError,
)
from marketing_ops.sources import registry
from marketing_ops.sources.base import Page
from marketing_ops.sync import engine
from marketing_ops.sync.account import another
from marketing_ops.sync.batch import Batch
from marketing_ops.sync.reconcile import reconcile_stream
from marketing_ops.sync.replay import replay_rejected
from marketing_ops.sync.runner import SyncReport, sync_stream
from marketing_ops.sync.tables import create_raw_tables
from marketing_ops.warehouse import Warehouse
from marketing_ops.window import Window
from tests.conftest import FrozenClock
from tests.sync.acme import ACME, PEOPLE, START, Acme, person
from tests.sync.conftest import include_copy

Sync = Callable[..., SyncReport]


@pytest.fixture
def acme(
    db: Warehouse, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, frozen_clock: FrozenClock
) -> Iterator[Acme]:
    """The vendor, registered, with an account `acme_main` of four slots."""
    monkeypatch.setitem(registry.SYSTEMS, "acme", ACME)
    include = include_copy(tmp_path)
    (include / "sources" / "acme_main.yaml").write_text(
        "source: acme_main\nsystem: acme\nconnection: acme_main\nbrand: journey\n"
        "streams: {people: hourly, badges: hourly, teams: hourly, files: hourly}\npool_slots: 4\n"
    )
    monkeypatch.setenv("MARKETING_OPS_INCLUDE", str(include))
    create_raw_tables(db)
    vendor = Acme()
    yield vendor
    vendor.close()


@pytest.fixture
def sync(db: Warehouse, acme: Acme, frozen_clock: FrozenClock) -> Sync:
    """Syncs a stream of `acme_main`; `said` takes the lines of progress."""

    def run(stream: str, *, said: list[str] | None = None, **options: Any) -> SyncReport:
        from marketing_ops.connections import Connection

        window = options.pop("window", None) or Window(frozen_clock.instant, frozen_clock.instant)
        return sync_stream(
            db,
            "acme_main",
            stream,
            window,
            resolve=lambda conn_id: Connection(conn_id, host=acme.url),
            report=(said if said is not None else []).append,
            **options,
        )

    return run


def resolver(acme: Acme) -> Any:
    from marketing_ops.connections import Connection

    return lambda conn_id: Connection(conn_id, host=acme.url)


def ids(db: Warehouse, table: str = "people", *, deleted: bool = False) -> list[int]:
    query = f"select id::int from mkt_raw.acme__{table} where is_deleted = %s order by 1"
    return [row[0] for row in db.execute(query, (deleted,))]


def test_an_initial_load_is_read_in_parts_side_by_side(
    db: Warehouse, acme: Acme, sync: Sync
) -> None:
    """Four slots: three parts at a time, one slot left to others; every record once, books and the
    source's own count agree, and the estimate is said first.
    """
    acme.add(*(person(number) for number in range(1, 201)))
    acme.delay = 0.02
    said: list[str] = []
    report = sync("people", said=said)
    assert (report.kind, report.balanced, report.counts["people"]["inserted"]) == (
        "initial",
        True,
        200,
    )
    assert ids(db) == list(range(1, 201))
    assert acme.most_at_once == 3
    assert "200 records" in said[0]
    assert "4 parts, 3 read at a time" in said[1]
    row = db.execute("select source_count from mkt_ops.sync_runs order by 1").fetchone()
    assert row == (200,)


def test_an_interrupted_load_goes_on_in_each_part(
    db: Warehouse, acme: Acme, sync: Sync, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What was read before the vendor failed is not read again: parts resume at their page."""
    monkeypatch.setattr(engine, "BATCH_ROWS", 10)
    acme.add(*(person(number) for number in range(1, 201)))
    acme.fail = lambda path: (503, b"{}") if "low=153" in path and "after=20" in path else None
    with pytest.raises(RetryableError):
        sync("people")
    stored = len(ids(db))
    assert 20 <= stored < 200
    state = db.execute("select page_state from mkt_ops.sync_cursors").fetchone()
    assert state is not None and len(state[0]["parts"]) == 4
    acme.fail = lambda _path: None
    acme.calls.clear()
    assert sync("people").balanced
    assert ids(db) == list(range(1, 201))
    pages = [call for call in acme.calls if "after=" in call]
    assert len(pages) <= (200 - stored) // 10 + 4


def test_a_change_during_the_load_is_not_lost(
    db: Warehouse, acme: Acme, sync: Sync, frozen_clock: FrozenClock
) -> None:
    """A record that changes after its part was read, while a later one shows a newer time: the
    cursor stays before the load began, so that the next run reads the change.
    """
    now = frozen_clock.instant
    acme.add(*(person(number) for number in range(1, 101)))

    def change(path: str) -> None:
        if "low=78" in path:
            acme.add(person(1, now + timedelta(minutes=10), name="changed"))
            acme.add(person(100, now + timedelta(minutes=30)))

    acme.fail = change
    sync("people")
    acme.fail = lambda _path: None
    frozen_clock.move(now + timedelta(hours=1))
    assert sync("people").kind == "incremental"
    row = db.execute("select name from mkt_raw.acme__people where id = '1'").fetchone()
    assert row == ("changed",)


def test_a_vendor_whose_clock_is_behind_loses_nothing(
    db: Warehouse, acme: Acme, sync: Sync, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Ours is twenty minutes ahead: a change after its part was read lies before our "now", but
    not before the vendor's; the cursor goes by the vendor's.
    """
    monkeypatch.delenv(clock.CLOCK_FILE_VARIABLE)
    theirs = clock.now() - timedelta(minutes=20)
    acme.behind = 20 * 60
    acme.add(*(person(number) for number in range(1, 101)))

    def change(path: str) -> None:
        if "low=78" in path:
            acme.add(person(1, theirs + timedelta(minutes=2), name="changed"))
            acme.add(person(100, theirs + timedelta(minutes=10)))

    acme.fail = change
    sync("people")
    acme.fail = lambda _path: None
    sync("people")
    row = db.execute("select name from mkt_raw.acme__people where id = '1'").fetchone()
    assert row == ("changed",)


def test_a_merge_buries_what_it_absorbed(
    db: Warehouse, acme: Acme, sync: Sync, frozen_clock: FrozenClock
) -> None:
    """A record that names the ids it absorbed tombstones them, once; the books say so."""
    acme.add(person(1), person(2), person(3))
    sync("people")
    later = frozen_clock.instant
    del acme.people["1"], acme.people["2"]
    acme.add(person(9, later, merged_ids="1;2"))
    report = sync("people")
    assert (ids(db), ids(db, deleted=True)) == ([3, 9], [1, 2])
    assert report.counts["people"]["tombstoned"] == 2
    again = sync("people")
    assert again.counts["people"]["tombstoned"] == 0
    assert again.balanced


def test_a_snapshot_shows_what_is_there_now(db: Warehouse, acme: Acme, sync: Sync) -> None:
    """Without a time of change each run reads all: what is absent is gone, what is back is back;
    the first run is the baseline, later ones are news, and a backfill has nothing to read.
    """
    acme.badges = {str(n): {"id": str(n), "title": f"t{n}"} for n in range(1, 31)}
    assert sync("badges").kind == "initial"
    acme.badges.pop("7")
    report = sync("badges")
    assert (report.kind, report.written) == ("incremental", 1)
    assert ids(db, "badges", deleted=True) == [7]
    acme.badges["7"] = {"id": "7", "title": "t7"}
    assert sync("badges").written == 1
    assert ids(db, "badges", deleted=True) == []
    assert sync("badges").written == 0
    with pytest.raises(FatalError, match="no history"):
        sync("badges", kind="backfill", window=Window(START, START + timedelta(days=1)))


def test_a_snapshot_of_nothing_is_not_believed(db: Warehouse, acme: Acme, sync: Sync) -> None:
    """An empty answer where thirty rows stand fails and deletes nothing; a full refresh, which
    somebody asked for, takes the source at its word.
    """
    acme.badges = {str(n): {"id": str(n), "title": f"t{n}"} for n in range(1, 31)}
    sync("badges")
    acme.badges = {}
    with pytest.raises(FatalError, match="shows none of 30 badges"):
        sync("badges")
    assert len(ids(db, "badges")) == 30
    assert sync("badges", kind="full_refresh").counts["badges"]["tombstoned"] == 30


def test_a_file_in_the_making_is_left_alone(
    db: Warehouse, acme: Acme, sync: Sync, frozen_clock: FrozenClock
) -> None:
    """Past its patience a run ends as postponed, with the state to go on; then it reads on."""
    acme.add(person(1))
    with pytest.raises(StillRunningError) as first:
        sync("files", patience=0)
    status = db.execute("select status from mkt_ops.sync_runs order by 1 desc").fetchone()
    assert status == ("postponed",)
    with pytest.raises(StillRunningError) as second:
        sync("files", patience=0, resume=first.value.state)
    assert sync("files", patience=0, resume=second.value.state).written == 1


def test_odd_fields_are_kept_said_once_and_checked(
    db: Warehouse, acme: Acme, sync: Sync, frozen_clock: FrozenClock
) -> None:
    """New, retyped and vanished fields stop nothing: they are kept in extra, said once, and a
    check finds those that make what we read incomplete.
    """
    from marketing_ops.watch import run_check

    acme.add(*(person(number) for number in range(1, 41)))
    sync("people")
    db.execute("analyze mkt_raw.acme__people")
    for one in acme.people.values():
        one["mood"] = "good"
        one["score"] = "many"
        del one["name"]
    said: list[str] = []
    sync("people", kind="full_refresh", said=said)
    lines = "\n".join(said)
    assert "new fields, kept in `extra`: mood" in lines
    assert "fields of another type, kept in `extra`: score" in lines
    assert "fields that no record shows any more: name" in lines
    extra = db.execute("select extra from mkt_raw.acme__people where id = '1'").fetchone()
    assert extra == ({"mood": "good", "score": "many"},)
    said.clear()
    sync("people", kind="full_refresh", said=said)
    assert "fields" not in "\n".join(said)
    result = run_check(db, "changed_fields", frozen_clock.instant)
    assert [finding.split(":")[0] for finding in result.findings] == [
        "acme_main.people.name",
        "acme_main.people.score",
    ]


def test_reconciliation_repairs_what_no_sync_saw(db: Warehouse, acme: Acme, sync: Sync) -> None:
    """Lost, deleted, restored and silently changed records: one comparison, all repaired, booked,
    written down; the next one finds nothing.
    """
    acme.add(*(person(number) for number in range(1, 51)))
    sync("people")
    db.execute("delete from mkt_raw.acme__people where id = '5'")
    db.execute(
        "update mkt_raw.acme__people set is_deleted = true, source_updated_at = now()"
        " where id = '6'"
    )
    del acme.people["7"]
    acme.add(person(8, START + timedelta(hours=1), name="silent"))
    db.execute("update mkt_ops.sync_cursors set cursor_at = %s", (START + timedelta(days=30),))
    db.execute("update mkt_raw.acme__people set loaded_at = loaded_at - interval '1 minute'")
    found = reconcile_stream(db, "acme_main", "people", resolve=resolver(acme))
    assert (found.missing, found.outdated, found.gone) == (2, 1, 1)
    assert (found.repaired, found.unrepaired) == (4, 0)
    assert ids(db) == [number for number in range(1, 51) if number != 7]
    row = db.execute("select missing, outdated, gone, unrepaired from mkt_ops.reconciliations")
    assert row.fetchone() == (2, 1, 1, 0)
    again = reconcile_stream(db, "acme_main", "people", resolve=resolver(acme))
    assert (again.missing, again.outdated, again.gone) == (0, 0, 0)


def test_reconciliation_never_empties_a_table(db: Warehouse, acme: Acme, sync: Sync) -> None:
    """A source that suddenly lists almost nothing is not believed: nothing is deleted."""
    acme.add(*(person(number) for number in range(1, 201)))
    sync("people")
    db.execute("update mkt_raw.acme__people set loaded_at = loaded_at - interval '1 minute'")
    acme.people = {"1": person(1)}
    with pytest.raises(FatalError, match="would be deleted"):
        reconcile_stream(db, "acme_main", "people", resolve=resolver(acme))
    assert len(ids(db)) == 200


def test_a_difference_that_stays_fails_the_run(db: Warehouse, acme: Acme, sync: Sync) -> None:
    """A record that is listed but cannot be stored is reported, and the task fails."""
    acme.add(person(1), person(2))
    sync("people")
    db.execute("update mkt_ops.sync_cursors set cursor_at = %s", (START + timedelta(days=30),))
    db.execute("update mkt_raw.acme__people set loaded_at = loaded_at - interval '1 minute'")
    acme.add(person(2, START + timedelta(hours=1)))
    acme.fail = lambda path: (
        (200, b'[{"id":"2","name":"x","updated_at":null}]') if "ids=" in path else None
    )
    with pytest.raises(FatalError, match="could not be repaired"):
        reconcile_stream(db, "acme_main", "people", resolve=resolver(acme))
    row = db.execute("select unrepaired from mkt_ops.reconciliations").fetchone()
    assert row == (1,)


def test_rejected_records_are_replayed(db: Warehouse, acme: Acme, sync: Sync) -> None:
    """A dry run says what would happen; the real one reads records anew, stores those that are
    mended, forgets those that are gone and keeps the rest; doing it twice changes nothing.
    """
    acme.add(*(person(number) for number in range(1, 5)))
    for number in "123":
        acme.people[number]["updated_at"] = None
    sync("people")
    assert ids(db) == [4]
    dry = replay_rejected(db, "acme_main", "people", resolve=resolver(acme), is_dry_run=True)
    assert (dry.waiting, dry.stored) == (3, 0)
    acme.add(person(1))
    del acme.people["2"]
    done = replay_rejected(db, "acme_main", "people", resolve=resolver(acme), is_dry_run=False)
    assert (done.waiting, done.stored, done.gone, done.still_rejected.total()) == (3, 1, 1, 1)
    assert ids(db) == [1, 4]
    waiting = db.execute(
        "select record_id from mkt_ops.rejected_records where replayed_at is null"
    ).fetchall()
    assert waiting == [("3",)]
    again = replay_rejected(db, "acme_main", "people", resolve=resolver(acme), is_dry_run=False)
    assert (again.waiting, again.stored) == (1, 0)


def test_a_replay_tries_each_record_once(db: Warehouse, acme: Acme, sync: Sync) -> None:
    """Pages full of records that are still broken at the source, and differently: they are kept
    anew behind the others, and the replay ends.
    """
    acme.add(*(person(number, updated_at=None) for number in range(1, 101)))
    with pytest.raises(FatalError, match="unusable"):
        sync("people")
    acme.add(*(person(number, updated_at=None, name="again") for number in range(1, 101)))
    asked: list[str] = []

    def once(path: str) -> tuple[int, bytes] | None:
        asked.append(path)
        return (401, b"{}") if len(asked) > 1 else None

    acme.fail = once
    done = replay_rejected(db, "acme_main", "people", resolve=resolver(acme), is_dry_run=False)
    assert (done.waiting, done.still_rejected.total()) == (100, 100)


def test_only_what_a_vendor_shows_by_id_is_read_anew(db: Warehouse, acme: Acme, sync: Sync) -> None:
    """A vendor that knows no badge by its id would call each one gone: the kept bytes are tried,
    and the record goes on waiting.
    """
    acme.badges = {"1": {"id": True, "title": "no text for an id"}}
    sync("badges")
    acme.fail = lambda path: (200, b"[]") if "ids=" in path else None
    done = replay_rejected(db, "acme_main", "badges", resolve=resolver(acme), is_dry_run=False)
    assert (done.waiting, done.gone, done.still_rejected.total()) == (1, 0, 1)


def test_what_is_rejected_is_not_gone(db: Warehouse, acme: Acme, sync: Sync) -> None:
    """A full read deletes no row whose record it saw and could not use; and none at all when such
    a record does not even say which one it is.
    """
    acme.add(person(1), person(2), person(3))
    sync("people")
    acme.people["1"]["updated_at"] = None
    del acme.people["3"]
    sync("people", kind="full_refresh")
    assert (ids(db), ids(db, deleted=True)) == ([1, 2], [3])
    del acme.people["2"]
    acme.fail = lambda path: (
        (200, b'{"records":[{"name":"x"}],"more":false}') if "after=" in path else None
    )
    said: list[str] = []
    sync("people", kind="full_refresh", said=said)
    assert ids(db) == [1, 2]
    assert "nothing is marked as deleted" in "\n".join(said)


def test_a_comparison_repairs_beside_what_is_broken(db: Warehouse, acme: Acme, sync: Sync) -> None:
    """Records that are broken at the source do not keep others from being repaired; the task fails
    with their number.
    """
    acme.add(*(person(number) for number in range(1, 11)))
    sync("people")
    db.execute("update mkt_raw.acme__people set loaded_at = loaded_at - interval '1 minute'")
    db.execute("delete from mkt_raw.acme__people where id::int <= 7")
    db.execute("update mkt_ops.sync_cursors set cursor_at = %s", (START + timedelta(days=30),))
    broken = [person(number, updated_at=None) for number in range(1, 7)] + [person(7)]
    acme.fail = lambda path: (200, json.dumps(broken).encode()) if "ids=" in path else None
    with pytest.raises(FatalError, match="6 records of acme_main people differ"):
        reconcile_stream(db, "acme_main", "people", resolve=resolver(acme))
    assert ids(db) == [7, 8, 9, 10]


def test_rejected_records_fill_a_batch_too(
    db: Warehouse, acme: Acme, sync: Sync, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A vendor of whose records none is usable is not read to its end, all of them in memory."""
    monkeypatch.setattr(engine, "BATCH_ROWS", 10)
    acme.add(*(person(number, updated_at=None) for number in range(1, 601)))
    with pytest.raises(FatalError, match="unusable"):
        sync("people")
    assert len(acme.calls) < 45


def test_large_records_fill_a_batch() -> None:
    """A batch knows about how much it holds, whatever way its records came."""
    batch = Batch(PEOPLE)
    batch.add_page(Page(records=[person(1, name="x" * 5000), person(2, updated_at=None)]))
    assert 5000 < batch.bytes < 6000
    batch.add_page(Page(records=[person(3, merged_ids="x" * 3000)]))
    assert 8000 < batch.bytes < 9000


@pytest.mark.parametrize("kind", [None, "full_refresh"])
def test_the_cursor_after_a_file_is_when_it_was_asked_for(
    db: Warehouse, acme: Acme, sync: Sync, frozen_clock: FrozenClock, kind: Any
) -> None:
    """A record may change after it went into the file, while a later one shows a newer time: the
    cursor stays before the file, however long the vendor wrote it.
    """
    asked_at = frozen_clock.instant
    acme.add(person(1))
    with pytest.raises(StillRunningError) as first:
        sync("files", kind=kind, patience=0)
    frozen_clock.move(asked_at + timedelta(hours=1))
    with pytest.raises(StillRunningError) as second:
        sync("files", kind=kind, patience=0, resume=first.value.state)
    acme.add(person(2, asked_at + timedelta(minutes=50)))
    sync("files", kind=kind, patience=0, resume=second.value.state)
    (cursor,) = db.execute("select cursor_at from mkt_ops.sync_cursors").fetchone()  # type: ignore[misc]
    assert cursor <= asked_at


def test_what_a_snapshots_parent_lost_is_gone(db: Warehouse, acme: Acme, sync: Sync) -> None:
    """Nothing else about the parent changes, and it has no time: what its list shows counts. A list
    that is not shown, or shown with something broken in it, deletes nothing.
    """
    seats = [{"id": "1"}, {"id": "2"}, {"id": "3"}]
    acme.teams = {"7": {"id": "7", "title": "t", "seats": list(seats)}}
    sync("teams")
    del acme.teams["7"]["seats"][1]
    assert sync("teams").counts["seats"]["tombstoned"] == 1
    assert (ids(db, "seats"), ids(db, "seats", deleted=True)) == ([1, 3], [2])
    acme.teams["7"]["seats"] = [{"id": "1"}, "broken"]
    sync("teams")
    del acme.teams["7"]["seats"]
    sync("teams")
    assert ids(db, "seats") == [1, 3]


def test_what_another_run_wrote_meanwhile_is_not_gone(
    db: Warehouse, acme: Acme, sync: Sync, frozen_clock: FrozenClock
) -> None:
    """A record that was made behind a full read's back and read by another run stays; the next
    full read judges it.
    """
    acme.badges = {str(n): {"id": str(n), "title": "t"} for n in range(10, 25)}
    sync("badges")

    def meanwhile(path: str) -> None:
        if "after=10" in path:
            acme.fail = lambda _path: None
            acme.badges["1"] = {"id": "1", "title": "new"}
            frozen_clock.move(frozen_clock.instant + timedelta(minutes=1))
            with another(db)() as beside:
                now = Window(frozen_clock.instant, frozen_clock.instant)
                sync_stream(beside, "acme_main", "badges", now, resolve=resolver(acme))

    acme.fail = meanwhile
    assert sync("badges").balanced
    assert ids(db, "badges") == [1, *range(10, 25)]
    del acme.badges["1"]
    frozen_clock.move(frozen_clock.instant + timedelta(minutes=1))
    sync("badges")
    assert ids(db, "badges") == list(range(10, 25))


def test_a_used_up_quota_outlasts_the_end_of_other_runs(
    db: Warehouse, acme: Acme, sync: Sync, frozen_clock: FrozenClock
) -> None:
    """A run that began before the account was blocked ends well, or fails: the block stays."""
    acme.add(person(1))
    reset = frozen_clock.instant + timedelta(hours=6)
    state = {"account": "acme_main", "reason": "quota", "updated_at": frozen_clock.instant}
    sqlfile.execute(db, "ops/write_account_state", {**state, "blocked_until": None})

    def block(path: str) -> None:
        sqlfile.execute(beside, "ops/write_account_state", {**state, "blocked_until": reset})

    acme.fail = block
    with another(db)() as beside:
        sync("people")
    blocked = db.execute("select blocked_until from mkt_ops.account_state").fetchone()
    assert blocked == (reset,)
    with pytest.raises(QuotaExhaustedError):
        sync("people")
    frozen_clock.move(reset)
    acme.fail = lambda _path: None
    sync("people")
    assert db.execute("select blocked_until from mkt_ops.account_state").fetchone() == (None,)


def test_an_empty_id_is_none(db: Warehouse, acme: Acme, sync: Sync) -> None:
    """Records with an empty id would all become one row: they are rejected, as are nested ones."""
    nameless = [{**person(1), "id": ""}]
    acme.fail = lambda path: (
        (200, json.dumps({"records": nameless, "more": False}).encode())
        if "after=" in path
        else None
    )
    assert sync("people").counts["people"]["rejected"] == 4  # one in each part
    assert ids(db) == []
    acme.fail = lambda _path: None
    acme.teams = {"7": {"id": "7", "title": "t", "seats": [{"id": ""}, {"id": "1"}]}}
    assert sync("teams").counts["seats"]["rejected"] == 1
