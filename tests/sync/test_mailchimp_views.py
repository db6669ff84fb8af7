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


def test_opens_say_whether_a_person_made_them(db: Warehouse) -> None:
    """An open comes once, from the report that knows the proxies; who clicks at once is one too."""
    put(db, "campaigns", id="c", title="News", sent_at=AT)
    late = datetime(2026, 3, 1, 10, tzinfo=UTC)
    put(db, "email_activity", id="1", campaign_id="c", action="open", occurred_at=late)
    put(db, "email_activity", id="2", campaign_id="c", action="click", occurred_at=AT)
    put(db, "opens", id="3", campaign_id="c", occurred_at=late, is_machine=True)
    put(db, "opens", id="4", campaign_id="c", occurred_at=late, is_machine=False)
    put(db, "opens", id="5", campaign_id="c", occurred_at=AT)
    found = db.execute(
        "select external_id, event_type, is_machine from mkt_staging.email_events order by 1"
    ).fetchall()
    assert found == [
        ("activity:2", "email_clicked", True),
        ("open:3", "email_opened", True),
        ("open:4", "email_opened", False),
        ("open:5", "email_opened", True),
    ]
