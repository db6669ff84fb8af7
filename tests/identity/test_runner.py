"""Several processes, several systems: each run once, each system's rows as its view shows them."""

from __future__ import annotations

import threading
from pathlib import Path

import psycopg
import pytest

from marketing_ops.identity.accounts import Account
from marketing_ops.identity.runner import unify
from marketing_ops.paths import include_root
from marketing_ops.warehouse import Warehouse
from tests.identity.story import START, Shop, rows, same_person


def test_two_processes_take_a_run_over_once(shop: Shop, db: Warehouse, warehouse_uri: str) -> None:
    """Both see the same waiting runs; one writes the batch, the other finds them taken."""
    for number in range(1, 20):
        shop.order(number, number)
    shop.sync()
    reports = []

    def work() -> None:
        with psycopg.connect(warehouse_uri, autocommit=True) as connection:
            reports.append(unify(connection, report=lambda line: None))

    threads = [threading.Thread(target=work) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(report.events for report in reports) == [0, 0, 19]
    assert rows(db, "select count(*) from mkt_ops.batches") == [(1,)]


def test_a_new_system_needs_only_its_views(
    shop: Shop, db: Warehouse, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A second shop system's customers and orders come in through views named like the others."""
    shop.customer(1)
    db.execute(
        "create table mkt_raw.other__people (account text, id text, mail text, sync_run_id bigint,"
        " primary key (account, id))"
    )
    db.execute(
        "create view mkt_staging.other__contacts as select 'other'::text as system, account,"
        " id as external_id, mail as email, true as is_email_verified, null::text as phone,"
        " 'Other'::text as first_name, null::text as last_name, 'RS'::text as country,"
        " null::text as region, null::text as city, null::text as postal_code,"
        " null::text as language, null::text as time_zone, null::date as birth_date,"
        " '{}'::jsonb as attributes, timestamptz '2026-01-01Z' as created_at,"
        " timestamptz '2026-01-01Z' as updated_at, false as is_deleted, sync_run_id"
        " from mkt_raw.other__people"
    )
    unions = Path(include_root(), "sql", "staging", "unions.sql").read_text(encoding="utf-8")
    db.execute(unions.encode())
    db.execute(
        "insert into mkt_ops.sync_runs"
        " (account, system, stream, kind, is_baseline, status, started_at, inserted)"
        " values ('other_shop', 'other', 'people', 'initial', false, 'success', %s, 1)",
        (START,),
    )
    db.execute(
        "insert into mkt_raw.other__people"
        " select 'other_shop', '77', 'c1@example.com', max(sync_run_id) from mkt_ops.sync_runs"
    )
    known = {
        shop.account: Account("shopify", "journey"),
        "other_shop": Account("other", "journey"),
    }
    monkeypatch.setattr("marketing_ops.identity.runner.accounts", lambda: known)
    shop.unify()
    assert same_person(db, 1, 77)
    found = rows(db, "select first_name, last_name, country from mkt_core.contacts")
    assert found == [("First1", "Last1", "RS")]
