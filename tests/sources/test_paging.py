"""How long lists are read to their end, exactly once, however the vendor hands them out."""

from __future__ import annotations

import bisect
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from marketing_ops.errors import FatalError
from marketing_ops.sources.paging import (
    DenseError,
    by_cursor,
    by_link,
    by_offset,
    by_token,
    by_windows,
    next_link,
)

HOST = "https://api.example.com"


def pages(*found: tuple[list[Any], str | None]) -> Any:
    """A call that serves the page of each cursor; the first one is at None."""
    places = [None, *(cursor for _, cursor in found[:-1])]
    return dict(zip(places, found, strict=True)).__getitem__


def test_cursor_reads_to_the_end_and_resumes() -> None:
    """The state of each page, given back, goes on after it; the last one's is None."""
    call = pages(([1, 2], "a"), ([3], "b"), ([4], None))
    assert list(by_cursor(call, name="contacts")) == [([1, 2], "a"), ([3], "b"), ([4], None)]
    assert list(by_cursor(call, name="contacts", after="a")) == [([3], "b"), ([4], None)]
    assert list(by_cursor(lambda _: ([], ""), name="contacts")) == [([], None)]


def test_empty_pages_with_a_token_go_on() -> None:
    """A page without records is not the last one while it has a token."""
    call = pages(([], "a"), ([], "b"), ([1], "c"), ([], None))
    assert [records for records, _ in by_token(call, name="activities")] == [[], [], [1], []]
    assert list(by_token(call, name="activities", token="c")) == [([], None)]


@settings(deadline=None)
@given(before=st.integers(0, 20), lap=st.integers(1, 20))
def test_cursors_that_go_round_raise(before: int, lap: int) -> None:
    """However long the circle, and however late it begins, reading ends with an error."""

    def call(after: str | None) -> tuple[list[int], str | None]:
        place = int(after or 0) + 1
        return [place], str(place if place < before + lap else before)

    with pytest.raises(FatalError, match="contacts repeats a page"):
        for number, _ in enumerate(by_cursor(call, name="contacts")):
            assert number < 200
    if lap == 1:
        assert number <= before + 1


def test_the_same_cursor_again_raises_at_once() -> None:
    """A cursor that stands still costs one more page, not many."""
    read = []
    with pytest.raises(FatalError, match="repeats a page"):
        for records, _ in by_token(lambda token: ([token], "same"), name="contacts"):
            read.append(records)
    assert read == [[None], ["same"]]


def test_links_are_followed_on_the_same_host_only() -> None:
    """A relative or whole `next` is followed, another host, port or scheme is refused."""
    found = {
        f"{HOST}/v3/contacts": ([1], '</v3/contacts?page=2>; rel="next"'),
        f"{HOST}/v3/contacts?page=2": ([2], f"<{HOST}:443/v3/contacts?page=3>; rel=next"),
        f"{HOST}:443/v3/contacts?page=3": ([3], f'<{HOST}/v3/contacts>; rel="prev"'),
    }
    read = list(by_link(found.__getitem__, name="contacts", first=f"{HOST}/v3/contacts"))
    assert [records for records, _ in read] == [[1], [2], [3]]
    assert read[-1][1] is None
    resumed = by_link(found.__getitem__, name="contacts", first=str(read[0][1]))
    assert [records for records, _ in resumed] == [[2], [3]]
    for elsewhere in (
        "https://api.example.com.evil.test/2",
        "https://api.example.com@evil.test/2",
        "https://evil.test\\@api.example.com/2",
        "//evil.test/2",
        "http://api.example.com/2",
        "https://api.example.com:8443/2",
        "ftp://api.example.com/2",
    ):
        link = f'<{elsewhere}>; rel="next"'
        with pytest.raises(FatalError, match="another host, which is refused"):
            list(by_link(lambda _, link=link: ([], link), name="contacts", first=f"{HOST}/1"))  # type: ignore[misc]
    with pytest.raises(FatalError, match="repeats a page"):
        list(by_link(lambda _: ([], '</1>; rel="next"'), name="contacts", first=f"{HOST}/1"))


@pytest.mark.parametrize(
    ("header", "target"),
    [
        ("", ""),
        ('<https://h/1>; rel="prev"', ""),
        ('<https://h/1>; rel="prev", <https://h/3>; rel="next"', "https://h/3"),
        ("<https://h/3>;rel=next,<https://h/1>;rel=prev", "https://h/3"),
        ('  < https://h/3 > ;  title="a, b; rel=prev" ; REL = "Next"  ', "https://h/3"),
        ('<https://h/3?a=1,2&b=<x>; rel="first next"', "https://h/3?a=1,2&b=<x"),
        ('<https://h/3>; rel="nextish"', ""),
        ('<https://h/3>; title="; rel=next"', ""),
        ('<https://h/3>; rel="prev"; rel="next"', ""),
        ("<https://h/3>; rel", ""),
        ("https://h/3; rel=next", ""),
    ],
)
def test_link_headers(header: str, target: str) -> None:
    """Several links, odd spacing, quoted commas: only what truly is `next` is taken."""
    assert next_link(header) == target


