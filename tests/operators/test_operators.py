"""Each operator calls its engine with the right arguments, at the right times."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from typing import Any

import psycopg
import pytest
from airflow.sdk.exceptions import AirflowFailException, AirflowSkipException

from marketing_ops.operators.campaigns import ControlCampaignOperator, TickOperator
from marketing_ops.operators.delivery import DeliverOperator
from marketing_ops.operators.identity import UnifyOperator
from marketing_ops.operators.kpis import RollupOperator
from marketing_ops.operators.publish import PublishOperator
from marketing_ops.operators.segments import RefreshSegmentsOperator, SegmentHistoryOperator
from marketing_ops.operators.sync import SyncStreamOperator
from marketing_ops.operators.upkeep import BrokenFilesOperator
from marketing_ops.window import Window

MakeContext = Callable[..., dict[str, Any]]


@dataclass
class Engine:
    """Stands in for an engine's function: keeps its calls, answers `result`."""

    result: Any = None
    calls: list[tuple[tuple[Any, ...], dict[str, Any]]] = field(default_factory=list)

    def __call__(self, *arguments: Any, **options: Any) -> Any:
        self.calls.append((arguments[1:], options))
        return self.result


@pytest.fixture
def engine(monkeypatch: pytest.MonkeyPatch) -> Callable[..., Engine]:
    """Puts an Engine in the place of a function, named `module.function`."""

    def replace(name: str, result: Any = None) -> Engine:
        module, function = name.rsplit(".", 1)
        stand_in = Engine(result)
        loaded = importlib.import_module(f"marketing_ops.{module}")
        assert callable(getattr(loaded, function))
        monkeypatch.setattr(loaded, function, stand_in)
        return stand_in

    return replace


def books(**changes: Any) -> Any:
    """A sync report."""

    @dataclass
    class Report:
        account: str = "shop_journey"
        stream: str = "orders"
        status: str = "success"
        balanced: bool = True

    return Report(**changes)


def sync(cadence: Any = "hourly", stream: str = "orders") -> SyncStreamOperator:
    """A sync task as the DAG makes it."""
    return SyncStreamOperator(
        task_id="sync", account="shop_journey", stream=stream, cadence=cadence
    )


@pytest.mark.usefixtures("warehouse_connection", "frozen_clock")
class TestSync:
    """SyncStreamOperator."""

    @pytest.mark.parametrize(
        ("run_type", "params", "kind"),
        [
            ("scheduled", {}, None),
            ("manual", {}, None),
            ("manual", {"full_refresh": True}, "full_refresh"),
            ("backfill", {}, "backfill"),
            ("manual", {"from": "2026-02-01", "to": "2026-02-03"}, "backfill"),
        ],
    )
    def test_kind_follows_the_run(
        self,
        engine: Callable[..., Engine],
        make_context: MakeContext,
        run_type: str,
        params: dict[str, Any],
        kind: str | None,
    ) -> None:
        """Live runs go by the cursor; a backfill and a named window read exactly their window."""
        called = engine("sync.runner.sync_stream", books())
        counts = sync().execute(make_context(run_type, **params))  # type: ignore[arg-type]
        (arguments, options) = called.calls[0]
        assert arguments[:2] == ("shop_journey", "orders")
        assert options["kind"] == kind
        assert counts["status"] == "success"
        if run_type == "backfill":
            end = datetime(2026, 3, 2, 12, tzinfo=UTC)
            assert arguments[2] == Window(end - timedelta(hours=1), end, is_backfill=True)

    def test_refresh_in_a_backfill_is_refused(
        self, engine: Callable[..., Engine], make_context: MakeContext
    ) -> None:
        """Everything and a part cannot be asked for at once: nothing is read."""
        called = engine("sync.runner.sync_stream", books())
        with pytest.raises(AirflowFailException, match="choose one"):
            sync().execute(make_context("backfill", full_refresh=True))  # type: ignore[arg-type]
        assert called.calls == []

    @pytest.mark.parametrize("params", [{"account": "other"}, {"stream": "customers"}])
    def test_form_narrows_the_run(
        self, engine: Callable[..., Engine], make_context: MakeContext, params: dict[str, Any]
    ) -> None:
        """Tasks of other accounts and streams are skipped."""
        called = engine("sync.runner.sync_stream", books())
        with pytest.raises(AirflowSkipException, match="the form asked for"):
            sync().execute(make_context("manual", **params))  # type: ignore[arg-type]
        assert called.calls == []

    def test_daily_stream_is_read_by_the_first_run_that_succeeds_after_local_midnight(
        self,
        engine: Callable[..., Engine],
        make_context: MakeContext,
        db: psycopg.Connection[Any],
    ) -> None:
        """Midnight is the reporting zone's (05:00 UTC here); a failed or backfilled run does not
        count; naming the stream on the form, or a backfill, reads it all the same.
        """
        called = engine("sync.runner.sync_stream", books())
        operator = sync("daily", "products")

        def ran_at(hour: int, kind: str, status: str) -> None:
            db.execute(
                "insert into mkt_ops.sync_runs (account, system, stream, kind, is_baseline, status,"
                " started_at) values ('shop_journey', 'shopify', 'products', %s, false, %s, %s)",
                (kind, status, datetime(2026, 3, 2, hour, tzinfo=UTC)),
            )

        ran_at(4, "incremental", "success")
        ran_at(6, "incremental", "failed")
        ran_at(7, "backfill", "success")
        operator.execute(make_context())  # type: ignore[arg-type]
        assert len(called.calls) == 1
        ran_at(8, "incremental", "success")
        with pytest.raises(AirflowSkipException, match="once a day"):
            operator.execute(make_context())  # type: ignore[arg-type]
        operator.execute(make_context("manual", stream="products"))  # type: ignore[arg-type]
        operator.execute(make_context("backfill"))  # type: ignore[arg-type]
        assert len(called.calls) == 3


