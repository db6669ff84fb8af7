"""The loader guard: Airflow runs every module below plugins/ it is not told to leave alone."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
PACKAGE = ROOT / "plugins" / "marketing_ops"
MODULES = sorted(PACKAGE.rglob("*.py"))


def test_airflow_is_told_to_leave_the_package_alone() -> None:
    """plugins/.airflowignore holds the one line that keeps modules from running twice."""
    assert (ROOT / "plugins" / ".airflowignore").read_text(encoding="ascii").split() == [
        "marketing_ops/"
    ]
    assert [path.name for path in (ROOT / "plugins").glob("*.py")] == ["marketing_ops_plugin.py"]


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_module_imports_absolutely_and_hides_nothing(path: Path) -> None:
    """No relative import, and no module or package of a name the standard library has."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    relative = [
        node.lineno for node in ast.walk(tree) if isinstance(node, ast.ImportFrom) and node.level
    ]
    assert relative == []
    name = path.parent.name if path.name == "__init__.py" else path.stem
    assert name not in sys.stdlib_module_names


def test_engines_import_no_airflow() -> None:
    """Only Airflow's faces of the engines know Airflow: operators, notifiers, hooks, pages."""
    faces = {"operators", "notifiers", "triggers", "web"}
    for path in MODULES:
        if path.relative_to(PACKAGE).parts[0] in faces or path.name == "hook.py":
            continue
        tree = ast.parse(path.read_text(encoding="utf-8"))
        names = [
            alias.name
            for node in ast.walk(tree)
            if isinstance(node, ast.Import)
            for alias in node.names
        ]
        names += [node.module or "" for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)]
        assert not [name for name in names if name.split(".")[0] == "airflow"], path


_LOADED = """
import http, csv, json, sys
from airflow import plugins_manager
import marketing_ops.errors
before = marketing_ops.errors.FatalError
plugins_manager.get_plugin_info()
assert not plugins_manager.get_import_errors(), plugins_manager.get_import_errors()
names = [plugin["name"] for plugin in plugins_manager.get_plugin_info()]
assert "marketing_ops" in names, names
for name in ("http", "csv", "json", "mail", "runner", "errors", "settings"):
    loaded = sys.modules.get(name)
    path = getattr(loaded, "__file__", "") or ""
    assert "marketing_ops" not in path, (name, path)
import marketing_ops.operators.base
from marketing_ops.errors import FatalError
assert FatalError is before
own = marketing_ops.errors.__file__
copies = [m for m in sys.modules.values() if getattr(m, "__file__", None) == own]
assert len(copies) == 1, copies
print("loaded once")
"""


def test_airflow_loads_the_plugin_and_each_module_once(tmp_path: Path) -> None:
    """After Airflow's own loader ran, the errors exist once and the standard library is whole."""
    environment = {
        "PATH": "/usr/bin:/bin",
        "AIRFLOW_HOME": str(tmp_path),
        "AIRFLOW__CORE__PLUGINS_FOLDER": str(ROOT / "plugins"),
        "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
        "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": f"sqlite:///{tmp_path}/airflow.db",
    }
    done = subprocess.run(
        [sys.executable, "-c", _LOADED],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    assert done.stdout.strip().endswith("loaded once")
