from __future__ import annotations

import json
import uuid
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from shutil import copytree

import psycopg
import pytest
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from marketing_ops import paths, warehouse
from marketing_ops.connections import Connection, Resolver
from marketing_ops.doctor import report
from marketing_ops.doctor.examine import examine
from marketing_ops.doctor.report import Section
from marketing_ops.errors import FatalError
from marketing_ops.warehouse import Warehouse
from tests.conftest import FrozenClock
from tests.sandbox_fixtures import SandboxServer

SECRET = "shpat_wrong_and_secret"


def _warehouse(uri: str) -> Connection:
    parts = conninfo_to_dict(uri)
    return Connection(
        warehouse.WAREHOUSE_CONNECTION,
        "postgres",
        host=str(parts.get("host") or ""),
        port=int(parts["port"]) if parts.get("port") else None,
        schema=str(parts["dbname"]),
        login=str(parts.get("user") or "postgres"),
        password=str(parts.get("password") or ""),
    )


def _resolver(*connections: Connection) -> Resolver:
    known = {connection.conn_id: connection for connection in connections}

    def resolve(conn_id: str) -> Connection:
        if conn_id not in known:
            raise FatalError(f"connection `{conn_id}` is not defined: create it")
        return known[conn_id]

    return resolve


@pytest.fixture
def everything(sandbox_at: SandboxServer, warehouse_uri: str) -> list[Connection]:
    """The connections of the shipped files, into the sandbox and this test's warehouse."""
    return [
        _warehouse(warehouse_uri),
        Connection(
            "shop_journey",
            "marketing_ops_shopify",
            host=sandbox_at.shop_url,
            password=sandbox_at.token,
        ),
        Connection("smtp_journey", "marketing_ops_smtp", "127.0.0.1", sandbox_at.smtp_port),
    ]


