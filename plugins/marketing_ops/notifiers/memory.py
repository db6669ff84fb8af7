"""Which causes on-call was told about: in the warehouse, or in Airflow while that is away."""

from __future__ import annotations

import json
import logging
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from marketing_ops import clock

if TYPE_CHECKING:
    from marketing_ops.notifiers.failure import Notice

log = logging.getLogger("marketing_ops.notifiers.memory")

VARIABLE = "marketing_ops_alerted"
"""The Airflow variable with cause -> instant of the last alert, used without a warehouse."""

REMIND_AFTER = timedelta(hours=6)
"""Without the warehouse nothing can close a cause, so it is told again after this long."""


def is_first(notice: Notice) -> bool:
    """Whether on-call has to be told; counts the failure either way."""
    from marketing_ops.errors import MarketingOpsError
    from marketing_ops.incidents import cause_of, open_incident
    from marketing_ops.operators.connections import from_airflow
    from marketing_ops.warehouse import connect, translated_errors

    cause = cause_of(notice.scope, notice.cause)
    details = {"run": notice.run, "message": notice.cause.split("\n", 1)[0], "link": notice.link}
    try:
        with (
            translated_errors(),
            connect(from_airflow, application="marketing_ops notifier") as warehouse,
        ):
            return open_incident(warehouse, cause, notice.subject, details)
    except MarketingOpsError as error:
        # The likeliest cause of a failure at night is that the warehouse is away.
        log.warning("the incident is not in the warehouse: %s", error)
    # Every DAG fails then: the cause is the warehouse's, not theirs.
    return _is_first_in_airflow(cause_of("warehouse away", notice.cause))


def _is_first_in_airflow(cause: str) -> bool:
    from airflow.sdk import Variable

    at = clock.now()
    told: dict[str, str] = json.loads(Variable.get(VARIABLE, default="{}"))
    fresh = {
        known: since
        for known, since in told.items()
        if at - datetime.fromisoformat(since) < REMIND_AFTER
    }
    is_new = cause not in fresh
    if is_new:
        fresh[cause] = at.isoformat()
        Variable.set(VARIABLE, json.dumps(fresh))
    return is_new
