"""An account's address and secret, without Airflow: what the CLI and the receiver can read too."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qsl, unquote, urlsplit

from marketing_ops.errors import FatalError


@dataclass(frozen=True)
class Connection:
    """One account of a source, as Airflow stores it. `repr` never shows the password."""

    conn_id: str
    conn_type: str = ""
    host: str = ""
    port: int | None = None
    schema: str = ""
    login: str = ""
    password: str = field(default="", repr=False)
    extra: dict[str, Any] = field(default_factory=dict, repr=False)

    def base_url(self, default_scheme: str = "https") -> str:
        """Scheme, host and port without a trailing slash.

        The scheme is `extra.scheme`, else `default_scheme`; a host that already is a URL is kept.
        """
        if "://" in self.host:
            return self.host.rstrip("/")
        scheme = str(self.extra.get("scheme") or default_scheme)
        return f"{scheme}://{self.host}" + (f":{self.port}" if self.port else "")


Resolver = Callable[[str], Connection]
"""Finds a connection by id, or raises FatalError saying how to create it."""


def from_environment(conn_id: str) -> Connection:
    """The connection in `AIRFLOW_CONN_<CONN_ID>`: a URI or Airflow's JSON form.

    Raises:
        FatalError: the variable is missing or cannot be read.
    """
    variable = f"AIRFLOW_CONN_{conn_id.upper()}"
    text = os.environ.get(variable, "").strip()
    if not text:
        raise FatalError(
            f"connection `{conn_id}` is not defined: create it in Airflow under Admin > Connections"
            f" or set {variable}"
        )
    try:
        return _from_json(conn_id, text) if text.startswith("{") else _from_uri(conn_id, text)
    except ValueError as error:
        raise FatalError(f"{variable} is neither Airflow's JSON nor a URI") from error


def _from_json(conn_id: str, text: str) -> Connection:
    data = json.loads(text)
    extra = data.get("extra") or {}
    if isinstance(extra, str):
        extra = json.loads(extra)
    port = data.get("port")
    return Connection(
        conn_id=conn_id,
        conn_type=data.get("conn_type") or "",
        host=data.get("host") or "",
        port=int(port) if port else None,
        schema=data.get("schema") or "",
        login=data.get("login") or "",
        password=data.get("password") or "",
        extra=extra,
    )


def _from_uri(conn_id: str, text: str) -> Connection:
    parts = urlsplit(text)
    extra: dict[str, Any] = dict(parse_qsl(parts.query))
    if "__extra__" in extra:
        extra = json.loads(extra["__extra__"])
    return Connection(
        conn_id=conn_id,
        conn_type=parts.scheme.replace("-", "_"),
        host=unquote(parts.hostname or ""),
        port=parts.port,
        schema=unquote(parts.path.lstrip("/")),
        login=unquote(parts.username or ""),
        password=unquote(parts.password or ""),
        extra=extra,
    )
