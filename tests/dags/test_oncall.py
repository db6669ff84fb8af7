"""docs/oncall.md says the same as the DAGs themselves."""

from __future__ import annotations

import re
from typing import Any

from marketing_ops.notifiers.dagdoc import sections
from tests.airflow_env import ROOT

TEXT = (ROOT / "docs" / "oncall.md").read_text(encoding="utf-8")


def test_every_dag_is_in_the_table_in_its_own_words(dag_bag: Any) -> None:
    """One row a DAG: meaning, impact, diagnosis and mitigation exactly as in its docstring."""
    for dag_id, dag in dag_bag.dags.items():
        said = sections(dag.doc_md)
        cells = [said[heading] for heading in ("Meaning", "Impact", "Diagnosis", "Mitigation")]
        row = " | ".join([f"`{dag_id}`", *cells])
        assert f"| {row} |" in TEXT, f"docs/oncall.md lacks or misquotes {dag_id}:\n| {row} |"


def test_rerun_matrix_names_every_dag(dag_bag: Any) -> None:
    """The matrix answers for each DAG whether a rerun is safe, in the docstring's words."""
    for dag_id, dag in dag_bag.dags.items():
        safe = sections(dag.doc_md)["Safe to rerun"]
        assert re.search(rf"^\| `{dag_id}` \| {re.escape(safe)} \|", TEXT, flags=re.MULTILINE)


def test_stopping_comes_first() -> None:
    """The first command in the file is the one that stops all sends."""
    assert re.findall(r"marketing-ops [a-z-]+", TEXT)[0] == "marketing-ops stop-sends"


def test_every_check_is_explained() -> None:
    """A row for each file of include/sql/checks, with the sentence that its task shows."""
    for path in (ROOT / "include" / "sql" / "checks").glob("*.sql"):
        says = re.search(r"^-- says: (.+)$", path.read_text(encoding="utf-8"), flags=re.MULTILINE)
        assert says is not None, path.name
        assert f"| `{path.stem}` | {says.group(1)} | " in TEXT, path.name
