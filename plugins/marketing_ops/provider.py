"""The connection types with their forms: Airflow reads them through an entry point at start.

Imported by every Airflow process before its configuration is complete, so nothing here, and
nothing a vendor declares, may import Airflow.
"""

from __future__ import annotations

from typing import Any

from marketing_ops import __version__
from marketing_ops.sources.base import ConnectionForm
from marketing_ops.sources.registry import SYSTEMS

RECEIVER = ConnectionForm(
    conn_type="marketing_ops_receiver",
    hook_name="Marketing Ops: receiver",
    hook_class="marketing_ops.operators.hooks.ReceiverHook",
    hidden=("host", "port", "schema", "login", "extra"),
    relabeling={"password": "Key that signs the links in our mails"},
    placeholders={"password": "32 random characters or more"},
)
"""The one connection that is no vendor's."""


def get_provider_info() -> dict[str, Any]:
    """What `apache_airflow_provider` entry points return: one connection type a vendor."""
    forms = [source.form for source in SYSTEMS.values()]
    return {
        "package-name": "marketing-ops",
        "name": "Marketing Ops",
        "description": "Marketing automation as code on Apache Airflow.",
        "versions": [__version__],
        "connection-types": [form.as_provider_info() for form in (*forms, RECEIVER)],
    }