@pytest.mark.parametrize("context", [("backfill", {}), ("manual", {"from": "2026-02-01"})])
def test_backfill_publishes_nothing(make_context: MakeContext, context: Any) -> None:
    """A backfill and a window named on the form skip the publishing task, so nothing starts."""
    run_type, params = context
    with pytest.raises(AirflowSkipException):
        PublishOperator(task_id="publish").execute(make_context(run_type, **params))  # type: ignore[arg-type]
    PublishOperator(task_id="publish").execute(make_context())  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("operator", "function"),
    [
        (UnifyOperator(task_id="t"), "identity.runner.unify"),
        (RefreshSegmentsOperator(task_id="t"), "segments.runner.refresh"),
        (TickOperator(task_id="t"), "campaigns.runner.tick"),
        (DeliverOperator(task_id="t", account="smtp_journey"), "delivery.runner.deliver"),
        (
            ControlCampaignOperator(
                task_id="t", campaign="welcome", action="start", is_dry_run=False
            ),
            "campaigns.control.start",
        ),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
@pytest.mark.usefixtures("warehouse_connection")
def test_backfill_calls_no_engine_with_an_outward_effect(
    engine: Callable[..., Engine], make_context: MakeContext, operator: Any, function: str
) -> None:
    """Unify, segments, tick, delivery and control do nothing at all in a backfill."""
    called = engine(function)
    with pytest.raises(AirflowSkipException, match="backfill"):
        operator.execute(make_context("backfill"))
    assert called.calls == []


@pytest.mark.usefixtures("warehouse_connection", "frozen_clock")
class TestRollup:
    """RollupOperator at 2026-03-02 07:00 New York time."""

    @pytest.fixture
    def rolled(self, engine: Callable[..., Engine]) -> Engine:
        """The rollup engine, while 20 February and today are dirty."""
        engine("kpis.runner.dirty_days", [date(2026, 2, 20), date(2026, 3, 2)])
        return engine("kpis.runner.rollup", SimpleReport())

    def context(self, make_context: MakeContext, run_type: str) -> Any:
        """A run of the local day 1 March."""
        context = make_context(run_type)
        start = datetime(2026, 3, 1, 5, tzinfo=UTC)
        return context | {
            "data_interval_start": start,
            "data_interval_end": start + timedelta(days=1),
        }

    def test_live_run_takes_dirty_days_too(self, rolled: Engine, make_context: MakeContext) -> None:
        """The interval's day and past dirty days; today is not over and stays dirty."""
        RollupOperator(task_id="t").execute(self.context(make_context, "scheduled"))
        assert rolled.calls[0][0] == ([date(2026, 2, 20), date(2026, 3, 1)],)

    def test_backfill_takes_exactly_its_day(
        self, rolled: Engine, make_context: MakeContext
    ) -> None:
        """A backfill recomputes no other day."""
        RollupOperator(task_id="t").execute(self.context(make_context, "backfill"))
        assert rolled.calls[0][0] == ([date(2026, 3, 1)],)

    def test_run_of_an_asset_takes_dirty_days_only(
        self, rolled: Engine, engine: Callable[..., Engine], make_context: MakeContext
    ) -> None:
        """A run without an interval recomputes what late data touched, or is skipped."""
        context = make_context("asset_triggered")
        del context["data_interval_start"], context["data_interval_end"]
        RollupOperator(task_id="t").execute(context)  # type: ignore[arg-type]
        assert rolled.calls[0][0] == ([date(2026, 2, 20)],)
        engine("kpis.runner.dirty_days", [date(2026, 3, 2)])
        with pytest.raises(AirflowSkipException, match="no past day"):
            RollupOperator(task_id="t").execute(context)  # type: ignore[arg-type]

    def test_broken_file_fails_after_the_others(
        self, engine: Callable[..., Engine], make_context: MakeContext
    ) -> None:
        """The usable KPIs are stored; the task is red and names file and line."""
        engine("kpis.runner.dirty_days", [])
        rolled = engine("kpis.runner.rollup", SimpleReport(problems=["kpis/orders.yaml:3: wrong"]))
        with pytest.raises(AirflowFailException, match=r"kpis/orders\.yaml:3"):
            RollupOperator(task_id="t").execute(self.context(make_context, "scheduled"))
        assert len(rolled.calls) == 1


@dataclass
class SimpleReport:
    """A report with one count."""

    days: int = 1
    problems: list[str] | None = None


@pytest.mark.usefixtures("warehouse_connection", "frozen_clock")
def test_history_covers_the_days_of_the_window(
    engine: Callable[..., Engine], make_context: MakeContext
) -> None:
    """An interval from local midnight to local midnight is one day, backfilled or not."""
    called = engine("segments.runner.history", {date(2026, 3, 1): 7})
    start = datetime(2026, 3, 1, 5, tzinfo=UTC)
    context = make_context("backfill") | {
        "data_interval_start": start,
        "data_interval_end": start + timedelta(days=1),
    }
    counts = SegmentHistoryOperator(task_id="t").execute(context)  # type: ignore[arg-type]
    assert called.calls[0][0] == ([date(2026, 3, 1)],)
    assert counts == {"2026-03-01": 7}


@pytest.mark.parametrize(
    ("operator", "function", "loader"),
    [
        (RefreshSegmentsOperator(task_id="t"), "segments.runner.refresh", "segments"),
        (TickOperator(task_id="t"), "campaigns.runner.tick", "campaigns"),
    ],
)
@pytest.mark.usefixtures("warehouse_connection", "frozen_clock")
def test_broken_user_file_stops_itself_only(
    engine: Callable[..., Engine],
    make_context: MakeContext,
    operator: Any,
    function: str,
    loader: str,
) -> None:
    """The other files are worked on first; then the task is red and names file and line."""
    called = engine(function, [] if loader == "segments" else {})
    engine(f"{loader}.definition.load_all", ({}, [f"{loader}/a.yaml:3: `wen` is not a known key"]))
    with pytest.raises(AirflowFailException, match=rf"{loader}/a\.yaml:3"):
        operator.execute(make_context())
    assert len(called.calls) == 1


@pytest.mark.usefixtures("warehouse_connection", "frozen_clock")
class TestControl:
    """ControlCampaignOperator."""

    def test_dry_run_changes_nothing(
        self, engine: Callable[..., Engine], make_context: MakeContext
    ) -> None:
        """Without an unticked dry run the state is only read and said."""
        called = engine("campaigns.control.start")
        operator = ControlCampaignOperator(task_id="t", campaign="welcome", action="start")
        counts = operator.execute(make_context("manual"))  # type: ignore[arg-type]
        assert (called.calls, counts["state"], counts["is_dry_run"]) == ([], "draft", True)

    @pytest.mark.parametrize("action", ["start", "pause", "resume", "stop"])
    def test_action_is_done_in_the_name_of_who_asked(
        self, engine: Callable[..., Engine], make_context: MakeContext, action: str
    ) -> None:
        """The audit log gets the Airflow user who pressed the button."""
        called = engine(f"campaigns.control.{action}")
        operator = ControlCampaignOperator(
            task_id="t", campaign="welcome", action=action, is_dry_run="False"
        )
        operator.execute(make_context("manual"))  # type: ignore[arg-type]
        assert called.calls == [(("welcome", "mia"), {})]

    def test_unknown_action_is_refused(self, make_context: MakeContext) -> None:
        """An action that is none names those there are."""
        operator = ControlCampaignOperator(
            task_id="t", campaign="welcome", action="launch", is_dry_run=False
        )
        with pytest.raises(AirflowFailException, match="start, pause, resume, stop"):
            operator.execute(make_context("manual"))  # type: ignore[arg-type]


@pytest.mark.usefixtures("warehouse_connection")
def test_broken_source_file_is_a_red_task(make_context: MakeContext) -> None:
    """The task that stands in for a broken file fails with file, line and key."""
    operator = BrokenFilesOperator(task_id="t", problems=["sources/a.yaml:3: `x` is not known"])
    with pytest.raises(AirflowFailException, match=r"sources/a\.yaml:3"):
        operator.execute(make_context())  # type: ignore[arg-type]
