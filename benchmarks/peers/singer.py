"""The Singer tap piped into target-postgres with COPY, validation off.

What a pipe that carries one page takes is taken off: both interpreters' start and imports.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from pages import cpu

URL, URI = sys.argv[1:3]
HERE, BIN = Path(__file__).parent, Path(sys.executable).parent
TARGET = {
    "use_copy": True,
    "validate_records": False,
    "add_record_metadata": False,
    "activate_version": False,
    "batch_size_rows": 20_000,
}


def pipe(folder: Path, url: str, schema: str) -> tuple[float, float]:
    """Seconds of `tap | target`, and their CPU."""
    source, target = folder / "tap.json", folder / "target.json"
    source.write_text(json.dumps({"url": url}))
    address = URI.replace("postgresql://", "postgresql+psycopg://")
    target.write_text(
        json.dumps({**TARGET, "sqlalchemy_url": address, "default_target_schema": schema})
    )
    tap = [sys.executable, str(HERE / "singer_tap.py"), "--config", str(source)]
    sink = [str(BIN / "target-postgres"), "--config", str(target)]
    started, spent = time.perf_counter(), cpu()
    with subprocess.Popen(tap, stdout=subprocess.PIPE) as one:
        subprocess.run(sink, stdin=one.stdout, check=True, stdout=subprocess.DEVNULL)
        if one.wait():
            raise SystemExit("the tap failed")
    return time.perf_counter() - started, cpu() - spent


with tempfile.TemporaryDirectory() as name:
    one_page = URL.rsplit("/", 1)[0] + "/100"
    start, spent_on_it = pipe(Path(name), one_page, "peer_singer_start")
    seconds, spent = pipe(Path(name), URL, "peer_singer")
found = {"seconds": seconds - start, "cpu": spent - spent_on_it, "start": start}
print(json.dumps({**found, "table": "peer_singer.contacts"}))
