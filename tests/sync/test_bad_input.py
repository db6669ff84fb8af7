"""What a vendor, a network or a disk can do to a run: one clear sentence, and nothing lost."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from marketing_ops.connections import from_environment
from marketing_ops.errors import FatalError, QuotaExhaustedError, RetryableError
from marketing_ops.sources.shopify import bulk
from marketing_ops.sources.shopify.client import ShopifyClient
from marketing_ops.sync.runner import sync_stream
from marketing_ops.warehouse import Warehouse
from marketing_ops.window import Window
from tests.conftest import FrozenClock
from tests.sync.conftest import ACCOUNT, Sync, include_copy
from tests.sync.fakeshop import FakeShop, Handler, customer, line, order

NOON = datetime(2026, 3, 2, 12, tzinfo=UTC)
DAY = timedelta(days=1)
Rows = Callable[..., list[dict[str, Any]]]


def last_run(db: Warehouse) -> tuple[Any, ...]:
    row = db.execute(
        "select status, error from mkt_ops.sync_runs order by sync_run_id desc limit 1"
    ).fetchone()
    assert row is not None
    return row


def once(fault: Callable[[Handler], None], times: int = 1) -> Callable[[Handler], bool]:
    """A fault for the first `times` requests."""
    left = [times]

    def answer(handler: Handler) -> bool:
        if left[0] <= 0:
            return False
        left[0] -= 1
        fault(handler)
        return True

    return answer


def status(code: int, **headers: str) -> Callable[[Handler], None]:
    return lambda handler: handler.send(code, b'{"errors":"no"}', **headers)


def graphql_error(code: str, cost: dict[str, Any] | None = None) -> Callable[[Handler], None]:
    body = {"errors": [{"message": "secret detail", "extensions": {"code": code}}]}
    if cost:
        body["extensions"] = {"cost": cost}  # type: ignore[assignment]
    return lambda handler: handler.send(200, json.dumps(body).encode())


@pytest.fixture(autouse=True)
def _no_sleep(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """Waits are noted, not waited for."""
    waits: list[float] = []
    original = ShopifyClient.__init__

    def patched(self: ShopifyClient, *args: Any, **kwargs: Any) -> None:
        original(self, *args, **{**kwargs, "sleep": waits.append})

    monkeypatch.setattr(ShopifyClient, "__init__", patched)
    return waits


# ------------------------------------------------------------------ configuration


def test_wrong_token_names_what_to_do(sync: Sync, shop: FakeShop, db: Warehouse) -> None:
    """A 401 is fatal: one request, no rows, the sentence says to create a token."""
    with pytest.raises(FatalError, match="token is refused: create a new one") as caught:
        sync("customers", password="shpat_wrong")
    assert "shpat_wrong" not in str(caught.value)
    assert len(shop.headers) == 1
    assert last_run(db)[0] == "failed"
    assert db.execute("select reason is not null from mkt_ops.account_state").fetchone() == (True,)


def test_a_later_success_clears_the_account(sync: Sync, shop: FakeShop, db: Warehouse) -> None:
    """What was wrong with an account is forgotten when it works again."""
    with pytest.raises(FatalError):
        sync("customers", password="shpat_wrong")
    sync("customers")
    assert db.execute("select reason from mkt_ops.account_state").fetchone() == (None,)


def test_unreachable_host_is_retryable_and_named(sync: Sync, db: Warehouse) -> None:
    """Nobody listens: the sentence names the connection and its host as the place to look."""
    with pytest.raises(RetryableError, match=r"`shop_journey` cannot be reached .* check the"):
        sync("customers", host="http://127.0.0.1:9")
    assert last_run(db)[0] == "failed"


def test_missing_connection_says_where_to_create_it(
    db: Warehouse, monkeypatch: pytest.MonkeyPatch, frozen_clock: FrozenClock
) -> None:
    """Without the connection the run fails with the place to create it."""
    monkeypatch.delenv("AIRFLOW_CONN_SHOP_JOURNEY", raising=False)
    window = Window(frozen_clock.instant, frozen_clock.instant)
    with pytest.raises(FatalError, match="Admin > Connections"):
        sync_stream(db, ACCOUNT, "customers", window, resolve=from_environment)
    assert last_run(db)[0] == "failed"


def test_empty_password_is_refused_before_any_call(sync: Sync, shop: FakeShop) -> None:
    """A connection without a secret cannot work: nothing is sent."""
    with pytest.raises(FatalError, match="has no password"):
        sync("customers", password="")
    assert shop.headers == []


def test_misspelt_stream_and_account_get_a_hint(
    sync: Sync, db: Warehouse, frozen_clock: FrozenClock
) -> None:
    """The nearest right spelling is offered."""
    with pytest.raises(FatalError, match="Did you mean `customers`"):
        sync("custommers")
    window = Window(frozen_clock.instant, frozen_clock.instant)
    with pytest.raises(FatalError, match="Did you mean `shop_journey`"):
        sync_stream(db, "shop_jurney", "customers", window, resolve=from_environment)


def test_stream_that_is_off_and_broken_yaml(
    sync: Sync, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A stream switched off is not read; a broken source file names file and line."""
    include = include_copy(tmp_path)
    monkeypatch.setenv("MARKETING_OPS_INCLUDE", str(include))
    path = include / "sources" / "shop_journey.yaml"
    path.write_text(path.read_text().replace("customers: hourly", "customers: off"))
    with pytest.raises(FatalError, match="`customers` is off in include/sources"):
        sync("customers")
    path.write_text(path.read_text().replace("brand:", "brnad:"))
    with pytest.raises(FatalError, match=r"shop_journey\.yaml:\d.*Did you mean `brand`"):
        sync("orders")


