from __future__ import annotations

from pathlib import Path

import pytest
from psycopg.conninfo import conninfo_to_dict

from marketing_ops import cli
from marketing_ops.warehouse import Warehouse


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
