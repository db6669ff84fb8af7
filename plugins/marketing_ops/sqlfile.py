"""SQL lives in include/sql: one statement (or script) a file, values as named parameters."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from typing import Any

import psycopg

from marketing_ops.errors import FatalError
from marketing_ops.paths import include_root


@cache
def load(name: str) -> str:
    """The text of include/sql/<name>.sql, for instance `core/upsert_orders`.

    Raises:
        FatalError: there is no such file (an incomplete deployment).
    """
    path = include_root() / "sql" / f"{name}.sql"
    try:
        return path.read_text(encoding="utf-8")
    except FileNotFoundError as error:
        raise FatalError(f"{path} is missing: copy the whole include/ folder") from error


def execute(
    connection: psycopg.Connection[Any], name: str, params: Mapping[str, Any] | None = None
) -> psycopg.Cursor[Any]:
    """Run include/sql/<name>.sql and return its cursor.

    Parameters are bound by the server and written `%(name)s` in the file; a literal percent sign
    is doubled. A file run without parameters may hold several statements.
    """
    text = load(name)
    return (
        connection.execute(text.encode(), params) if params else connection.execute(text.encode())
    )