def test_unmigrated_warehouse_is_refused(sync: Sync, shop: FakeShop, db: Warehouse) -> None:
    """The run does not even begin; the command to run is named."""
    db.execute("drop table mkt_ops.schema_migrations")
    with pytest.raises(FatalError, match="run `marketing-ops migrate`"):
        sync("customers")
    assert shop.headers == []


def test_full_disk_is_retryable_and_leaves_nothing(
    sync: Sync, shop: FakeShop, db: Warehouse, rows: Rows
) -> None:
    """Error 53100 in a merge: the sentence names it, no row and no cursor; a rerun is whole."""
    shop.records["customers"] = [customer(n, NOON - DAY) for n in range(3)]
    db.execute(
        "create function mkt_raw.full_disk() returns trigger language plpgsql as"
        " $$ begin raise exception 'no space' using errcode = '53100'; end $$"
    )
    db.execute(
        "create trigger full_disk before insert on mkt_raw.shopify__customers"
        " for each row execute function mkt_raw.full_disk()"
    )
    with pytest.raises(RetryableError, match=r"out of disk space \(53100\)"):
        sync("customers")
    assert rows("customers") == []
    assert last_run(db)[0] == "failed"
    assert db.execute("select cursor_at from mkt_ops.sync_cursors").fetchone() == (None,)
    db.execute("drop trigger full_disk on mkt_raw.shopify__customers")
    assert sync("customers").counts["customers"]["inserted"] == 3


def test_unbalanced_books_fail_the_run(
    sync: Sync, shop: FakeShop, db: Warehouse, rows: Rows
) -> None:
    """A row that Postgres silently drops is noticed: nothing of the batch is stored."""
    shop.records["customers"] = [customer(n, NOON - DAY) for n in range(3)]
    db.execute(
        "create function mkt_raw.swallow() returns trigger language plpgsql as"
        " $$ begin if new.id = '1' then return null; end if; return new; end $$"
    )
    db.execute(
        "create trigger swallow before insert on mkt_raw.shopify__customers"
        " for each row execute function mkt_raw.swallow()"
    )
    with pytest.raises(FatalError, match="books of customers do not balance: 3 fetched, 2"):
        sync("customers")
    assert rows("customers") == []


# ------------------------------------------------------------------ the vendor's answers


@pytest.mark.parametrize(
    ("code", "words"),
    [(402, "frozen"), (403, "scope"), (404, "no such shop"), (423, "locked"), (430, "security")],
)
def test_refusals_are_fatal_and_said_in_words(
    sync: Sync, shop: FakeShop, code: int, words: str
) -> None:
    """One request each; the log says what the status means for a shop."""
    shop.faults = [once(status(code), 99)]
    with pytest.raises(FatalError, match=words):
        sync("customers")
    assert len(shop.headers) == 1


