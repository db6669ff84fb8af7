"""What holds for every DAG we ship."""

from __future__ import annotations

import re
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from marketing_ops import deployment
from marketing_ops.notifiers.dagdoc import HEADINGS, sections
from marketing_ops.notifiers.failure import notify_failure, notify_stuck_run
from marketing_ops.operators.retries import RetryableOnly
from tests.airflow_env import ROOT

DAG_IDS = sorted(path.stem for path in (ROOT / "dags").glob("*.py"))
OWNERS = {"data-engineering", "lifecycle-marketing"}


@pytest.fixture(params=DAG_IDS)
def dag(request: pytest.FixtureRequest, dag_bag: Any) -> Any:
    """Each shipped DAG in turn."""
    return dag_bag.dags[request.param]


def test_every_file_parses_into_the_dag_of_its_name(dag_bag: Any) -> None:
    """No import error, and a file holds the DAG that it is named after and no other."""
    assert dag_bag.import_errors == {}
    assert sorted(dag_bag.dags) == DAG_IDS
    assert {Path(dag.fileloc).stem for dag in dag_bag.dags.values()} == set(DAG_IDS)


def test_dag_says_what_on_call_needs(dag: Any) -> None:
    """The file's docstring is doc_md, with every heading and a first line that is a sentence."""
    assert list(sections(dag.doc_md)) == list(HEADINGS)
    assert dag.doc_md.split("\n", 1)[0].endswith(".")
    assert sections(dag.doc_md)["Owner"] in OWNERS
    assert sections(dag.doc_md)["Safe to rerun"].startswith(("yes", "no"))


def test_dag_is_explicit(dag: Any) -> None:
    """Schedule, catchup, overlap, time-out, tags, name and start are decisions, not defaults."""
    source = Path(dag.fileloc).read_text(encoding="utf-8")
    for word in ("schedule", "catchup", "max_active_runs", "dagrun_timeout", "start_date"):
        assert re.search(rf"^    {word}=", source, flags=re.MULTILINE), word
    assert dag.catchup is False
    assert dag.max_active_runs == 1
    assert isinstance(dag.dagrun_timeout, timedelta)
    assert "marketing_ops" in dag.tags
    assert len(dag.tags) == 2
    assert dag.dag_display_name != dag.dag_id
    assert dag.description
    assert dag.on_failure_callback is notify_stuck_run


def test_dag_file_is_wiring_only(dag: Any) -> None:
    """At most 120 lines, and nothing at parse time that reads a clock, a variable or a network."""
    source = Path(dag.fileloc).read_text(encoding="utf-8")
    assert source.count("\n") <= 120
    code = source.replace(dag.doc_md, "")
    assert not re.search(r"Variable\.get|\bnow\(|requests|urllib|psycopg|def ", code)


def test_every_task_is_bounded_and_noticed(dag: Any) -> None:
    """Each task has an owner, a time-out shorter than the run's, retries for retryable errors
    only, and tells on-call when it fails for good.
    """
    assert dag.tasks
    for task in dag.tasks:
        assert task.owner == sections(dag.doc_md)["Owner"], task.task_id
        assert task.execution_timeout <= dag.dagrun_timeout, task.task_id
        assert 1 <= task.retries <= 3, task.task_id
        assert isinstance(task.retry_policy, RetryableOnly), task.task_id
        assert task.max_retry_delay <= timedelta(minutes=15), task.task_id
        callbacks = task.on_failure_callback
        assert notify_failure in (callbacks if isinstance(callbacks, list) else [callbacks])


def test_pools_exist_once_applied(dag: Any) -> None:
    """A pool nobody creates would leave its tasks waiting for ever: apply creates each we use."""
    known = {"default_pool", *deployment.pools()}
    assert {task.pool for task in dag.tasks} <= known
    assert all(task.pool_slots == 1 for task in dag.tasks)


def test_calls_to_a_vendor_stay_in_its_pool(dag_bag: Any) -> None:
    """Every task that calls an account runs in that account's pool."""
    for dag_id in (
        "sync_shop",
        "sync_crm",
        "sync_engagement",
        "deliver_sends",
        "maintain_warehouse",
    ):
        for task in dag_bag.dags[dag_id].tasks:
            if hasattr(task, "account"):
                assert task.pool == f"marketing_ops_{task.account}"


