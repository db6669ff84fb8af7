from __future__ import annotations

import re
from pathlib import Path

import pytest

from marketing_ops import cli
from marketing_ops.warehouse import Warehouse

ROOT = Path(__file__).resolve().parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")


def test_every_table_is_documented(db: Warehouse) -> None:
    """Nobody ever meets an undocumented table: docs/warehouse.md names each, and no other."""
    text = (ROOT / "docs" / "warehouse.md").read_text(encoding="utf-8")
    by_schema = dict(re.findall(r"^## (mkt_\w+)(.*?)(?=^## |\Z)", text, re.MULTILINE | re.DOTALL))
    rows = db.execute(
        "select n.nspname, c.relname from pg_class c join pg_namespace n on n.oid = c.relnamespace"
        " where n.nspname like 'mkt\\_%' and c.relkind in ('r', 'p', 'v') and not c.relispartition"
    ).fetchall()
    for schema, table in rows:
        assert f"`{table}`" in by_schema[schema], f"{schema}.{table} is not in docs/warehouse.md"


def test_every_make_target_of_the_readme_exists() -> None:
    """A command that the README names works."""
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    for target in set(re.findall(r"\bmake ([a-z]+)\b", README)):
        assert re.search(rf"^{target}:", makefile, re.MULTILINE), target


def test_every_command_of_the_readme_exists(capsys: pytest.CaptureFixture[str]) -> None:
    """`marketing-ops x` in the README is a command of the CLI."""
    with pytest.raises(SystemExit):
        cli.main(["--help"])
    known = capsys.readouterr().out
    for command in set(re.findall(r"`marketing-ops ([a-z-]+)", README)):
        assert f"    {command}" in known, command


@pytest.mark.parametrize("page", ["README.md", "docs/decisions/README.md", "docs/warehouse.md"])
def test_links_between_our_pages_lead_somewhere(page: str) -> None:
    """A relative link of a page names a file that exists."""
    path = ROOT / page
    for link in re.findall(r"\]\(([^)#:]+)\)", path.read_text(encoding="utf-8")):
        assert (path.parent / link).exists(), f"{page} links to {link}"


def test_every_dag_of_the_readme_exists() -> None:
    """A DAG id in the README is a file in dags/."""
    dags = {path.stem for path in (ROOT / "dags").glob("[a-z]*.py")}
    named = set(
        re.findall(
            r"`((?:sync|unify|segment|run|deliver|rollup|watch|maintain|control)_\w+)`", README
        )
    )
    assert named
    assert named <= dags