def test_access_denied_in_a_200_names_the_scope(sync: Sync, shop: FakeShop) -> None:
    """HTTP 200 is not success; the vendor's message is not shown."""
    shop.faults = [once(graphql_error("ACCESS_DENIED"), 99)]
    with pytest.raises(FatalError, match="grant it the scope") as caught:
        sync("customers", kind="backfill", window=Window(NOON - DAY, NOON))
    assert "secret detail" not in str(caught.value)


def test_throttling_waits_by_cost(sync: Sync, shop: FakeShop, _no_sleep: list[float]) -> None:
    """A throttled query waits for just the points it lacks, and then succeeds."""
    cost = {
        "requestedQueryCost": 300,
        "throttleStatus": {
            "maximumAvailable": 2000,
            "currentlyAvailable": 100,
            "restoreRate": 100,
        },
    }
    shop.faults = [once(graphql_error("THROTTLED", cost), 2)]
    shop.records["customers"] = [customer(1, NOON - DAY / 2)]
    report = sync("customers", kind="backfill", window=Window(NOON - DAY, NOON))
    assert report.counts["customers"]["inserted"] == 1
    assert 2.0 in _no_sleep


def test_too_costly_query_asks_for_less(sync: Sync, shop: FakeShop) -> None:
    """MAX_COST_EXCEEDED halves the page until it is affordable."""
    cheap = 30

    def too_costly(handler: Handler) -> bool:
        last = shop.headers and shop_variables(handler)
        if last and last.get("n", 0) > cheap:
            graphql_error("MAX_COST_EXCEEDED")(handler)
            return True
        return False

    shop.faults = [too_costly]
    shop.records["customers"] = [customer(n, NOON - DAY / 2) for n in range(60)]
    report = sync("customers", kind="backfill", window=Window(NOON - DAY, NOON))
    assert report.counts["customers"]["inserted"] == 60
    assert {variables["n"] for _, variables in shop.requests} == {25}


def shop_variables(handler: Handler) -> dict[str, Any]:
    return handler.body.get("variables") or {}


def test_vendor_errors_pass_after_a_retry(sync: Sync, shop: FakeShop) -> None:
    """A 502, a 429 with Retry-After and an INTERNAL_SERVER_ERROR are tried again, three times."""
    shop.records["customers"] = [customer(1, NOON - DAY / 2)]
    window = Window(NOON - DAY, NOON)
    shop.faults = [once(status(502)), once(graphql_error("INTERNAL_SERVER_ERROR"))]
    assert sync("customers", kind="backfill", window=window).balanced
    shop.faults = [once(status(429, Retry_After="7"))]
    assert sync("customers", kind="backfill", window=window).balanced
    shop.faults = [once(status(503), 99)]
    before = len(shop.headers)
    with pytest.raises(RetryableError, match="fails on its side"):
        sync("customers", kind="backfill", window=window)
    assert len(shop.headers) - before == 3


def test_redirect_to_another_host_is_refused(sync: Sync, shop: FakeShop) -> None:
    """Our token must not travel: the run is fatal and nothing goes to the other host."""
    elsewhere = FakeShop()
    shop.faults = [once(status(302, Location=f"{elsewhere.url}/admin/x"), 99)]
    with pytest.raises(FatalError, match="redirects to another place"):
        sync("customers")
    assert elsewhere.headers == []
    elsewhere.close()


def test_html_instead_of_json_names_the_host(sync: Sync, shop: FakeShop) -> None:
    """A web page with status 200 is no shop."""
    page: Callable[[Handler], None] = lambda handler: handler.send(  # noqa: E731
        200, b"<html>", Content_Type="text/html"
    )
    shop.faults = [once(page, 99)]
    with pytest.raises(FatalError, match="answers no JSON"):
        sync("customers")


