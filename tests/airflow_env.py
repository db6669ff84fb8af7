"""A private Airflow for the tests: its environment has to stand before airflow is imported."""

from __future__ import annotations

import atexit
import os
import shutil
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]


def prepare() -> Path:
    """Point this process at an Airflow home of its own and return it; rerun: no change."""
    known = os.environ.get("MARKETING_OPS_TEST_AIRFLOW_HOME")
    if known:
        return Path(known)
    if "airflow" in sys.modules:
        raise RuntimeError("airflow was imported before tests.airflow_env.prepare() was called")
    home = Path(tempfile.mkdtemp(prefix="marketing_ops_airflow_"))
    atexit.register(shutil.rmtree, home, ignore_errors=True)
    os.environ.update(
        {
            "MARKETING_OPS_TEST_AIRFLOW_HOME": str(home),
            "AIRFLOW_HOME": str(home),
            "AIRFLOW__CORE__DAGS_FOLDER": str(ROOT / "dags"),
            "AIRFLOW__CORE__PLUGINS_FOLDER": str(ROOT / "plugins"),
            "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
            "AIRFLOW__CORE__UNIT_TEST_MODE": "False",
            "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": f"sqlite:///{home}/airflow.db",
            "AIRFLOW__API_AUTH__JWT_SECRET": "only-for-tests-only-for-tests-only-for-tests",
            "AIRFLOW__CORE__FERNET_KEY": "",
            "AIRFLOW__USAGE_DATA_COLLECTION__ENABLED": "False",
        }
    )
    return home
