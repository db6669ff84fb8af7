from __future__ import annotations

import os
import signal
import socket
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from demo import layout, supervisor

SLEEPER = "import os,sys,time; open(sys.argv[1],'a').write(f'{os.getpid()}\\n'); time.sleep(60)"


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A demo folder of the test's own, in which nothing is left running."""
    (tmp_path / "logs").mkdir()
    monkeypatch.setattr(supervisor, "HOME", tmp_path)
    monkeypatch.setattr(supervisor, "LOGS", tmp_path / "logs")
    monkeypatch.setenv("MARKETING_OPS_DEMO_HOME", str(tmp_path))
    yield tmp_path
    supervisor.stop("group")


def until(condition: Callable[[], bool], seconds: float = 10) -> bool:
    """True as soon as `condition` holds, False when it never did."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if condition():
            return True
        time.sleep(0.05)
    return False


def pids(path: Path) -> list[int]:
    """The pids that the sleeper wrote, oldest first."""
    return [int(line) for line in path.read_text().split()] if path.exists() else []


def is_alive(pid: int) -> bool:
    """True for a process that is no zombie."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except FileNotFoundError:
        return False


def start(home: Path) -> Path:
    """A group with one sleeper that runs; returns the file with its pids."""
    book = home / "pids"
    supervisor.launch(
        "group", {"sleeper": [sys.executable, "-c", SLEEPER, str(book)]}, dict(os.environ)
    )
    assert until(lambda: len(pids(book)) == 1)
    return book


def test_a_member_that_dies_is_started_again(home: Path) -> None:
    """A crash at night costs a second, not the night."""
    book = start(home)
    os.kill(pids(book)[0], signal.SIGKILL)
    assert until(lambda: len(pids(book)) == 2)


def test_stop_ends_every_member(home: Path) -> None:
    """Nothing is orphaned by a stop, and stopping twice is no error."""
    book = start(home)
    assert supervisor.stop("group")
    assert not is_alive(pids(book)[0])
    assert not supervisor.stop("group")


def test_members_do_not_outlive_a_killed_supervisor(home: Path) -> None:
    """Kill -9 of the supervisor leaves no process that holds a port."""
    book = start(home)
    os.kill(int((home / "group.pid").read_text()), signal.SIGKILL)
    assert until(lambda: not is_alive(pids(book)[0]))
    assert not supervisor.is_running("group")


def test_a_pid_that_belongs_to_someone_else_is_left_alone(home: Path) -> None:
    """After a reboot the remembered pid may be any process: it is not signalled."""
    (home / "group.pid").write_text(str(os.getpid()))
    assert not supervisor.is_running("group")
    assert not supervisor.stop("group")


def test_taken_port_is_replaced(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A demo whose port is in use moves to a free one and remembers it."""
    monkeypatch.setattr(layout, "HOME", tmp_path)
    monkeypatch.setattr(layout, "LOGS", tmp_path / "logs")
    monkeypatch.setattr(layout, "STATE", tmp_path / "state.json")
    first = layout.load_or_create(keep_ports=False)
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", first.ports["receiver"]))
        second = layout.load_or_create(keep_ports=False)
        kept = layout.load_or_create(keep_ports=True)
    assert second.ports["receiver"] != first.ports["receiver"]
    assert kept.ports == second.ports
    assert second.secrets == first.secrets
    assert (tmp_path / "state.json").stat().st_mode & 0o077 == 0


def test_a_group_is_known_to_run_as_soon_as_it_is_launched(home: Path) -> None:
    """Whoever waits for a service asks at once; a young process has no command line yet."""
    command = {"sleeper": [sys.executable, "-c", SLEEPER, str(home / "pids")]}
    for _ in range(5):
        supervisor.launch("group", command, dict(os.environ))
        assert supervisor.is_running("group")