def test_compressed_bomb_is_bounded(sync: Sync, shop: FakeShop, monkeypatch: Any) -> None:
    """An answer that unpacks to more than a page ever holds is refused."""
    import gzip

    monkeypatch.setattr("marketing_ops.sources.httpclient.MAX_BODY_BYTES", 1_000_000)
    bomb = gzip.compress(b" " * 5_000_000)
    fault: Callable[[Handler], None] = lambda handler: handler.send(  # noqa: E731
        200, bomb, Content_Encoding="gzip"
    )
    shop.faults = [once(fault, 99)]
    with pytest.raises(FatalError, match="more than"):
        sync("customers", kind="backfill", window=Window(NOON - DAY, NOON))


def test_repeated_page_token_ends_the_run(sync: Sync, shop: FakeShop, monkeypatch: Any) -> None:
    """A cursor that does not move would page for ever."""
    original = FakeShop.page

    def stuck(self: FakeShop, root: str, query: str, variables: dict[str, Any]) -> dict[str, Any]:
        page = original(self, root, query, {**variables, "after": None})
        page["pageInfo"] = {"hasNextPage": True, "endCursor": "same"}
        return page

    monkeypatch.setattr(FakeShop, "page", stuck)
    shop.records["customers"] = [customer(1, NOON - DAY / 2)]
    with pytest.raises(FatalError, match="repeats a page"):
        sync("customers", kind="backfill", window=Window(NOON - DAY, NOON))


def test_daily_quota_postpones_the_account(
    sync: Sync, shop: FakeShop, db: Warehouse, monkeypatch: Any, frozen_clock: FrozenClock
) -> None:
    """A used-up quota ends the run as postponed; until its reset nothing is called."""

    def exhausted(*_: Any) -> None:
        raise QuotaExhaustedError("the daily quota is used up", reset_seconds=3600)

    with monkeypatch.context() as patch:
        patch.setattr("marketing_ops.sources.shopify.answers.check_status", exhausted)
        with pytest.raises(QuotaExhaustedError):
            sync("customers", password="shpat_other")
    assert last_run(db) == ("postponed", "the daily quota is used up")
    calls = len(shop.headers)
    with pytest.raises(QuotaExhaustedError, match="is postponed") as caught:
        sync("orders")
    assert caught.value.reset_seconds == pytest.approx(3600, abs=5)
    assert len(shop.headers) == calls
    frozen_clock.move(NOON + timedelta(hours=2))
    assert sync("orders").status == "success"


def test_client_credentials_fetch_a_token(sync: Sync, shop: FakeShop) -> None:
    """With a login the password is the app's secret: a token is granted once and kept."""
    shop.records["customers"] = [customer(1, NOON - DAY)]
    assert sync("customers", login="client-id", password="client-secret").balanced
    assert sync("customers", login="client-id", password="client-secret").balanced
    granted = [h for h in shop.headers if "X-Shopify-Access-Token" not in h and "Range" not in h]
    assert len([h for h in granted if h.get("Content-Type")]) == 1


# ------------------------------------------------------------------ bulk files


def test_bulk_that_fails_is_run_anew(sync: Sync, shop: FakeShop, db: Warehouse) -> None:
    """FAILED takes nothing of its part; the next try starts another operation."""
    shop.records["customers"] = [customer(1, NOON - DAY)]
    shop.bulk_outcome = {"status": "FAILED", "errorCode": "TIMEOUT"}
    with pytest.raises(RetryableError, match="ended as FAILED"):
        sync("customers")
    shop.bulk_outcome = {"status": "COMPLETED", "errorCode": None}
    assert sync("customers").counts["customers"]["inserted"] == 1
    assert shop.roots().count("bulkOperationRunQuery") == 2


def test_denied_bulk_is_fatal(sync: Sync, shop: FakeShop) -> None:
    """ACCESS_DENIED will not pass: it names the scope."""
    shop.bulk_outcome = {"status": "FAILED", "errorCode": "ACCESS_DENIED"}
    with pytest.raises(FatalError, match="scope"):
        sync("customers")


def test_bulk_without_rows_has_no_url(sync: Sync, shop: FakeShop, db: Warehouse) -> None:
    """An empty shop is loaded: the next run is incremental, so that its rows are news."""
    assert sync("customers").status == "success"
    shop.records["customers"] = [customer(1, NOON - DAY)]
    second = sync("customers")
    assert (second.kind, second.counts["customers"]["inserted"]) == ("incremental", 1)


