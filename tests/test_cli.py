from __future__ import annotations

import json
from pathlib import Path

import pytest
from psycopg.conninfo import conninfo_to_dict

from marketing_ops import cli
from marketing_ops.warehouse import Warehouse
from tests.sandbox_fixtures import SandboxServer


@pytest.fixture
def warehouse_variable(warehouse_uri: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The CLI finds this test's warehouse as a person's shell would name it."""
    parts = conninfo_to_dict(warehouse_uri)
    host = str(parts.get("host") or "127.0.0.1")
    uri = f"postgres://{parts.get('user', 'postgres')}@/{parts['dbname']}?socket={host}"
    if not host.startswith("/"):
        uri = f"postgres://{parts.get('user', 'postgres')}@{host}:{parts['port']}/{parts['dbname']}"
    monkeypatch.setenv("AIRFLOW_CONN_MARKETING_OPS_WAREHOUSE", uri)


def test_missing_connection_is_one_sentence(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """No traceback: what is missing and how to make it, exit code 1."""
    monkeypatch.delenv("AIRFLOW_CONN_MARKETING_OPS_WAREHOUSE", raising=False)
    assert cli.main(["migrate"]) == 1
    error = capsys.readouterr().err
    assert error.startswith("marketing-ops: connection `marketing_ops_warehouse` is not defined")
    assert "Traceback" not in error


@pytest.mark.usefixtures("warehouse_variable")
def test_migrate_says_when_there_is_nothing_to_do(capsys: pytest.CaptureFixture[str]) -> None:
    """An empty state has words too."""
    assert cli.main(["migrate"]) == 0
    assert capsys.readouterr().out == "nothing to migrate\n"


@pytest.mark.usefixtures("warehouse_variable")
def test_migrate_plan_does_nothing_and_says_so(
    db: Warehouse, capsys: pytest.CaptureFixture[str]
) -> None:
    """Exit code 0: it could be migrated; 1: it could not, and the plan says why."""
    assert cli.main(["migrate", "--plan"]) == 0
    assert "nothing to do" in capsys.readouterr().out
    db.execute("insert into mkt_ops.schema_migrations values (9999, 'x', 'x', now())")
    assert cli.main(["migrate", "--plan"]) == 1
    assert "newer than this code" in capsys.readouterr().out


@pytest.mark.usefixtures("warehouse_variable")
def test_unmigrated_warehouse_names_the_command(
    db: Warehouse, capsys: pytest.CaptureFixture[str]
) -> None:
    """Whatever needs tables says how they are made."""
    db.execute("drop table mkt_ops.schema_migrations")
    assert cli.main(["summary"]) == 1
    assert "run `marketing-ops migrate`" in capsys.readouterr().err


@pytest.mark.usefixtures("warehouse_variable")
def test_stop_switch_is_set_audited_and_undone(
    db: Warehouse, capsys: pytest.CaptureFixture[str]
) -> None:
    """The emergency brake: one command, its undo, and a row that says who."""
    assert cli.main(["stop-sends", "--reason", "wrong price"]) == 0
    assert "nothing is sent" in capsys.readouterr().out
    row = db.execute("select is_stopped from mkt_ops.stop_switch where scope = 'all'").fetchone()
    assert row == (True,)
    assert cli.main(["resume-sends"]) == 0
    row = db.execute("select is_stopped from mkt_ops.stop_switch where scope = 'all'").fetchone()
    assert row == (False,)
    audited = db.execute("select count(*) from mkt_ops.audit_log").fetchone()
    assert audited == (2,)


@pytest.fixture
def account_variables(sandbox_at: SandboxServer, monkeypatch: pytest.MonkeyPatch) -> None:
    """The shipped accounts of the demo, in the sandbox."""
    shop = {
        "conn_type": "marketing_ops_shopify",
        "host": sandbox_at.shop_url,
        "password": sandbox_at.token,
    }
    smtp = {
        "conn_type": "marketing_ops_smtp",
        "host": "127.0.0.1",
        "port": sandbox_at.smtp_port,
    }
    monkeypatch.setenv("AIRFLOW_CONN_SHOP_JOURNEY", json.dumps(shop))
    monkeypatch.setenv("AIRFLOW_CONN_SMTP_JOURNEY", json.dumps(smtp))


@pytest.mark.usefixtures("warehouse_variable", "account_variables")
def test_doctor_is_one_page_and_an_exit_code(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """0: nothing to mend. 1: at least one line is marked `!!`."""
    assert cli.main(["doctor", "shop_journey", "smtp_journey"]) == 0
    shown = capsys.readouterr().out
    assert "nothing can send" in shown
    assert "everything is ok" in shown
    monkeypatch.delenv("AIRFLOW_CONN_SHOP_JOURNEY")
    assert cli.main(["doctor", "shop_journey", "--offline", "--json"]) == 1
    assert json.loads(capsys.readouterr().out)["is_ok"] is False


@pytest.mark.usefixtures("account_variables")
def test_estimate_has_a_line_a_stream(
    sandbox_at: SandboxServer, capsys: pytest.CaptureFixture[str]
) -> None:
    """The vendor's own count, without a warehouse; a misspelt stream gets a hint."""
    assert cli.main(["estimate", "shop_journey", "customers", "orders"]) == 0
    orders = len(sandbox_at.truth("orders"))
    lines = capsys.readouterr().out.splitlines()
    assert [line.partition(":")[0] for line in lines] == ["customers", "orders"]
    assert lines[1] == f"orders: {orders:,} records, read as one file"
    assert cli.main(["estimate", "shop_journey", "oders"]) == 1
    assert "orders" in capsys.readouterr().err
    assert cli.main(["estimate", "smtp_journey"]) == 1
    assert "reads no streams" in capsys.readouterr().err


def test_lint_of_the_shipped_files_is_clean(capsys: pytest.CaptureFixture[str]) -> None:
    """What we ship is the first thing people copy."""
    assert cli.main(["lint"]) == 0
    assert "files are fine" in capsys.readouterr().out


def test_lint_names_file_line_key_and_spelling(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The exit code fails a build; the text mends the file."""
    for folder in ("sources", "segments", "campaigns", "kpis", "content"):
        (tmp_path / folder).mkdir()
    (tmp_path / "settings.yaml").write_text("reporting_zone: UTC\nbrands: {}\n")
    monkeypatch.setenv("MARKETING_OPS_INCLUDE", str(tmp_path))
    cli.settings.cache_clear()
    try:
        assert cli.main(["lint"]) == 1
    finally:
        cli.settings.cache_clear()
    assert "settings.yaml:1: `reporting_zone` is not a known key." in capsys.readouterr().out
