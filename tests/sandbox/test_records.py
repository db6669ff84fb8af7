"""The versioned documents of a simulated system."""

from __future__ import annotations

from pathlib import Path

import pytest

from sandbox.records import Change, Records, Version


@pytest.fixture
def records(tmp_path: Path) -> Records:
    """An empty store."""
    return Records(tmp_path / "system.sqlite")


def test_a_version_holds_from_its_instant_until_the_next(records: Records) -> None:
    """The clock may stand anywhere: each instant has its own version."""
    records.put("contact", "1", 200, {"name": "new"})
    records.put("contact", "1", 100, {"name": "old"})

    assert records.get("contact", "1", 99) is None
    assert records.get("contact", "1", 199) == Version("1", 100, 100, {"name": "old"})
    assert records.get("contact", "1", 200) == Version("1", 200, 100, {"name": "new"})
    assert [one.at for one in records.history("contact", "1", 500)] == [100, 200]


def test_a_deleted_record_is_gone_and_may_come_back(records: Records) -> None:
    """From the deletion on it is listed among the gone with its last document, then visible."""
    records.put("contact", "1", 100, {"a": 1})
    records.put("contact", "1", 200, None)
    records.put("contact", "1", 300, {"a": 2})

    assert records.all("contact", 200) == []
    assert records.gone("contact", 200) == [Version("1", 200, 100, {"a": 1})]
    assert records.all("contact", 300) == [Version("1", 300, 100, {"a": 2})]
    assert records.gone("contact", 300) == []
    assert records.all("contact", 150) == [Version("1", 100, 100, {"a": 1})]


def test_a_second_version_of_the_same_instant_replaces_the_first(records: Records) -> None:
    """One record has one version at one instant."""
    records.put("contact", "1", 100, {"a": 1})
    records.put("contact", "1", 100, {"a": 2})

    assert [one.document for one in records.history("contact", "1", 100)] == [{"a": 2}]


def test_what_was_put_is_there_after_a_restart(records: Records, tmp_path: Path) -> None:
    """SQLite keeps versions and facts; another opening finds them."""
    records.put_many([("contact", "1", 100, {"a": 1}), ("company", "9", 100, None)])
    records.put_meta({"seeded_to": 100})

    again = Records(tmp_path / "system.sqlite")

    assert again.all("contact", 100) == [Version("1", 100, 100, {"a": 1})]
    assert again.meta() == {"seeded_to": 100}


def test_changes_name_what_was_before_and_after(records: Records) -> None:
    """The half-open window (after, until], oldest first, over several kinds."""
    records.put("contact", "1", 100, {"a": 1})
    records.put("deal", "5", 150, {"b": 1})
    records.put("contact", "1", 200, None)

    assert records.changes(["contact", "deal"], 100, 200) == [
        Change("deal", "5", 150, None, {"b": 1}),
        Change("contact", "1", 200, {"a": 1}, None),
    ]


def test_an_answer_between_two_changes_is_worked_out_once(records: Records) -> None:
    """Thousands of calls at a moving clock share one list until something changes."""
    records.put_many([("contact", str(key), key, {}) for key in range(100)])

    first = records.all("contact", 200)

    assert records.all("contact", 5000) is first
    records.put("contact", "7", 6000, None)
    assert records.all("contact", 5000) is not first
    assert len(records.all("contact", 6000)) == 99
