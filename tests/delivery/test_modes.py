from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from marketing_ops import paths
from marketing_ops.delivery.modes import apply_sending_modes
from marketing_ops.warehouse import Warehouse
from marketing_ops.yamlfile import FileProblemsError

SOURCE = """source: {name}
system: smtp
connection: {name}
brand: journey
sending: {sending}
"""


@pytest.fixture
def files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of include/ without sources; returns its sources folder."""
    root = tmp_path / "include"
    shutil.copytree(paths.include_root(), root, ignore=shutil.ignore_patterns("sources"))
    (root / "sources").mkdir()
    monkeypatch.setenv(paths.INCLUDE_VARIABLE, str(root))
    return root / "sources"


def _write(files: Path, name: str, sending: str) -> None:
    (files / f"{name}.yaml").write_text(SOURCE.format(name=name, sending=sending))


def _modes(db: Warehouse) -> dict[str, tuple[str, list[str]]]:
    rows = db.execute("select account, mode, allow_list from mkt_ops.sending_modes")
    return {account: (mode, addresses) for account, mode, addresses in rows}


def test_modes_come_from_the_files_and_changes_are_audited(db: Warehouse, files: Path) -> None:
    """Modes are taken over, a second run changes nothing, the log holds no address."""
    _write(files, "a", "live")
    _write(files, "b", "{allow_list: [Me@Example.com]}")
    _write(files, "c", "off")
    assert apply_sending_modes(db, "ann") == ["a", "b", "c"]
    assert _modes(db) == {
        "a": ("live", []),
        "b": ("allow_list", ["me@example.com"]),
        "c": ("off", []),
    }
    assert apply_sending_modes(db, "ann") == []
    log = db.execute("select actor, subject, details from mkt_ops.audit_log order by 2").fetchall()
    assert [(actor, subject) for actor, subject, _ in log] == [("ann", x) for x in "abc"]
    assert "example.com" not in str(log)


def test_account_whose_file_is_gone_is_off(db: Warehouse, files: Path) -> None:
    """Removing a file takes the right to send away."""
    _write(files, "a", "live")
    apply_sending_modes(db, "ann")
    (files / "a.yaml").unlink()
    assert apply_sending_modes(db, "ann") == ["a"]
    assert _modes(db)["a"] == ("off", [])


def test_wrong_file_keeps_its_mode_and_stops_nobody_else(db: Warehouse, files: Path) -> None:
    """A file that cannot be read changes nothing for its account, and the command fails."""
    _write(files, "a", "live")
    apply_sending_modes(db, "ann")
    _write(files, "a", "sometimes")
    _write(files, "b", "live")
    with pytest.raises(FileProblemsError, match=r"a\.yaml"):
        apply_sending_modes(db, "ann")
    assert {name: mode for name, (mode, _) in _modes(db).items()} == {"a": "live", "b": "live"}
