"""The shipped DAGs as Airflow sees them, in an Airflow home of the tests' own."""

from __future__ import annotations

from tests import airflow_env

airflow_env.prepare()

from typing import Any  # noqa: E402

import pytest  # noqa: E402


@pytest.fixture(scope="session")
def dag_bag() -> Any:
    """Every file of dags/, parsed."""
    from airflow.dag_processing.dagbag import DagBag

    return DagBag(str(airflow_env.ROOT / "dags"))


@pytest.fixture(scope="session")
def airflow_database() -> None:
    """An initialised metadata database, for tests that run a whole DAG."""
    from airflow.utils.db import initdb

    initdb()
