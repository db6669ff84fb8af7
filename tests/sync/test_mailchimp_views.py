"""The staging views of Mailchimp over rows as the raw tables have them."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest
from psycopg import sql
from psycopg.types.json import Jsonb

from marketing_ops.warehouse import Warehouse

AT = datetime(2026, 3, 1, 9, tzinfo=UTC)


def put(db: Warehouse, table: str, **values: Any) -> None:
    """One raw row."""
    row = {
        "account": "news",
        "row_hash": b"1",
        "loaded_at": AT,
        "sync_run_id": 7,
        **{k: Jsonb(v) if isinstance(v, dict | list) else v for k, v in values.items()},
    }
    db.execute(
        sql.SQL("insert into {} ({}) values ({})").format(
            sql.Identifier("mkt_raw", f"mailchimp__{table}"),
            sql.SQL(", ").join(map(sql.Identifier, row)),
            sql.SQL(", ").join([sql.Placeholder()] * len(row)),
        ),
        list(row.values()),
    )


@pytest.mark.parametrize("status", ["subscribed", "pending"])
def test_member_deleted_for_good_grants_nothing_any_more(db: Warehouse, status: str) -> None:
    """What was erased at Mailchimp is no proof of a consent; it says nothing."""
    put(db, "members", id="l:1", list_id="l", status=status, is_deleted=True)
    assert db.execute("select status from mkt_staging.consents").fetchall() == [("none",)]


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ([], "granted"),
        ([("Email", True), ("Direct Mail", False)], "granted"),
        ([("E-mail", False), ("Direct Mail", True)], "none"),
        ([("Newsletter", True)], "granted"),
        ([("Newsletter", False), ("Anzeigen", False)], "none"),
    ],
)
def test_subscriber_without_a_permission_grants_nothing(
    db: Warehouse, given: list[tuple[str, bool]], expected: str
) -> None:
    """Of the permissions asked for (their words are the account's own) the one for e-mail has to be
    given; where none is called so, at least one.
    """
    permissions = [{"text": text, "enabled": is_given} for text, is_given in given]
    put(
        db,
        "members",
        id="l:1",
        list_id="l",
        status="subscribed",
        marketing_permissions=permissions,
    )
    assert db.execute("select status from mkt_staging.consents").fetchall() == [(expected,)]