@pytest.fixture(autouse=True)
def two_accounts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Two accounts, whatever else include/sources ships."""
    folder = tmp_path / "include"
    copytree(paths.include_root(), folder)
    for path in (folder / "sources").glob("*.yaml"):
        if path.stem not in ("shop_journey", "smtp_journey"):
            path.unlink()
    monkeypatch.setenv("MARKETING_OPS_INCLUDE", str(folder))
    return folder


def _said(sections: list[Section], title: str, what: str) -> list[str]:
    """`mark says` of each finding of that name in the section whose title begins so."""
    return [
        f"{report.mark(finding)} {finding.says}"
        for section in sections
        if section.title.startswith(title)
        for finding in section.findings
        if finding.what == what
    ]


def test_all_is_well(everything: list[Connection]) -> None:
    """A deployment without fault: nothing to mend, and nothing can send."""
    found = examine([], _resolver(*everything))
    assert report.problems(found) == 0, report.render(found)
    assert _said(found, "sending", "verdict") == ["ok nothing can send"]
    assert _said(found, "shop_journey", "version") == ["ok API 2026-10"]
    assert _said(found, "shop_journey", "scopes") == [
        "ok may read customers, orders, products, checkouts, product_deletions"
    ]
    assert "points left" in _said(found, "shop_journey", "quota")[0]
    assert _said(found, "smtp_journey", "login")[0].startswith("ok answers without encryption")
    text = report.render(found)
    assert text.endswith("everything is ok")
    assert "shpat_" not in text
    assert "127.0.0.1" not in text


def test_no_mail_is_sent(everything: list[Connection], sandbox_at: SandboxServer) -> None:
    """The examination of an SMTP account ends before MAIL FROM."""
    before = sandbox_at.http.request("GET", f"{sandbox_at.base_url}/mail/").data
    examine(["smtp_journey"], _resolver(*everything))
    assert sandbox_at.http.request("GET", f"{sandbox_at.base_url}/mail/").data == before


def test_one_account_hides_no_other(everything: list[Connection]) -> None:
    """A refused token is a sentence without the token; the others were looked at all the same."""
    broken = Connection("shop_journey", host=everything[1].host, password=SECRET)
    found = examine([], _resolver(everything[0], broken))
    assert "!! `shop_journey` answers 401" in _said(found, "shop_journey", "answer")[0]
    assert _said(found, "smtp_journey", "connection") == [
        "!! connection `smtp_journey` is not defined: create it"
    ]
    assert _said(found, "sending", "verdict") == ["ok nothing can send"]
    assert report.problems(found) == 2
    assert SECRET not in report.render(found) + report.as_json(found)


def test_a_missing_scope_names_the_stream(
    everything: list[Connection], sandbox_at: SandboxServer
) -> None:
    """What may be read is told apart from what may not."""
    sandbox_at.fault("status", status=403, match="{customers(")
    found = examine(["shop_journey"], _resolver(*everything))
    refused, read = _said(found, "shop_journey", "scopes")
    assert refused.startswith("!! customers: `shop_journey` answers 403: the app lacks a scope")
    assert read == "ok may read orders, products, checkouts, product_deletions"


def test_a_silent_vendor_is_left_behind(
    everything: list[Connection], sandbox_at: SandboxServer
) -> None:
    """Whoever does not answer in time costs the others nothing."""
    sandbox_at.fault("slow", seconds=2)
    found = examine([], _resolver(*everything), patience=0.5)
    assert "!! no full answer in time" in _said(found, "shop_journey", "time")[0]
    assert _said(found, "smtp_journey", "login")


def test_offline_calls_nobody(everything: list[Connection], sandbox_at: SandboxServer) -> None:
    """Files and connections can be looked at before anything is reachable."""
    before = len(sandbox_at.requests())
    found = examine([], _resolver(*everything), is_offline=True)
    assert [section.title for section in found] == [
        "warehouse",
        "shop_journey (shopify)",
        "smtp_journey (smtp)",
    ]
    assert report.problems(found) == 0
    assert len(sandbox_at.requests()) == before


def test_a_wrong_file_is_a_finding(two_accounts: Path, warehouse_uri: str) -> None:
    """File, line and key, as lint says them; the other account goes on."""
    (two_accounts / "sources" / "shop_journey.yaml").write_text("source: shop_journey\nsytem: x\n")
    found = examine([], _resolver(_warehouse(warehouse_uri)), is_offline=True)
    assert any("`sytem`" in line for line in _said(found, "shop_journey", "file"))
    assert _said(found, "smtp_journey", "file") == ["ok include/sources/smtp_journey.yaml"]


def test_an_unknown_account_gets_a_hint(warehouse_uri: str) -> None:
    """A typing error is no healthy account."""
    with pytest.raises(FatalError, match="shop_journey"):
        examine(["shop_jurney"], _resolver(_warehouse(warehouse_uri)), is_offline=True)


def test_what_can_send_is_said_plainly(
    db: Warehouse, warehouse_uri: str, frozen_clock: FrozenClock
) -> None:
    """Mode, live campaign and no stop switch: each of the three alone sends nothing."""
    resolve = _resolver(_warehouse(warehouse_uri))
    db.execute(
        "insert into mkt_ops.sending_modes (account, brand, mode, actor, changed_at)"
        " values ('smtp_journey', 'journey', 'live', 'test', now())"
    )
    found = examine([], resolve)
    assert _said(found, "sending", "verdict") == ["ok nothing can send"]
    assert _said(found, "sending", "smtp_journey") == ["-> live: mails reach people"]
    db.execute(
        "insert into mkt_engage.campaigns (campaign, brand, state, state_changed_at,"
        " state_changed_by) values ('welcome', 'journey', 'live', now(), 'test')"
    )
    verdict = _said(examine([], resolve), "sending", "verdict")[0]
    assert verdict.startswith("-> CAN SEND: smtp_journey (welcome)")
    db.execute(
        "insert into mkt_ops.stop_switch values ('journey', true, 'test', '', %s)",
        (frozen_clock.instant,),
    )
    found = examine([], resolve)
    assert _said(found, "sending", "verdict") == ["ok nothing can send"]
    assert "-> journey: stopped since 2026-03-02 12:00" in _said(found, "sending", "stop switch")[0]


def test_a_file_that_was_not_applied_is_noticed(warehouse_uri: str) -> None:
    """The file proposes, `apply` puts in force: a difference is said."""
    found = examine([], _resolver(_warehouse(warehouse_uri)))
    assert _said(found, "sending", "smtp_journey") == [
        "-> its file says live, in force is off: `marketing-ops apply`"
    ]


def test_leftovers_say_what_ends_them(
    db: Warehouse, warehouse_uri: str, frozen_clock: FrozenClock
) -> None:
    """A dead run has to be looked at; a blocked account only waits."""
    db.execute(
        "insert into mkt_ops.account_state values ('shop_journey', %s, 'daily quota used up', %s)",
        (datetime(2026, 3, 3, tzinfo=UTC), frozen_clock.instant),
    )
    db.execute(
        "insert into mkt_ops.sync_runs (account, system, stream, kind, is_baseline, status,"
        " started_at) values ('shop_journey', 'shopify', 'orders', 'initial', true, 'running', %s)",
        (datetime(2026, 2, 28, tzinfo=UTC),),
    )
    found = examine([], _resolver(_warehouse(warehouse_uri)))
    assert _said(found, "warehouse", "blocked") == [
        "-> shop_journey: until 2026-03-03 00:00: daily quota used up"
    ]
    assert _said(found, "warehouse", "running")[0].startswith("!! shop_journey orders: since 2026")
    assert _said(found, "warehouse", "clock")[0].startswith("-> held at 2026-03-02 12:00 UTC")


def test_an_unreachable_warehouse_leaves_the_accounts(everything: list[Connection]) -> None:
    """Whether something can send is then unknown, and said to be."""
    away = Connection(warehouse.WAREHOUSE_CONNECTION, host="127.0.0.1", port=1, schema="x")
    found = examine([], _resolver(away, *everything[1:]))
    assert "cannot be reached" in _said(found, "warehouse", "server")[0]
    assert "unknown whether something can send" in _said(found, "sending", "verdict")[0]
    assert _said(found, "shop_journey", "login")


def test_an_unmigrated_database_cannot_send(postgres_uri: str) -> None:
    """No table, no send; what to run is named."""
    name = f"test_{uuid.uuid4().hex[:12]}"
    with psycopg.connect(postgres_uri, autocommit=True) as admin:
        admin.execute(f"create database {name}".encode())
        found = examine([], _resolver(_warehouse(make_conninfo(postgres_uri, dbname=name))))
        admin.execute(f"drop database {name} with (force)".encode())
    assert "run `marketing-ops migrate`" in _said(found, "warehouse", "version")[0]
    assert _said(found, "sending", "verdict") == [
        "ok nothing can send: the warehouse is not migrated"
    ]


@pytest.fixture
def reader(db: Warehouse) -> Iterator[str]:
    """A role that may only read mkt_ops."""
    role = f"reader_{uuid.uuid4().hex[:8]}"
    db.execute(f"create role {role} login".encode())
    db.execute(f"grant usage on schema mkt_ops to {role}".encode())
    db.execute(f"grant select on all tables in schema mkt_ops to {role}".encode())
    yield role
    db.execute(f"drop owned by {role}".encode())
    db.execute(f"drop role {role}".encode())


def test_a_weak_role_is_told_what_it_lacks(reader: str, warehouse_uri: str) -> None:
    """Grants are looked at before a task fails for want of one; a strong role is a notice."""
    found = examine([], _resolver(_warehouse(make_conninfo(warehouse_uri, user=reader))))
    (lacks,) = _said(found, "warehouse", "grants")
    assert lacks.startswith("!! this role lacks usage on mkt_core")
    assert "tables or views of mkt_ops" in lacks
    assert _said(found, "warehouse", "role") == [f"ok {reader} has no power beyond its database"]
    strong = examine([], _resolver(_warehouse(warehouse_uri)))
    assert "is more than it needs: superuser" in _said(strong, "warehouse", "role")[0]


def test_the_report_for_a_program(warehouse_uri: str) -> None:
    """`--json` says the same."""
    found = examine([], _resolver(_warehouse(warehouse_uri)))
    read = json.loads(report.as_json(found))
    assert read["is_ok"] is False
    assert [section["title"] for section in read["sections"]][:2] == ["warehouse", "sending"]
