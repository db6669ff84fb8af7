"""Airflow's connections in the form that the engines take."""

from __future__ import annotations

import json

from marketing_ops.connections import Connection
from marketing_ops.errors import FatalError


def from_airflow(conn_id: str) -> Connection:
    """The connection as Airflow stores it: environment, secrets backend or Admin > Connections.

    Airflow masks its password in the task's log from here on.

    Raises:
        FatalError: there is no such connection, or its extra is not JSON.
    """
    from airflow.sdk import BaseHook
    from airflow.sdk.exceptions import AirflowNotFoundException

    try:
        found = BaseHook.get_connection(conn_id)
    except AirflowNotFoundException:
        raise FatalError(
            f"connection `{conn_id}` is not defined: create it in Airflow under Admin >"
            f" Connections, or set AIRFLOW_CONN_{conn_id.upper()}"
        ) from None
    try:
        extra = json.loads(found.extra) if found.extra else {}
    except ValueError:
        extra = None
    if not isinstance(extra, dict):
        raise FatalError(f"the extra of connection `{conn_id}` is not a JSON object: correct it")
    return Connection(
        conn_id=conn_id,
        conn_type=found.conn_type or "",
        host=found.host or "",
        port=int(found.port) if found.port else None,
        schema=found.schema or "",
        login=found.login or "",
        password=found.password or "",
        extra=extra,
    )
