"""What the DAG files share: who is synced and sent through, task defaults, assets, form fields."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from airflow.sdk import Asset, Param

from marketing_ops import settings as configuration
from marketing_ops.notifiers.failure import notify_failure
from marketing_ops.operators.campaigns import ACTIONS
from marketing_ops.operators.publish import PublishOperator
from marketing_ops.operators.retries import RetryableOnly
from marketing_ops.operators.sync import EVERYTHING, SyncStreamOperator
from marketing_ops.paths import include_root
from marketing_ops.settings import Source
from marketing_ops.sources.base import Dag
from marketing_ops.sources.registry import SYSTEMS

SHOPS_SYNCED = Asset("marketing_ops/shops_synced")
"""Published when an account's streams were read."""

CRM_SYNCED = Asset("marketing_ops/crm_synced")
"""Published when an account's people, companies, deals and lists were read."""

ENGAGEMENT_SYNCED = Asset("marketing_ops/engagement_synced")
"""Published when what people did with a vendor's messages was read."""

CONTACTS_UNIFIED = Asset("marketing_ops/contacts_unified")
"""Published when contacts and events are up to date."""


SENDERS = frozenset(name for name, system in SYSTEMS.items() if system.channels)
"""Systems whose accounts `deliver_sends` sends through."""


def task_defaults(
    owner: str, *, retries: int, retry_delay: timedelta, execution_timeout: timedelta
) -> dict[str, Any]:
    """The `default_args` of a DAG: retried only after retryable errors, on-call told at the end."""
    return {
        "owner": owner,
        "retries": retries,
        "retry_delay": retry_delay,
        "retry_exponential_backoff": 2.0,
        "max_retry_delay": timedelta(minutes=15),
        "retry_policy": RetryableOnly(),
        "execution_timeout": execution_timeout,
        "on_failure_callback": notify_failure,
    }


def accounts_of(systems: frozenset[str]) -> tuple[dict[str, Source], list[str]]:
    """The accounts of these systems by name, and the problems of files that cannot be used."""
    found, problems = configuration.sources()
    chosen = {name: source for name, source in found.items() if source.system in systems}
    return chosen, [str(problem) for problem in problems]


def synced_accounts(dag: Dag) -> tuple[dict[str, Source], list[str]]:
    """The accounts that `sync_<dag>` reads streams of, and the problems of files that cannot be
    used. An account of several kinds of stream is read by several DAGs.
    """
    found, problems = accounts_of(frozenset(SYSTEMS))
    return {name: one for name, one in found.items() if live_streams(one, dag)}, problems


def live_streams(source: Source, dag: Dag) -> dict[str, Any]:
    """Stream -> cadence (hourly or daily) of the account's streams of a DAG that are not off."""
    system = SYSTEMS[source.system]
    return {
        name: cadence
        for name, cadence in source.streams.items()
        if cadence != "off" and (stream := system.stream(name)) and stream.dag == dag
    }


def add_sync_tasks(accounts: dict[str, Source], dag: Dag, outlet: Asset) -> None:
    """One task per account and stream in the account's pool, and one that publishes `outlet` for
    each account when its streams were read. Call inside the DAG.
    """
    for name, source in accounts.items():
        publish = PublishOperator(
            task_id=f"{name}.publish",
            outlets=[outlet],
            pool=source.pool,
            trigger_rule="none_failed_min_one_success",
            execution_timeout=timedelta(minutes=5),
        )
        for stream, cadence in live_streams(source, dag).items():
            sync = SyncStreamOperator(
                task_id=f"{name}.{stream}",
                account=name,
                stream=stream,
                cadence=cadence,
                pool=source.pool,
            )
            sync >> publish


def reconciled_streams() -> list[tuple[Source, str]]:
    """(account, stream) of every live stream whose keys its vendor lists."""
    found, _ = accounts_of(frozenset(SYSTEMS))
    return [
        (source, stream)
        for source in found.values()
        for stream, cadence in source.streams.items()
        if cadence != "off" and SYSTEMS[source.system].can_reconcile(stream)
    ]


def check_names() -> list[str]:
    """The checks there are: the files of include/sql/checks."""
    return _stems("sql/checks", "sql")


def control_form() -> dict[str, Param]:
    """The trigger form of `control_campaign`. A file that cannot be read is offered too: starting
    it says what is wrong, stopping it works.
    """
    campaigns = _stems("campaigns", "yaml") or ["no campaign yet"]
    return {
        "campaign": _choice(campaigns, "Campaign", "A file of include/campaigns"),
        "action": Param(
            "pause",
            type="string",
            enum=list(ACTIONS),
            values_display={
                "start": "Start: people may enter from now on",
                "pause": "Pause: nobody enters or advances, nothing is sent",
                "resume": "Resume a paused campaign",
                "stop": "Stop: for good; who is inside leaves",
            },
            title="Action",
        ),
        "dry_run": Param(
            True,
            type="boolean",
            title="Dry run",
            description="Only say what would happen. Untick to do it.",
        ),
    }


def replay_form() -> dict[str, Param]:
    """The trigger form of `replay_rejected`."""
    found, _ = accounts_of(frozenset(SYSTEMS))
    accounts = sorted(name for name, source in found.items() if source.streams)
    streams = sorted({stream for source in found.values() for stream in source.streams})
    return {
        "account": _choice(accounts or ["no account yet"], "Account", "A file of include/sources"),
        "stream": _choice([EVERYTHING, *streams], "Stream", "only this one, or all of them"),
        "dry_run": Param(
            True,
            type="boolean",
            title="Dry run",
            description="Only say what would be stored. Untick to do it.",
        ),
    }


def sync_form(accounts: dict[str, Source], dag: Dag) -> dict[str, Param]:
    """The trigger form of a sync DAG."""
    streams = sorted({name for source in accounts.values() for name in live_streams(source, dag)})
    only = "only this one, or all of them"
    return {
        "account": _choice([EVERYTHING, *accounts], "Account", only),
        "stream": _choice([EVERYTHING, *streams], "Stream", only),
        "full_refresh": Param(
            False,
            type="boolean",
            title="Full refresh",
            description="Read everything again. Nobody enters a campaign because of it.",
        ),
        "from": _date("From", "Read what changed since this day; needs `to`."),
        "to": _date("To", "Up to and including this day. Moves no cursor."),
    }


def _stems(folder: str, extension: str) -> list[str]:
    return sorted(path.stem for path in (include_root() / folder).glob(f"*.{extension}"))


def _choice(values: list[str], title: str, description: str) -> Param:
    return Param(values[0], type="string", enum=values, title=title, description=description)


def _date(title: str, description: str) -> Param:
    return Param(None, type=["null", "string"], format="date", title=title, description=description)
