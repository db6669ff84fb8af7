from __future__ import annotations

import pytest

from marketing_ops import connections, warehouse
from marketing_ops.connections import Connection
from marketing_ops.errors import FatalError, RetryableError


def test_uri_and_json_are_read_alike(monkeypatch: pytest.MonkeyPatch) -> None:
    """Both of Airflow's forms of AIRFLOW_CONN_* give the same connection."""
    monkeypatch.setenv("AIRFLOW_CONN_A", "postgres://u:p%40ss@h:5433/db?socket=%2Fs")
    monkeypatch.setenv(
        "AIRFLOW_CONN_B",
        '{"conn_type": "postgres", "host": "h", "port": "5433", "schema": "db", "login": "u",'
        ' "password": "p@ss", "extra": "{\\"socket\\": \\"/s\\"}"}',
    )
    one, other = connections.from_environment("a"), connections.from_environment("b")
    assert (one.host, one.port, one.schema, one.login, one.password, one.extra) == (
        other.host,
        other.port,
        other.schema,
        other.login,
        other.password,
        other.extra,
    )
    assert one.password == "p@ss"


def test_missing_connection_says_how_to_make_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """The sentence names the Airflow menu and the variable."""
    monkeypatch.delenv("AIRFLOW_CONN_SHOP", raising=False)
    with pytest.raises(FatalError, match=r"Admin > Connections or set AIRFLOW_CONN_SHOP"):
        connections.from_environment("shop")


def test_unreadable_connection_does_not_show_its_text(monkeypatch: pytest.MonkeyPatch) -> None:
    """A broken value may hold a secret: the message names the variable only."""
    monkeypatch.setenv("AIRFLOW_CONN_SHOP", '{"password": "s3cret"')
    with pytest.raises(FatalError) as caught:
        connections.from_environment("shop")
    assert "s3cret" not in str(caught.value)


def test_repr_hides_secrets() -> None:
    """A connection may end up in a log line."""
    text = repr(Connection("c", password="s3cret", extra={"token": "t0ken"}))
    assert "s3cret" not in text
    assert "t0ken" not in text


def test_unreachable_warehouse_is_retryable() -> None:
    """A server that is down may be up at the next try."""
    with pytest.raises(RetryableError, match="check its host and port"):
        warehouse.open_warehouse(Connection("w", host="127.0.0.1", port=1))


def test_unknown_database_is_fatal(warehouse_uri: str) -> None:
    """A wrong database name stays wrong: no retry."""
    from psycopg.conninfo import conninfo_to_dict

    parts = conninfo_to_dict(warehouse_uri)
    port = parts.get("port")
    wrong = Connection(
        "w",
        host=str(parts.get("host") or ""),
        port=int(port) if port else None,
        login=str(parts.get("user") or "postgres"),
        schema="no_such_database",
    )
    with pytest.raises(FatalError, match="check its login, password and database"):
        warehouse.open_warehouse(wrong)
