"""The peers: each a script in `peers/`, run in a venv of its own from a pinned requirements file.

Nothing of them is in the project's lock. The venvs lie in `.cache/` and are made anew when their
requirements change.
"""

from __future__ import annotations

import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from bench_sync_measure import HERE, ROOT

VENVS = ROOT / ".cache" / "bench_peers"


@dataclass(frozen=True)
class Peer:
    """Another tool that loads the same pages into the same server.

    Attributes:
        name: its script in peers/.
        requirements: which of the requirement files it needs.
        is_slow: it gets fewer rows; what is compared is rows per second.
        goal: how many times faster we have to be.
        is: what it is, for the table.
    """

    name: str
    requirements: str
    is_slow: bool
    goal: float
    aim: float | None
    is_: str


PEERS = (
    Peer("dlt_arrow", "dlt", False, 1.5, 2.4, "dlt: Arrow tables of 20k, parquet, merge"),
    Peer("dlt_usual", "dlt", True, 10.0, None, "dlt: generator of dicts, merge"),
    Peer("singer", "singer", True, 6.0, None, "Singer tap | target-postgres, COPY"),
    Peer("pyairbyte", "pyairbyte", True, 15.0, None, "PyAirbyte: declarative source, merge"),
)


def installed(peer: Peer) -> Path:
    """The Python of the peer's venv, which is made or renewed if need be.

    Raises:
        RuntimeError: it cannot be installed; says why.
    """
    wanted = HERE / "peers" / f"requirements-{peer.requirements}.txt"
    venv = VENVS / peer.requirements
    python, mark = venv / "bin" / "python", venv / "installed.txt"
    if mark.exists() and mark.read_bytes() == wanted.read_bytes():
        return python
    uv = [sys.executable, "-m", "uv"]
    for command in (
        [*uv, "venv", "-q", "--clear", "--python", sys.executable, str(venv)],
        [*uv, "pip", "install", "-q", "--python", str(python), "-r", str(wanted)],
    ):
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode:
            raise RuntimeError(f"not installed: {done.stderr.strip()[-300:]}")
    mark.write_bytes(wanted.read_bytes())
    return python