def test_broken_download_resumes_by_range(sync: Sync, shop: FakeShop, rows: Rows) -> None:
    """A connection cut in the middle of the file goes on at the byte where it broke."""
    shop.records["customers"] = [customer(n, NOON - DAY) for n in range(5000)]
    cuts = [3]

    def cut(handler: Handler) -> bool:
        if handler.command != "GET" or not cuts[0]:
            return False
        cuts[0] -= 1
        text = shop.files["gid://shopify/BulkOperation/1"]
        span = handler.headers.get("Range", "bytes=0-")
        start = int(span.removeprefix("bytes=").partition("-")[0])
        handler.send_response(206 if start else 200)
        handler.send_header("Content-Length", str(len(text) - start))
        handler.end_headers()
        handler.wfile.write(text[start : start + 400_000])
        handler.close_connection = True
        return True

    shop.faults = [cut]
    assert sync("customers").counts["customers"]["inserted"] == 5000
    assert [span for span in shop.ranges if span] and len(shop.ranges) == 4
    assert len(rows("customers")) == 5000


def test_truncated_file_fails_and_marks_nothing_complete(
    sync: Sync, shop: FakeShop, db: Warehouse
) -> None:
    """Fewer records than the operation counts: no cursor, so that the load is repeated."""
    shop.records["customers"] = [customer(n, NOON - DAY) for n in range(5)]
    shop.bulk_counts = (9, 9)
    with pytest.raises(FatalError, match="counts 9 records of customers, 5 were read"):
        sync("customers")
    assert db.execute("select cursor_at from mkt_ops.sync_cursors").fetchone() == (None,)


def test_token_is_not_sent_to_the_file_host(sync: Sync, shop: FakeShop) -> None:
    """Result files lie elsewhere: our secret does not go there."""
    shop.records["customers"] = [customer(1, NOON - DAY)]
    sync("customers")
    assert all(
        "X-Shopify-Access-Token" not in headers
        for headers in shop.headers
        if "Content-Type" not in headers
    )


# ------------------------------------------------------------------ records


def raw(*records: Any) -> bytes:
    lines = [item if isinstance(item, bytes) else json.dumps(item).encode() for item in records]
    return b"\n".join(lines) + b"\n"


def test_unusable_records_are_kept_as_they_came(
    sync: Sync, shop: FakeShop, db: Warehouse, rows: Rows
) -> None:
    """No JSON, NaN, invalid UTF-8, no object, no id, no time: rejected with their bytes; the
    others are stored and the books balance.
    """
    good = customer(1, NOON - DAY)
    nan = json.dumps({**good, "id": "x"}).encode().replace(b'"3"', b"NaN")
    utf8 = json.dumps({**good, "id": "x"}).encode().replace(b"First1", b"\xff\xfe")
    bad = [b'{"id": ', nan, utf8, b"[1]"]
    no_id = {key: value for key, value in good.items() if key != "id"}
    shop.bulk_text = raw(good, *bad, no_id)
    report = sync("customers")
    assert report.counts["customers"]["rejected"] == 5
    assert report.balanced
    found = db.execute("select payload from mkt_ops.rejected_records").fetchall()
    assert {bytes(payload) for (payload,) in found} >= set(bad)
    assert [row["id"] for row in rows("customers")] == ["1"]


def test_a_line_without_an_id_is_rejected(sync: Sync, shop: FakeShop, rows: Rows) -> None:
    """A line item whose id is null stops neither its order nor the run."""
    an_order = order(1, NOON - DAY, [])
    parent = {"__parentId": an_order["id"]}
    shop.bulk_text = raw(an_order, {**line(1), **parent}, {**line(2), **parent, "id": None})
    report = sync("orders")
    assert (report.balanced, len(rows("order_lines"))) == (True, 1)


def test_record_without_a_time_is_rejected(sync: Sync, shop: FakeShop, db: Warehouse) -> None:
    """Without the source's time nobody could tell old from new."""
    shop.bulk_text = raw(customer(1, NOON - DAY), customer(2, NOON, updatedAt="soon"))
    assert sync("customers").counts["customers"]["rejected"] == 1
    found = db.execute("select record_id, reason from mkt_ops.rejected_records").fetchone()
    assert found == ("2", "has no usable updated_at")


