"""Where the demo keeps its things, on which ports it listens, and its processes' environment."""

from __future__ import annotations

import json
import os
import secrets
import socket
import sys
from base64 import urlsafe_b64encode
from dataclasses import dataclass
from pathlib import Path
from typing import Any

PROJECT = Path(__file__).resolve().parents[1]
HOME = Path(os.environ.get("MARKETING_OPS_DEMO_HOME") or PROJECT / ".demo").resolve()
LOGS = HOME / "logs"
CLOCK = HOME / "clock"
STATE = HOME / "state.json"
CURRENCY = HOME / "currency"
"""The currency of the user's own data: the demo reports in it, since nobody gave it rates."""
POSTGRES_VARIABLE = "MARKETING_OPS_POSTGRES"

_PREFERRED_PORTS = {
    "airflow": 8080,
    "receiver": 8090,
    "sandbox": 8070,
    "smtp": 8025,
    "worker_log": 8793,
    "trigger_log": 8794,
}
_LOGINS = {"admin": "admin", "ops": "op", "marketer": "user", "oncall": "viewer"}


@dataclass(frozen=True)
class Layout:
    """What one demo remembers between runs: its ports, its secrets, its Postgres."""

    ports: dict[str, int]
    secrets: dict[str, str]

    def url(self, service: str, path: str = "") -> str:
        """The address of a service on this machine."""
        return f"http://127.0.0.1:{self.ports[service]}{path}"


def load_or_create(*, keep_ports: bool) -> Layout:
    """The remembered layout, or a new one.

    A remembered port that somebody else took meanwhile is replaced by a free one, unless
    `keep_ports` says that the demo's own processes are still listening there.
    """
    HOME.mkdir(exist_ok=True)
    LOGS.mkdir(exist_ok=True)
    known: dict[str, Any] = json.loads(STATE.read_text()) if STATE.exists() else {}
    ports = {}
    for service, preferred in _PREFERRED_PORTS.items():
        port = int(known.get("ports", {}).get(service, preferred))
        if not keep_ports and not _is_free(port):
            port = _free_port()
        ports[service] = port
    keys = known.get("secrets") or {
        "jwt": secrets.token_hex(32),
        "api": secrets.token_hex(32),
        "fernet": urlsafe_b64encode(secrets.token_bytes(32)).decode(),
        "receiver": secrets.token_hex(32),
    }
    draft = STATE.with_suffix(".new")
    draft.touch(mode=0o600)
    draft.write_text(json.dumps({"ports": ports, "secrets": keys}, indent=1))
    draft.replace(STATE)
    return Layout(ports, keys)


def connections(layout: Layout, warehouse: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """The Airflow connections of the demo by id, in Airflow's own JSON fields."""
    return {
        "marketing_ops_warehouse": {"conn_type": "postgres", **warehouse},
        "shop_journey": {
            "conn_type": "marketing_ops_shopify",
            "host": layout.url("sandbox", "/shopify"),
            "password": "shpat_sandbox",
        },
        "hubspot_journey": {
            "conn_type": "marketing_ops_hubspot",
            "host": layout.url("sandbox", "/hubspot"),
            "password": "pat-na1-sandbox",
            # An hour is lived in a fraction of a second: the sandbox allows as much.
            "extra": {"searches_per_second": 5000},
        },
        "mailchimp_journey": {
            "conn_type": "marketing_ops_mailchimp",
            "host": layout.url("sandbox", "/mailchimp"),
            "password": "sandbox-us1",
        },
        "smtp_journey": {
            "conn_type": "marketing_ops_smtp",
            "host": "127.0.0.1",
            "port": layout.ports["smtp"],
            "extra": {"security": "none"},
        },
        "marketing_ops_receiver": {
            "conn_type": "marketing_ops_receiver",
            "host": layout.url("receiver"),
            "password": layout.secrets["receiver"],
        },
    }


def environment(layout: Layout, warehouse: dict[str, Any]) -> dict[str, str]:
    """What every process of the demo that is not Airflow itself finds in its environment."""
    base = {key: value for key, value in os.environ.items() if not key.startswith("AIRFLOW_")}
    base["PATH"] = f"{Path(sys.executable).parent}{os.pathsep}{base.get('PATH', '')}"
    base["MARKETING_OPS_CLOCK_FILE"] = str(CLOCK)
    base["MARKETING_OPS_INCLUDE"] = str(PROJECT / "include")
    base["MARKETING_OPS_RECEIVER_URL"] = layout.url("receiver")
    base["PYTHONUNBUFFERED"] = "1"
    if CURRENCY.exists():
        base["MARKETING_OPS_REPORTING_CURRENCY"] = CURRENCY.read_text().strip()
    for conn_id, fields in connections(layout, warehouse).items():
        base[f"AIRFLOW_CONN_{conn_id.upper()}"] = json.dumps(fields)
    return base


def airflow_environment(layout: Layout, base: dict[str, str], metadata_url: str) -> dict[str, str]:
    """What Airflow's four processes find: its settings, but connections only in its database.

    Its connections live in the metadata database, so that the UI shows and edits them.
    """
    home = HOME / "airflow"
    home.mkdir(exist_ok=True)
    passwords = home / "passwords.json"
    passwords.write_text(json.dumps({user: user for user in _LOGINS}))
    url = layout.url("airflow")
    settings = {
        "CORE__EXECUTOR": "LocalExecutor",
        "CORE__PARALLELISM": "4",
        "CORE__DAGS_FOLDER": str(PROJECT / "dags"),
        "CORE__PLUGINS_FOLDER": str(PROJECT / "plugins"),
        "CORE__LOAD_EXAMPLES": "False",
        "CORE__DAGS_ARE_PAUSED_AT_CREATION": "True",
        "CORE__FERNET_KEY": layout.secrets["fernet"],
        "CORE__EXECUTION_API_SERVER_URL": f"{url}/execution/",
        "CORE__SIMPLE_AUTH_MANAGER_USERS": ",".join(f"{u}:{role}" for u, role in _LOGINS.items()),
        "CORE__SIMPLE_AUTH_MANAGER_PASSWORDS_FILE": str(passwords),
        "DATABASE__SQL_ALCHEMY_CONN": metadata_url,
        "API__HOST": "127.0.0.1",
        "API__PORT": str(layout.ports["airflow"]),
        "API__BASE_URL": url,
        "API__WORKERS": "1",
        "API__SECRET_KEY": layout.secrets["api"],
        "API_AUTH__JWT_SECRET": layout.secrets["jwt"],
        "LOGGING__WORKER_LOG_SERVER_PORT": str(layout.ports["worker_log"]),
        "LOGGING__TRIGGER_LOG_SERVER_PORT": str(layout.ports["trigger_log"]),
        "SCHEDULER__SCHEDULER_IDLE_SLEEP_TIME": "0.2",
        "DAG_PROCESSOR__MIN_FILE_PROCESS_INTERVAL": "60",
        "CORE__DEFAULT_TIMEZONE": "utc",
    }
    own = {key: value for key, value in base.items() if not key.startswith("AIRFLOW_CONN_")}
    own["AIRFLOW_HOME"] = str(home)
    own.update({f"AIRFLOW__{name}": value for name, value in settings.items()})
    return own


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
        return True


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
