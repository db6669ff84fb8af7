"""How long Airflow needs to read the DAG folder: what the dag-processor pays again and again.

A fresh process imports the folder with Airflow's own DagBag, beside one with an empty folder; both
have imported Airflow before the clock starts. Interleaved, median of five.

    .venv/bin/python benchmarks/bench_dags.py
"""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
GOAL_SECONDS = 2.0
ROUNDS = 5
READ = """
import sys, time
from airflow.dag_processing.dagbag import DagBag
begin = time.perf_counter()
bag = DagBag(sys.argv[1])
print(time.perf_counter() - begin, len(bag.dags), len(bag.import_errors))
"""


def read(folder: Path, home: str) -> tuple[float, int]:
    """Seconds for one reading of `folder` in a process of its own, and how many DAGs it has."""
    environment = {
        **os.environ,
        "AIRFLOW_HOME": home,
        "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
        "AIRFLOW__CORE__DAGS_FOLDER": str(folder),
        "AIRFLOW__CORE__PLUGINS_FOLDER": str(ROOT / "plugins"),
        "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": f"sqlite:///{home}/airflow.db",
    }
    command = [sys.executable, "-c", READ, str(folder)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    seconds, dags, errors = done.stdout.strip().splitlines()[-1].split()
    if int(errors):
        raise SystemExit(f"{errors} DAG files cannot be imported: {done.stdout}")
    return float(seconds), int(dags)


def main() -> int:
    """Measure, print, and end with the one line of JSON."""
    ours, empty = [], []
    with tempfile.TemporaryDirectory() as home, tempfile.TemporaryDirectory() as nothing:
        for _ in range(ROUNDS):
            seconds, dags = read(ROOT / "dags", home)
            ours.append(seconds)
            empty.append(read(Path(nothing), home)[0])
    figure = {
        "name": f"reading {dags} DAGs",
        "unit": "s",
        "ours": round(statistics.median(ours), 3),
        "other": round(statistics.median(empty), 3),
        "other_is": "an empty folder",
        "ratio": None,
        "goal": GOAL_SECONDS,
        "met": statistics.median(ours) <= GOAL_SECONDS,
    }
    print(f"{dags} DAGs in {figure['ours']} s (an empty folder: {figure['other']} s)")
    print(json.dumps({"bench": "dags", "figures": [figure]}))
    return 0


if __name__ == "__main__":
    sys.exit(main())