def test_the_same_reject_waits_once(sync: Sync, shop: FakeShop, db: Warehouse) -> None:
    """Read again, a rejected record is counted again but not stored twice."""
    shop.bulk_text = raw(customer(1, NOON - DAY), b"nothing")
    sync("customers", kind="full_refresh")
    report = sync("customers", kind="full_refresh")
    assert report.counts["customers"]["rejected"] == 1
    assert db.execute("select count(*) from mkt_ops.rejected_records").fetchone() == (1,)


def test_unusable_record_in_a_page_spares_the_others(
    sync: Sync, shop: FakeShop, db: Warehouse, rows: Rows
) -> None:
    """A lone surrogate or NaN in one node of a page rejects that node only."""
    shop.records["customers"] = [customer(n, NOON - DAY / 2) for n in range(3)]
    shop.records["customers"][1]["firstName"] = "\ud800"
    shop.records["customers"][2]["amountSpent"]["amount"] = float("nan")
    shop.ensure_ascii = True
    report = sync("customers", kind="backfill", window=Window(NOON - DAY, NOON))
    assert report.counts["customers"]["rejected"] == 2
    assert [row["id"] for row in rows("customers")] == ["0"]


def test_too_large_record_is_put_aside(
    sync: Sync, shop: FakeShop, db: Warehouse, rows: Rows, monkeypatch: Any
) -> None:
    """A record beyond the limit is rejected with its beginning; those around it are stored."""
    monkeypatch.setattr(bulk, "MAX_LINE_BYTES", 600_000)
    monkeypatch.setattr(bulk, "_KEPT_BYTES", 1000)
    huge = customer(2, NOON - DAY, lastName="x" * 3_000_000)
    shop.bulk_text = raw(customer(1, NOON - DAY), huge, customer(3, NOON - DAY))
    assert sync("customers").counts["customers"]["rejected"] == 1
    assert [row["id"] for row in rows("customers")] == ["1", "3"]
    reason, size = db.execute(  # type: ignore[misc]
        "select reason, length(payload) from mkt_ops.rejected_records"
    ).fetchone()
    assert reason.startswith("is too large (3000")
    assert size == 1000


def test_too_many_rejects_fail_and_are_kept(sync: Sync, shop: FakeShop, db: Warehouse) -> None:
    """Beyond max_reject_ratio the vendor changed something: no cursor, the rejects are there."""
    shop.bulk_text = raw(
        *[customer(n, NOON - DAY) for n in range(100)], *[b"x%d" % n for n in range(9)]
    )
    with pytest.raises(FatalError, match="9 of 109 records of customers are unusable"):
        sync("customers")
    assert db.execute("select count(*) from mkt_ops.rejected_records").fetchone() == (9,)
    assert db.execute("select cursor_at from mkt_ops.sync_cursors").fetchone() == (None,)


def test_misfits_and_unknown_fields_go_to_extra(sync: Sync, shop: FakeShop, rows: Rows) -> None:
    """A value of a wrong type becomes NULL, the original stays under its column's name; a field
    nobody declared stays too, also a nested one.
    """
    shop.bulk_text = raw(
        customer(
            1,
            NOON - DAY,
            numberOfOrders="many",
            amountSpent={"amount": "NaN", "currencyCode": "USD", "cents": 5},
            createdAt="0001-13-01T00:00:00Z",
            loyalty={"level": 3},
            firstName=["a"],
        )
    )
    sync("customers")
    row = rows("customers")[0]
    assert (row["number_of_orders"], row["amount_spent"], row["created_at"]) == (None, None, None)
    assert row["extra"] == {
        "number_of_orders": "many",
        "amount_spent": "NaN",
        "created_at": "0001-13-01T00:00:00Z",
        "loyalty": {"level": 3},
        "amountSpent.cents": 5,
        "first_name": ["a"],
    }


