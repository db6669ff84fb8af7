"""docs/add_a_source.md, followed to the letter in a copy of the project."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from marketing_ops.connections import Connection
from tests.operators.conftest import connection_json

ROOT = Path(__file__).parents[1]
PAGE = (ROOT / "docs" / "add_a_source.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"^```(\w+)\n(.*?)^```$", PAGE, flags=re.MULTILINE | re.DOTALL)

_VENDOR = """
import sys, threading
from sandbox.parrot import Parrot
from tests.sync.test_parrot import person
vendor = Parrot()
for number in range(120):
    vendor.people[str(number)] = person(number, "2026-03-01T10:00:00+00:00")
print(vendor.url, flush=True)
sys.stdin.read()
"""


def _follow(project: Path) -> list[str]:
    """Write the page's files into a copy of the project; returns its commands."""
    for folder in ("plugins", "include", "sandbox", "tests", "dags"):
        shutil.copytree(ROOT / folder, project / folder)
    shutil.copy(ROOT / "pyproject.toml", project)
    commands = []
    for language, text in BLOCKS:
        if language == "console":
            commands += [line.removeprefix("$ ") for line in text.splitlines()]
            continue
        first, rest = text.split("\n", 1)
        path = project / first.lstrip("#- ").strip()
        if language == "diff":
            with path.open("a", encoding="utf-8") as file:
                file.writelines(line[1:] + "\n" for line in rest.splitlines())
        else:
            assert not path.exists(), f"{path} is there already"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(rest, encoding="utf-8")
    return commands


@pytest.mark.slow
def test_the_page_makes_a_source(tmp_path: Path, postgres_uri: str, warehouse_uri: str) -> None:
    """Every file of the page as it stands and every command of it, in order, against the made-up
    vendor: all succeed.
    """
    project = tmp_path / "project"
    commands = _follow(project)
    assert len(commands) >= 9
    env = {
        **os.environ,
        "PYTHONPATH": f"{project / 'plugins'}:{project}",
        "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
        "MARKETING_OPS_INCLUDE": str(project / "include"),
        "MARKETING_OPS_TEST_POSTGRES": postgres_uri,
        "AIRFLOW_CONN_MARKETING_OPS_WAREHOUSE": connection_json(warehouse_uri),
    }
    vendor = subprocess.Popen(
        [sys.executable, "-c", _VENDOR],
        cwd=project,
        env=env,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert vendor.stdout is not None
    url = vendor.stdout.readline().strip()
    env["AIRFLOW_CONN_PARROT_MAIN"] = f'{{"host": "{url}", "password": "polly"}}'
    assert Connection("parrot_main", host=url).base_url() == url
    try:
        for command in commands:
            done = subprocess.run(
                _as_module(command), cwd=project, env=env, capture_output=True, text=True
            )
            assert done.returncode == 0, (command, done.stdout[-2000:], done.stderr[-2000:])
    finally:
        vendor.communicate()


def _as_module(command: str) -> list[str]:
    """The words of a command, run from the copy and not from the installed package."""
    words = command.split()
    if words[0] == "marketing-ops":
        return [sys.executable, "-m", "marketing_ops.cli", *words[1:]]
    return [sys.executable, *words[1:]]
