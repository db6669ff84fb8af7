"""Keep a group of processes running: restart what dies, end all of them cleanly on SIGTERM.

`airflow standalone` orphans its children when it is stopped, and Airflow's own scheduler may ignore
a first SIGTERM; so each process is signalled by itself and killed after a grace period.
"""

from __future__ import annotations

import ctypes
import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path
from types import FrameType

from demo.layout import HOME, LOGS, PROJECT

_GRACE_SECONDS = 20.0
_PR_SET_PDEATHSIG = 1


@dataclass
class Member:
    """One supervised process and how often it had to be restarted."""

    name: str
    command: list[str]
    environment: dict[str, str]
    process: subprocess.Popen[bytes] | None = None
    starts: list[float] = field(default_factory=list)

    def start(self) -> None:
        """Start it in a session of its own, output appended to its log."""
        with (LOGS / f"{self.name}.log").open("ab") as log:
            self.process = subprocess.Popen(  # noqa: S603
                self.command,
                env=self.environment,
                cwd=PROJECT,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                preexec_fn=_die_with_parent,
            )
        self.starts.append(time.monotonic())

    def is_crash_looping(self) -> bool:
        """True when it died five times within a minute: starting it again helps nobody."""
        recent = [start for start in self.starts if time.monotonic() - start < 60]
        return len(recent) >= 5


def launch(group: str, members: dict[str, list[str]], environment: dict[str, str]) -> None:
    """Start a supervisor of `members` (name -> command) that outlives this process."""
    stop(group)
    specification = HOME / f"{group}.processes.json"
    specification.touch(mode=0o600)
    specification.write_text(json.dumps({"members": members, "environment": environment}))
    with (LOGS / f"{group}.supervisor.log").open("ab") as log:
        process = subprocess.Popen(  # noqa: S603
            [sys.executable, "-m", "demo.supervisor", group],
            cwd=PROJECT,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    _pid_file(group).write_text(str(process.pid))
    # A process that has just begun has no command line in /proc yet: nobody would know it for ours.
    deadline = time.monotonic() + _GRACE_SECONDS
    while _pid(group) is None and process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.01)


def is_running(group: str) -> bool:
    """True when the group's supervisor is alive."""
    return _pid(group) is not None


def stop(group: str) -> bool:
    """End a group and wait for it; True if it was running."""
    pid = _pid(group)
    if pid is None:
        return False
    os.kill(pid, signal.SIGTERM)
    deadline = time.monotonic() + _GRACE_SECONDS + 10
    while _pid(group) is not None and time.monotonic() < deadline:
        time.sleep(0.1)
    if _pid(group) is not None:
        os.kill(pid, signal.SIGKILL)
    _pid_file(group).unlink(missing_ok=True)
    return True


def _pid_file(group: str) -> Path:
    return HOME / f"{group}.pid"


def _pid(group: str) -> int | None:
    """The supervisor's pid, or None: no file, no such process, or the pid is someone else's."""
    try:
        pid = int(_pid_file(group).read_text())
        command = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
        state = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0]
    except (OSError, ValueError):
        return None
    is_ours = b"demo.supervisor" in command and group.encode() in command
    return pid if is_ours and state != "Z" else None


def _die_with_parent() -> None:
    """Let the kernel end the child when its supervisor is killed (Linux only)."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)


def _supervise(group: str) -> int:
    specification = json.loads((HOME / f"{group}.processes.json").read_text())
    environment = specification["environment"]
    members = [
        Member(name, command, environment) for name, command in specification["members"].items()
    ]
    is_stopping = False

    def on_signal(_number: int, _frame: FrameType | None) -> None:
        nonlocal is_stopping
        is_stopping = True

    signal.signal(signal.SIGTERM, on_signal)
    signal.signal(signal.SIGINT, on_signal)
    for member in members:
        member.start()
    while not is_stopping:
        time.sleep(0.3)
        for member in members:
            if member.process is None or member.process.poll() is None:
                continue
            print(f"{member.name} ended with {member.process.returncode}", flush=True)
            if member.is_crash_looping():
                print(f"{member.name} keeps dying: see {member.name}.log", flush=True)
                member.process = None
            else:
                member.start()
    _end_all(members)
    return 0


def _end_all(members: list[Member]) -> None:
    running = [member.process for member in members if member.process is not None]
    for process in running:
        process.terminate()
    deadline = time.monotonic() + _GRACE_SECONDS
    for process in running:
        try:
            process.wait(max(0.1, deadline - time.monotonic()))
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


if __name__ == "__main__":
    sys.exit(_supervise(sys.argv[1]))