def test_dag_serialises(dag: Any) -> None:
    """The scheduler and the API server can read the DAG without its code."""
    from airflow.serialization.serialized_objects import DagSerialization

    restored = DagSerialization.from_dict(DagSerialization.to_dict(dag))
    assert restored.dag_id == dag.dag_id
    assert {task.task_id for task in restored.tasks} == set(dag.task_ids)


def core_timetable(dag: Any) -> Any:
    """The scheduler's own form of a DAG's timetable."""
    from airflow.serialization.encoders import coerce_to_core_timetable

    return coerce_to_core_timetable(dag.timetable)


def test_backfillable_dags_have_a_periodic_timetable(dag_bag: Any) -> None:
    """The backfill form of the UI is offered where a backfill makes sense."""
    for dag_id in ("sync_shop", "sync_crm", "sync_engagement", "segment_history", "rollup_kpis"):
        assert core_timetable(dag_bag.dags[dag_id]).periodic, dag_id


def test_days_are_days_of_the_reporting_time_zone(dag_bag: Any) -> None:
    """A daily interval is one local day: 25 hours when the clocks go back."""
    from zoneinfo import ZoneInfo

    from airflow.timetables.base import DataInterval, TimeRestriction
    from pendulum import datetime as instant

    from marketing_ops.settings import settings

    zone = settings().reporting_timezone
    assert zone == "America/New_York"
    for dag_id in ("segment_history", "rollup_kpis"):
        timetable = core_timetable(dag_bag.dags[dag_id])
        timetable = getattr(timetable, "timetable", timetable)
        before = DataInterval(instant(2025, 11, 1, tz=zone), instant(2025, 11, 2, tz=zone))
        run = timetable.next_dagrun_info(
            last_automated_data_interval=before,
            restriction=TimeRestriction(earliest=None, latest=None, catchup=True),
        )
        start, end = run.data_interval
        assert start.astimezone(ZoneInfo(zone)).isoformat() == "2025-11-02T00:00:00-04:00"
        assert end - start == timedelta(hours=25)


def test_every_minute_dags_never_overlap_or_catch_up(dag_bag: Any) -> None:
    """The tick and delivery run one at a time and skip the minutes they missed."""
    for dag_id in ("run_campaigns", "deliver_sends"):
        dag = dag_bag.dags[dag_id]
        assert core_timetable(dag).summary == "* * * * *"
        assert (dag.max_active_runs, dag.catchup) == (1, False)


def test_controlling_a_campaign_is_a_dry_run_by_default(dag_bag: Any) -> None:
    """The form offers the campaign files and does nothing unless a person unticks the dry run."""
    dag = dag_bag.dags["control_campaign"]
    assert dag.params["dry_run"] is True
    assert dag.params["action"] == "pause"
    files = sorted(path.stem for path in (ROOT / "include" / "campaigns").glob("*.yaml"))
    assert dag.params.get_param("campaign").schema["enum"] == (files or ["no campaign yet"])


def test_replaying_is_a_dry_run_by_default(dag_bag: Any) -> None:
    """The form offers the accounts that are read, and stores nothing unless a person says so."""
    dag = dag_bag.dags["replay_rejected"]
    assert dag.params["dry_run"] is True
    accounts = dag.params.get_param("account").schema["enum"]
    assert "smtp_journey" not in accounts
    assert "hubspot_journey" in accounts


def test_streams_are_read_by_the_dag_they_name(dag_bag: Any) -> None:
    """Orders by sync_shop, deals by sync_crm, opens by sync_engagement; each by one DAG alone."""
    tasks = {
        dag_id: {task.task_id for task in dag_bag.dags[dag_id].tasks}
        for dag_id in ("sync_shop", "sync_crm", "sync_engagement")
    }
    assert "shop_journey.orders" in tasks["sync_shop"]
    assert {"hubspot_journey.deals", "mailchimp_journey.members"} <= tasks["sync_crm"]
    assert {"hubspot_journey.email_events", "mailchimp_journey.sent"} <= tasks["sync_engagement"]
    read = [task for names in tasks.values() for task in names if not task.endswith(".publish")]
    assert len(read) == len(set(read))


def test_streams_are_compared_nightly(dag_bag: Any) -> None:
    """Every stream whose keys the vendor lists has its comparison in maintain_warehouse."""
    tasks = {task.task_id for task in dag_bag.dags["maintain_warehouse"].tasks}
    assert {"shop_journey.orders", "hubspot_journey.contacts", "mailchimp_journey.members"} <= tasks
    assert "mailchimp_journey.sent" not in tasks
