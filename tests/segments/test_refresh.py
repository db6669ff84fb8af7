"""Live memberships: who enters and leaves, what enrols nobody, and what is looked at at all."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta

import psycopg
import pytest

from marketing_ops.errors import DefinitionError
from marketing_ops.segments.runner import SegmentReport, refresh
from tests.segments.conftest import NOW, Files, World, days

HOUR = timedelta(hours=1)


def one(reports: list[SegmentReport], name: str) -> SegmentReport:
    return next(report for report in reports if report.segment == name)


def test_first_members_are_baseline(world: World, files: Files) -> None:
    """A first computation enrols nobody; whoever comes later does, and leaves when it is over."""
    files.write("buyers", "event: order_placed\nwithin: 2d")
    with world.batch():
        for number in (1, 2):
            world.contact(number)
        world.event(1, "order_placed", NOW - days(1))
    first = one(refresh(world.db, NOW), "buyers")
    assert (first.members, first.entered, first.baseline, first.is_full) == (1, 1, 1, True)
    with world.batch():
        world.event(2, "order_placed", NOW)
    second = one(refresh(world.db, NOW + HOUR), "buyers")
    assert (second.members, second.entered, second.baseline, second.touched) == (2, 1, 0, 1)
    third = one(refresh(world.db, NOW + days(1)), "buyers")
    assert (third.members, third.left) == (1, 1)
    assert world.stays("buyers") == [
        (1, NOW, NOW + days(1), True),
        (2, NOW + HOUR, None, False),
    ]


def test_twice_at_one_instant_changes_nothing(world: World, files: Files) -> None:
    """A rerun writes no row and touches nobody."""
    files.write("buyers", "event: order_placed")
    with world.batch():
        world.contact(1)
        world.event(1, "order_placed", NOW)
    refresh(world.db, NOW)
    before = world.stays("buyers")
    again = one(refresh(world.db, NOW), "buyers")
    assert (again.entered, again.left, again.touched) == (0, 0, 0)
    assert world.stays("buyers") == before


def test_window_ends_exactly(world: World, files: Files) -> None:
    """The flip is at occurred_at + window: not a microsecond earlier, not later."""
    files.write("buyers", "event: order_placed\nwithin: 2d")
    files.write("quiet", "event: order_placed\neq: 0\nwithin: 2d")
    with world.batch():
        world.contact(1)
        world.event(1, "order_placed", NOW)
    refresh(world.db, NOW)
    assert (world.lived("buyers"), world.lived("quiet")) == ([1], [])
    refresh(world.db, NOW + days(2) - timedelta(microseconds=1))
    assert (world.lived("buyers"), world.lived("quiet")) == ([1], [])
    flipped = refresh(world.db, NOW + days(2))
    assert (world.lived("buyers"), world.lived("quiet")) == ([], [1])
    assert one(flipped, "quiet").baseline == 0


@pytest.mark.parametrize(
    ("where", "before", "after"),
    [
        ("event: order_placed\nbefore: 3d", [], [1]),
        ("event: order_placed\nbetween: [4d, 3d]", [], [1]),
        ("event: subscribed", [], [1]),
        ("attribute: created_at\nwithin: 400d", [1], []),
        ("attribute: birth_date\nanniversary_within: 0d", [], [1]),
        ("attribute: attributes.renewal\nbefore: 5d", [], [1]),
        ("segment: nested", [], [1]),
    ],
)
def test_time_alone_changes_answers(
    world: World, files: Files, where: str, before: list[int], after: list[int]
) -> None:
    """Every rule that looks at the present flips without a new fact."""
    if "nested" in where:  # else its own flip would touch the contact, too
        files.write("nested", "event: order_placed\nbefore: 3d")
    files.write("it", where)
    with world.batch():
        world.contact(
            1,
            since=NOW - days(400) + HOUR,
            birth_date=date(1990, 3, 3),
            attributes={"renewal": "2026-02-26"},
        )
        world.event(1, "order_placed", NOW - days(3) + HOUR)
        world.event(1, "subscribed", NOW + HOUR)
    refresh(world.db, NOW)
    assert world.lived("it") == before
    refresh(world.db, NOW + days(1))
    assert world.lived("it") == after
    assert one(refresh(world.db, NOW + days(1), full=True), "it").entered == 0


def test_only_touched_contacts_are_looked_at(world: World, files: Files) -> None:
    """The cost follows the news: a contact without any is not evaluated, even if its row lies."""
    files.write("buyers", "event: order_placed")
    with world.batch():
        for number in range(1, 20):
            world.contact(number)
    refresh(world.db, NOW)
    with world.batch():
        world.event(7, "order_placed", NOW)
        world.event(8, "email_opened", NOW)  # no segment asks for it
    assert one(refresh(world.db, NOW + HOUR), "buyers").touched == 1


def test_late_and_removed_and_corrected_events(world: World, files: Files) -> None:
    """A late event counts from when it is known; a correction and a removal count at once."""
    files.write("big", "event: order_placed\naggregate: sum\nof: amount\ngte: 100\nwithin: 30d")
    with world.batch():
        for number in (1, 2, 3):
            world.contact(number)
        world.event(2, "order_placed", NOW - days(1), "two", amount=100)
        key = world.event(3, "order_placed", NOW - days(1), "three", amount=100)
    refresh(world.db, NOW)
    assert world.lived("big") == [2, 3]
    with world.batch():
        world.event(1, "order_placed", NOW - days(20), amount=150)
        world.event(2, "order_placed", NOW - days(1), "two", amount=99)
        world.delete_event(key)
    report = one(refresh(world.db, NOW + HOUR), "big")
    assert world.lived("big") == [1]
    assert (report.entered, report.left, report.touched) == (1, 2, 3)


def test_removal_outside_a_batch_is_noticed(world: World, files: Files) -> None:
    """An event erased without a batch of its own still ends the membership."""
    files.write("buyers", "event: order_placed")
    with world.batch():
        world.contact(1)
        key = world.event(1, "order_placed", NOW)
    refresh(world.db, NOW)
    world.delete_event(key)
    refresh(world.db, NOW + HOUR)
    assert world.lived("buyers") == []


def test_attributes_consents_and_deletion(world: World, files: Files) -> None:
    """A changed attribute, a changed consent and a deleted contact are news, too."""
    files.write("serbs", "attribute: country\neq: RS")
    files.write("agreed", "consent: {brand: journey}")
    with world.batch():
        for number in (1, 2, 3):
            world.contact(number, country="RS")
        world.consent(1, "granted", NOW - days(1))
    refresh(world.db, NOW)
    with world.batch():
        world.contact(1, since=NOW, country="DE")
        world.contact(2, since=NOW, country="RS", is_deleted=True)
        world.consent(1, "denied", NOW)
        world.consent(3, "granted", NOW)
    refresh(world.db, NOW + HOUR)
    assert (world.lived("serbs"), world.lived("agreed")) == ([3], [3])


def test_edited_definition_enrols_nobody(world: World, files: Files) -> None:
    """After an edit everyone is looked at; those who enter are baseline, those who stay stay.
    An edit of the words is no edit."""
    files.write("buyers", "event: order_placed\ngte: 2")
    with world.batch():
        for number in (1, 2):
            world.contact(number)
            world.event(number, "order_placed", NOW - days(1))
        world.event(1, "order_placed", NOW)
    refresh(world.db, NOW)
    files.write("buyers", "event: order_placed\ngte: 2", more="sync_to: []")
    assert not one(refresh(world.db, NOW + HOUR), "buyers").is_full
    files.write("buyers", "event: order_placed\ngte: 1")
    report = one(refresh(world.db, NOW + 2 * HOUR), "buyers")
    assert (report.is_full, report.entered, report.baseline, report.members) == (True, 1, 1, 2)
    assert world.stays("buyers") == [(1, NOW, None, True), (2, NOW + 2 * HOUR, None, True)]


def test_edit_of_a_nested_segment_is_an_edit(world: World, files: Files) -> None:
    """Whoever enters because a nested segment was edited is baseline."""
    files.write("inner", "event: order_placed\ngte: 2")
    files.write("outer", "segment: inner")
    with world.batch():
        world.contact(1)
        world.event(1, "order_placed", NOW)
    refresh(world.db, NOW)
    files.write("inner", "event: order_placed")
    report = one(refresh(world.db, NOW + HOUR), "outer")
    assert (report.entered, report.baseline) == (1, 1)


def test_baseline_batches_enrol_nobody(world: World, files: Files) -> None:
    """Who is in only by what a baseline batch brought is baseline, though news touched them too;
    who would be in without it is not."""
    files.write("buyers", "event: order_placed")
    with world.batch():
        for number in (1, 2, 3, 4):
            world.contact(number)
    refresh(world.db, NOW)
    with world.batch(is_baseline=True):
        world.event(1, "order_placed", NOW - days(30))
        world.event(2, "order_placed", NOW - days(30))
        world.event(3, "order_placed", NOW - days(30))
    with world.batch():
        world.event(2, "order_placed", NOW)
        world.contact(3, since=NOW, country="RS")
        world.event(4, "order_placed", NOW)
    refresh(world.db, NOW + HOUR)
    assert [(stay[0], stay[3]) for stay in world.stays("buyers")] == [
        (1, True),
        (2, False),
        (3, True),
        (4, False),
    ]


def test_baseline_consents_and_attributes_enrol_nobody(world: World, files: Files) -> None:
    """The same holds for consents and attributes that only a baseline batch changed."""
    files.write("agreed", "all:\n  - consent: {brand: journey}\n  - {attribute: country, eq: RS}")
    with world.batch():
        for number in (1, 2, 3):
            world.contact(number, country="RS" if number < 3 else "DE")
        world.consent(3, "granted", NOW - days(1))
    refresh(world.db, NOW)
    with world.batch(is_baseline=True):
        world.consent(1, "granted", NOW - days(3))
        world.contact(3, since=NOW - days(3), country="RS")
    with world.batch():
        world.consent(2, "granted", NOW)
    refresh(world.db, NOW + HOUR)
    assert [(stay[0], stay[3]) for stay in world.stays("agreed")] == [
        (1, True),
        (2, False),
        (3, True),
    ]


def test_merge_enrols_nobody(world: World, files: Files) -> None:
    """Two people known before who become one: what that brings about is baseline, and the one
    who went away leaves. A second identity of a new person is no merge of two people."""
    files.write("loyal", "event: order_placed\ngte: 2")
    with world.batch():
        for number in (1, 2, 3):
            world.contact(number)
            world.event(number, "order_placed", NOW - days(1), f"o{number}")
        world.event(2, "order_placed", NOW - days(2), "o4")
    refresh(world.db, NOW)
    assert world.lived("loyal") == [2]
    with world.batch() as batch:
        for moved, into in ((2, 1), (9, 3)):
            world.db.execute(
                "update mkt_core.events set contact_id = %s where contact_id = %s", (into, moved)
            )
            world.db.execute("delete from mkt_core.contacts where contact_id = %s", (moved,))
            world.db.execute(
                "insert into mkt_core.contact_merges (from_contact_id, into_contact_id,"
                " matched_on, batch, merged_at) values (%s, %s, 'email', %s, %s)",
                (moved, into, batch, NOW),
            )
        world.event(3, "order_placed", NOW, "o5")
    refresh(world.db, NOW + HOUR)
    assert world.stays("loyal") == [
        (2, NOW, NOW + HOUR, True),
        (1, NOW + HOUR, None, True),
        (3, NOW + HOUR, None, False),
    ]


def test_members_are_counted_anew_after_a_merge(world: World, files: Files) -> None:
    """Unify joins two open stays into one; the number of members follows."""
    files.write("buyers", "event: order_placed")
    with world.batch():
        for number in (1, 2, 3):
            world.contact(number)
            world.event(number, "order_placed", NOW)
    assert one(refresh(world.db, NOW), "buyers").members == 3
    with world.batch() as batch:
        world.db.execute("update mkt_core.events set contact_id = 1 where contact_id = 2")
        world.db.execute("delete from mkt_engage.segment_memberships where contact_id = 2")
        world.db.execute("delete from mkt_core.contacts where contact_id = 2")
        world.db.execute(
            "insert into mkt_core.contact_merges (from_contact_id, into_contact_id, matched_on,"
            " batch, merged_at) values (2, 1, 'email', %s, %s)",
            (batch, NOW),
        )
    assert one(refresh(world.db, NOW + HOUR), "buyers").members == 2


def test_full_repairs_and_enrols_nobody_by_it(world: World, files: Files) -> None:
    """full=True finds what the ledger of memberships lost; whoever has no news is baseline."""
    files.write("buyers", "event: order_placed")
    with world.batch():
        for number in (1, 2):
            world.contact(number)
        world.event(1, "order_placed", NOW)
    refresh(world.db, NOW)
    world.db.execute("delete from mkt_engage.segment_memberships")
    with world.batch():
        world.event(2, "order_placed", NOW)
    assert one(refresh(world.db, NOW + HOUR, full=True), "buyers").members == 2
    assert [(stay[0], stay[3]) for stay in world.stays("buyers")] == [(1, True), (2, False)]


def test_left_and_back_at_one_instant(world: World, files: Files) -> None:
    """Leaving and coming back at the same instant is one stay."""
    files.write("buyers", "event: order_placed")
    with world.batch():
        world.contact(1)
        key = world.event(1, "order_placed", NOW, "o")
    refresh(world.db, NOW)
    with world.batch():
        world.delete_event(key)
    refresh(world.db, NOW)
    with world.batch():
        world.event(1, "order_placed", NOW, "o")
    refresh(world.db, NOW)
    assert world.stays("buyers") == [(1, NOW, None, True)]


def test_clock_that_goes_back_is_not_followed(world: World, files: Files) -> None:
    """An instant before the last evaluation counts as the last one."""
    files.write("buyers", "event: order_placed\nwithin: 2d")
    with world.batch():
        world.contact(1)
        world.event(1, "order_placed", NOW)
    refresh(world.db, NOW + days(1))
    with world.batch():
        world.contact(1, since=NOW, country="RS")
    refresh(world.db, NOW - days(1))
    assert world.lived("buyers") == [1]


def test_removed_file_is_marked_and_kept(world: World, files: Files) -> None:
    """Memberships of a segment without a file stay; when the file returns it is new. A file that
    is only wrong is not gone."""
    files.write("buyers", "event: order_placed")
    with world.batch():
        for number in (1, 2):
            world.contact(number)
        world.event(1, "order_placed", NOW)
    refresh(world.db, NOW)
    files.write("buyers", "event: order_plced")
    lines: list[str] = []
    assert refresh(world.db, NOW + HOUR, report=lines.append) == []
    assert "order_placed" in lines[0]
    retired = "select retired_at from mkt_engage.segments"
    assert world.db.execute(retired).fetchall() == [(None,)]
    files.remove("buyers")
    refresh(world.db, NOW + 2 * HOUR)
    assert world.db.execute(retired).fetchall() == [(NOW + 2 * HOUR,)]
    assert world.lived("buyers") == [1]
    with world.batch():
        world.event(2, "order_placed", NOW)
    files.write("buyers", "event: order_placed")
    report = one(refresh(world.db, NOW + 3 * HOUR), "buyers")
    assert (report.is_full, report.baseline, report.members) == (True, 1, 2)
    assert world.db.execute(retired).fetchall() == [(None,)]


def test_names_limit_the_call(world: World, files: Files) -> None:
    """Only the named segments move; each catches up from where it was left. An unknown name is
    an error with the nearest right spelling."""
    files.write("buyers", "event: order_placed")
    files.write("quiet", "event: order_placed\neq: 0")
    with world.batch():
        world.contact(1)
    refresh(world.db, NOW)
    with world.batch():
        world.event(1, "order_placed", NOW)
    refresh(world.db, NOW + HOUR, names=["buyers"])
    assert (world.lived("buyers"), world.lived("quiet")) == ([1], [1])
    with world.batch():
        world.contact(2)
    refresh(world.db, NOW + 2 * HOUR)
    assert (world.lived("buyers"), world.lived("quiet")) == ([1], [2])
    with pytest.raises(DefinitionError, match="Did you mean `buyers`"):
        refresh(world.db, NOW, names=["byers"])


def test_category_change_of_a_product_is_news(world: World, files: Files) -> None:
    """Who bought a product is looked at again when it moves to another category."""
    files.write("shoes", "event: order_placed\nwhere: {product_category: shoes}")
    with world.batch():
        for number in (1, 2):
            world.contact(number)
            world.product_order(number, NOW - days(1), number, "hats")
    refresh(world.db, NOW)
    with world.batch() as batch:
        world.db.execute(
            "update mkt_core.products set category = 'shoes', batch = %s where external_id = '1'",
            (batch,),
        )
    assert one(refresh(world.db, NOW + HOUR), "shoes").touched == 1
    assert world.lived("shoes") == [1]


def test_two_at_once_wait_for_each_other(world: World, files: Files, warehouse_uri: str) -> None:
    """While another call holds the lock nothing is evaluated."""
    files.write("buyers", "event: order_placed")
    with psycopg.connect(warehouse_uri, autocommit=True) as other:
        other.execute("select pg_advisory_lock(hashtextextended('marketing_ops:segments', 0))")
        world.db.execute("set lock_timeout = '50ms'")
        with pytest.raises(psycopg.errors.LockNotAvailable):
            refresh(world.db, NOW)
        world.db.execute("set lock_timeout = 0")
    assert [report.segment for report in refresh(world.db, NOW)] == ["buyers"]


def test_known_at_equals_what_was_lived(world: World, files: Files) -> None:
    """After a small history of batches, known_at at each refresh finds the members it found."""
    from marketing_ops.segments import compiler
    from marketing_ops.segments.definition import load_all

    files.write(
        "lapsed",
        "all:\n  - {event: order_placed, gte: 2}\n  - {event: order_placed, eq: 0, within: 3d}",
    )
    files.write("rich", "event: order_placed\naggregate: sum\nof: amount\ngte: 25\nwithin: 3d")
    files.write("agreed", "all:\n  - consent: {brand: journey}\n  - {attribute: country, in: [RS]}")
    lived: list[tuple[datetime, int, dict[str, list[int]]]] = []
    names = ("lapsed", "rich", "agreed")
    for step in range(14):
        at = NOW + step * timedelta(hours=13)
        with world.batch(closed_at=at) as batch:
            number = step % 4 + 1
            world.contact(number, since=at, country="RS" if step % 3 else "DE")
            world.event(
                number, "order_placed", at - days(step % 5), f"o{step % 6}", amount=20 + step
            )
            world.consent(number, "denied" if step % 4 == 3 else "granted", at - HOUR)
            if step % 5 == 4:
                world.db.execute(
                    "delete from mkt_core.events where contact_id = %s", (step % 3 + 1,)
                )
        refresh(world.db, at)
        lived.append((at, batch, {name: world.lived(name) for name in names}))
    assert any(found["lapsed"] for _, _, found in lived)
    assert len({tuple(found["rich"]) for _, _, found in lived}) > 3
    registry, _ = load_all()
    for at, batch, found in lived:
        for name in names:
            sql, params = compiler.rule_sql(
                registry[name].where, registry=registry, mode="known_at"
            )
            rows = world.db.execute(sql.encode(), {**params, "at": at, "batch": batch})
            assert sorted(row[0] for row in rows) == found[name], (name, at)


def test_birthday_begins_and_ends_at_local_midnight(world: World, files: Files) -> None:
    """A date comes and goes at midnight of the reporting zone, by time alone."""
    files.write("birthday", "attribute: birth_date\nanniversary_within: 0d")
    with world.batch():
        world.contact(1, birth_date=date(1990, 3, 2))
    refresh(world.db, datetime(2026, 3, 2, 4, 59, tzinfo=UTC))
    assert world.lived("birthday") == []
    refresh(world.db, datetime(2026, 3, 2, 5, 0, tzinfo=UTC))
    assert world.lived("birthday") == [1]
    refresh(world.db, datetime(2026, 3, 3, 5, 0, tzinfo=UTC))
    assert world.lived("birthday") == []
