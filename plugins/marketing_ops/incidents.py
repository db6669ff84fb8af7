"""Incidents: one row for each cause, however often and wherever it shows."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from psycopg.types.json import Jsonb

from marketing_ops import clock, sqlfile
from marketing_ops.warehouse import Warehouse

_LONGEST_CAUSE = 300


def cause_of(scope: str, message: str) -> str:
    """The name under which failures count as one: the same words with different numbers are equal.

    Args:
        scope: what the failure belongs to, for instance an account or a DAG.
        message: the error's sentence; only its first line counts.
    """
    first_line = message.strip().split("\n", 1)[0]
    same = re.sub(r"\d+(?:[.,:]\d+)*", "#", first_line)
    return f"{scope}: {same}"[:_LONGEST_CAUSE]


def open_incident(
    warehouse: Warehouse, cause: str, subject: str, details: Mapping[str, Any]
) -> bool:
    """Record that `subject` shows `cause`; True when nobody knew of it yet.

    Args:
        cause: made by `cause_of`.
        subject: what failed, for instance `sync_shop.shop_journey.orders`; closes it again.
        details: what on-call wants to see; no personal data.
    """
    params = {
        "cause": cause,
        "subject": subject,
        "details": Jsonb(dict(details)),
        "at": clock.now(),
    }
    row = sqlfile.execute(warehouse, "ops/open_incident", params).fetchone()
    return row is not None and int(row[1]) == 1


def close_incidents(warehouse: Warehouse, subject: str) -> int:
    """Take `subject` off every open cause, since it works again; returns how many it was on."""
    params = {"subject": subject, "at": clock.now()}
    return sqlfile.execute(warehouse, "ops/close_incidents", params).rowcount
