"""A broken file of the users stops itself only, and shows where on-call looks."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from marketing_ops import settings
from marketing_ops.paths import INCLUDE_VARIABLE
from tests.airflow_env import ROOT


@pytest.fixture
def include(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A copy of include/ that the DAG files read, to be broken by the test."""
    copy = tmp_path / "include"
    shutil.copytree(ROOT / "include", copy)
    monkeypatch.setenv(INCLUDE_VARIABLE, str(copy))
    settings.settings.cache_clear()
    yield copy
    monkeypatch.undo()
    settings.settings.cache_clear()


def parse() -> Any:
    """The DAG folder, parsed anew."""
    from airflow.dag_processing.dagbag import DagBag

    return DagBag(str(ROOT / "dags"))


@pytest.mark.parametrize(
    "text",
    ["source: [", "source: shop_two\nsystem: shopify\nconection: shop_two\nbrand: journey\n"],
)
def test_broken_source_hides_no_dag_and_no_other_account(include: Path, text: str) -> None:
    """Every DAG parses; the other accounts keep their tasks; a task that fails with the file's
    name stands in the DAGs that are made from the files.
    """
    (include / "sources" / "shop_two.yaml").write_text(text, encoding="utf-8")
    bag = parse()
    assert bag.import_errors == {}
    assert "shop_journey.orders" in bag.dags["sync_shop"].task_ids
    assert "smtp_journey" in bag.dags["deliver_sends"].task_ids
    for dag_id in ("sync_shop", "deliver_sends"):
        task = bag.dags[dag_id].get_task("definitions_are_valid")
        assert any("sources/shop_two.yaml:" in problem for problem in task.problems)
        assert task.upstream_task_ids == task.downstream_task_ids == set()


def test_whole_files_need_no_such_task(dag_bag: Any) -> None:
    """As long as every file can be used, there is no task that says otherwise."""
    for dag in dag_bag.dags.values():
        assert "definitions_are_valid" not in dag.task_ids


@pytest.mark.parametrize("folder", ["campaigns", "segments"])
def test_broken_campaign_or_segment_hides_no_dag(include: Path, folder: str) -> None:
    """DAGs are not made from these files: their tasks fail after the others were worked on."""
    (include / folder / "broken.yaml").write_text("campaign: [", encoding="utf-8")
    bag = parse()
    assert bag.import_errors == {}
    offered = bag.dags["control_campaign"].params.get_param("campaign").schema["enum"]
    assert ("broken" in offered) is (folder == "campaigns")


def test_second_account_gets_its_own_tasks_and_pool(include: Path) -> None:
    """One more file is one more set of tasks, in that account's pool; `off` streams have none."""
    (include / "sources" / "shop_two.yaml").write_text(
        "source: shop_two\nsystem: shopify\nconnection: shop_two\nbrand: journey\n"
        "streams: {orders: hourly, products: off}\n",
        encoding="utf-8",
    )
    dag = parse().dags["sync_shop"]
    assert {task for task in dag.task_ids if task.startswith("shop_two.")} == {
        "shop_two.orders",
        "shop_two.publish",
    }
    assert dag.get_task("shop_two.orders").pool == "marketing_ops_shop_two"
    assert dag.get_task("shop_two.publish").upstream_task_ids == {"shop_two.orders"}


def test_broken_settings_are_one_sentence_on_every_dag(include: Path) -> None:
    """Without the reporting time zone no interval is right, so nothing runs, and Airflow's banner
    names the file, the line and the nearest right spelling.
    """
    path = include / "settings.yaml"
    text = path.read_text(encoding="utf-8").replace("reporting_timezone", "reporting_timezon")
    path.write_text(text, encoding="utf-8")
    errors = parse().import_errors
    assert errors
    for message in errors.values():
        assert "settings.yaml:2: `reporting_timezon` is not a known key" in message
        assert "Did you mean `reporting_timezone`?" in message