def test_odd_texts_arrive_unharmed(sync: Sync, shop: FakeShop, rows: Rows) -> None:
    """Tabs, line ends, backslashes, what looks like NULL; only NUL itself is replaced."""
    names = ["a\tb", "a\nb\r", "back\\slash", "\\N", "\\x41", "\x01\x7f", 'q"q', "Đorđe 😀", "a\0b"]
    records = [customer(n, NOON - DAY, firstName=name) for n, name in enumerate(names)]
    shop.bulk_text = raw(*records)
    sync("customers")
    assert [row["first_name"] for row in rows("customers")] == [*names[:-1], "a\ufffdb"]


def test_what_postgres_reads_otherwise_stops_no_batch(
    sync: Sync, shop: FakeShop, rows: Rows
) -> None:
    """NUL in a list, digits of another script, a week's date: Python takes them, Postgres does
    not. The record is stored all the same, and its neighbour.
    """
    tags = ["a\0b", "\\u0000", "\\\0"]
    odd = customer(1, NOON - DAY, tags=tags, numberOfOrders="\u0661\u0662")
    odd["amountSpent"]["amount"] = "\u0661"
    late = customer(2, NOON - DAY, createdAt="2026-W05-3T00:00:00Z")
    shop.bulk_text = raw(odd, late, customer(3, NOON - DAY, tags=["a\0"]))
    sync("customers")
    first, second, third = rows("customers")
    assert first["tags"] == ["a\ufffdb", "\\u0000", "\\\ufffd"]
    assert third["tags"] == ["a\ufffd"]
    assert (first["number_of_orders"], first["amount_spent"]) == (None, None)
    assert first["extra"]["number_of_orders"] == "\u0661\u0662"
    assert second["created_at"] == datetime(2026, 1, 28, tzinfo=UTC)


def test_year_one_is_a_time_like_others(sync: Sync, shop: FakeShop, rows: Rows) -> None:
    """A vendor's zero date is stored, and does not pull the cursor before the epoch."""
    shop.bulk_text = raw(customer(1, NOON, updatedAt="0001-01-01T00:00:00Z"))
    sync("customers")
    assert rows("customers")[0]["updated_at"].year == 1
    assert sync("customers").kind == "incremental"


def test_time_in_the_future_does_not_carry_the_cursor_away(
    sync: Sync, shop: FakeShop, db: Warehouse, frozen_clock: FrozenClock
) -> None:
    """One record of the year 2099 must not hide all that comes before it."""
    shop.records["customers"] = [customer(1, datetime(2099, 1, 1, tzinfo=UTC))]
    sync("customers")
    (cursor,) = db.execute("select cursor_at from mkt_ops.sync_cursors").fetchone()  # type: ignore[misc]
    assert cursor < NOON
    frozen_clock.move(NOON + timedelta(hours=1))
    shop.records["customers"].append(customer(2, NOON + timedelta(minutes=1)))
    assert sync("customers").counts["customers"]["inserted"] == 1


def test_line_of_an_unknown_kind_is_rejected(sync: Sync, shop: FakeShop) -> None:
    """A child that no stream declares is kept as a reject, not lost."""
    stranger = {"id": "gid://shopify/Metafield/1", "__parentId": "gid://shopify/Order/1"}
    parent = order(1, NOON - DAY, [])
    parent.pop("lineItems")
    shop.bulk_text = raw(parent, {**line(1), "__parentId": parent["id"]}, stranger)
    report = sync("orders")
    assert report.counts["orders"]["rejected"] == 1
    assert report.counts["order_lines"]["inserted"] == 1


def test_child_without_id_is_rejected_and_hides_no_other(
    sync: Sync, shop: FakeShop, rows: Rows, frozen_clock: FrozenClock
) -> None:
    """A broken line is rejected; since the list is not whole, no line counts as vanished."""
    shop.records["orders"] = [order(1, NOON - DAY, [line(1), line(2)])]
    sync("orders")
    frozen_clock.move(NOON + timedelta(hours=1))
    broken = line(2)
    broken["id"] = None
    shop.records["orders"] = [order(1, NOON + timedelta(minutes=1), [line(1), broken])]
    report = sync("orders")
    assert report.counts["order_lines"]["rejected"] == 1
    assert report.counts["order_lines"]["tombstoned"] == 0