def test_offsets_end_with_the_total_or_a_short_page() -> None:
    """With a total short pages go on; without one the first short page is the last."""
    rows = list(range(10))

    def counted(offset: int, size: int) -> tuple[list[int], int | None]:
        return rows[offset : offset + min(size, 3)], len(rows)

    def uncounted(offset: int, size: int) -> tuple[list[int], int | None]:
        return rows[offset : offset + size], None

    read = list(by_offset(counted, name="members", size=5))
    assert [row for records, _ in read for row in records] == rows
    assert [state for _, state in read] == [3, 6, 9, None]
    assert [len(records) for records, _ in by_offset(uncounted, name="members", size=4)] == [
        4,
        4,
        2,
    ]
    assert [len(records) for records, _ in by_offset(uncounted, name="members", size=5)] == [
        5,
        5,
        0,
    ]
    resumed = list(by_offset(uncounted, name="members", size=4, start=4, overlap=1))
    assert resumed[0] == ([3, 4, 5, 6], 7)
    assert list(by_offset(lambda *_: ([], 0), name="members", size=4)) == [([], None)]


def test_an_overlap_that_is_never_passed_raises() -> None:
    """A vendor that shows fewer rows than are read again would page for ever."""
    with pytest.raises(FatalError, match="fewer records at a time"):
        list(by_offset(lambda *_: ([1, 2], 99), name="members", size=5, overlap=2))
    with pytest.raises(FatalError, match="needs larger pages"):
        list(by_offset(lambda *_: ([1, 2], 99), name="members", size=5, overlap=5))


def test_rows_in_no_order_raise() -> None:
    """A vendor that shows other rows at each question is not asked for ever."""
    asked = iter(range(10_000_000))

    def call(_offset: int, size: int) -> tuple[list[Any], int]:
        return [next(asked) for _ in range(size)], 100

    with pytest.raises(FatalError, match="move faster than they are read"):
        for _ in by_offset(call, name="lists", size=10, overlap=1, key=lambda row: row):
            pass


@settings(deadline=None)
@given(st.data())
def test_shifting_rows_are_never_skipped(data: st.DataObject) -> None:
    """Rows leave and arrive anywhere while pages are read: each that stays is read."""
    count = data.draw(st.integers(0, 40), "rows")
    rows = [float(number) for number in range(count)]
    staying = set(
        data.draw(st.lists(st.sampled_from(rows), unique=True), "staying") if rows else []
    )
    size = data.draw(st.integers(2, 8), "size")
    overlap = data.draw(st.integers(1, size - 1), "overlap")

    def call(offset: int, wanted: int) -> tuple[list[float], int | None]:
        page, total = rows[offset : offset + wanted], len(rows)
        leaving = [row for row in rows if row not in staying]
        for row in (
            data.draw(st.lists(st.sampled_from(leaving), unique=True), "leave") if leaving else []
        ):
            rows.remove(row)
        if data.draw(st.integers(0, 3), "arrives") == 0 and len(rows) < 60:
            bisect.insort(rows, data.draw(st.floats(0, 40), "new"))
        return page, total

    read = by_offset(call, name="members", size=size, overlap=overlap, key=lambda row: row)
    assert staying <= {row for records, _ in read for row in records}


@settings(deadline=None)
@given(
    keys=st.lists(st.integers(-50, 1050), max_size=200),
    low=st.integers(0, 500),
    length=st.integers(0, 500),
    cap=st.integers(1, 50),
)
def test_windows_cover_exactly_once(keys: list[int], low: int, length: int, cap: int) -> None:
    """In order, without gap or overlap, none above the cap; a moment that is too full is named."""
    keys.sort()

    def count(a: int, b: int) -> int:
        return bisect.bisect_left(keys, b) - bisect.bisect_left(keys, a)

    high, dense = low + length, None
    found: list[tuple[int, int]] = []
    try:
        found.extend(by_windows(count, low, high, cap=cap, name="contacts"))
    except DenseError as error:
        dense = error.at
    ends = [low, *(b for _, b in found)]
    assert [a for a, _ in found] == ends[: len(found)]
    assert all(a < b and count(a, b) <= cap for a, b in found)
    if dense is None:
        assert ends[-1] == high
    else:
        assert ends[-1] == dense
        assert count(dense, dense + 1) > cap


def test_a_moment_with_too_many_records_says_what_to_do() -> None:
    """More than the cap in one unit of time cannot be cut: a full refresh is named."""
    with pytest.raises(
        DenseError, match=r"more than 10 records of contacts .* \(7\).*full refresh"
    ):
        list(by_windows(lambda a, b: 11 if a <= 7 < b else 0, 0, 100, cap=10, name="contacts"))
