"""The staging views of HubSpot over rows as the raw tables have them."""

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
        "account": "crm",
        "row_hash": b"1",
        "loaded_at": AT,
        "sync_run_id": 7,
        **{k: Jsonb(v) if isinstance(v, dict | list) else v for k, v in values.items()},
    }
    db.execute(
        sql.SQL("insert into {} ({}) values ({})").format(
            sql.Identifier("mkt_raw", f"hubspot__{table}"),
            sql.SQL(", ").join(map(sql.Identifier, row)),
            sql.SQL(", ").join([sql.Placeholder()] * len(row)),
        ),
        list(row.values()),
    )


def test_contact_without_custom_properties_has_its_own_attributes(db: Warehouse) -> None:
    """Country only as a code, the zone in its usual spelling, custom properties as attributes."""
    put(
        db,
        "contacts",
        id="1",
        email=" Ann@Example.com",
        country="Germany",
        time_zone="america_slash_new_york",
        birth_date="1980-02-29",
        lifecycle_stage="lead",
        extra={"favourite_aisle": "tea", "score": "12", "empty": ""},
    )
    row = db.execute(
        "select email, country, time_zone, birth_date::text, attributes from mkt_staging.contacts"
    ).fetchone()
    assert row == (
        "ann@example.com",
        None,
        "america/new_york",
        "1980-02-29",
        {"favourite_aisle": "tea", "score": 12, "lifecycle_stage": "lead"},
    )


def test_merged_ids_point_to_the_contact_that_names_them(db: Warehouse) -> None:
    """Each id but its own; a contact that is gone says nothing."""
    put(db, "contacts", id="9", merged_ids="1;2;9")
    put(db, "contacts", id="2", merged_ids="3", is_deleted=True)
    rows = db.execute(
        "select external_id, into_external_id from mkt_staging.merges order by 1"
    ).fetchall()
    assert rows == [("1", "9"), ("2", "9")]


@pytest.mark.parametrize(
    ("is_opted_out", "expected"),
    [
        (None, {"product_news": "granted"}),
        (False, {"product_news": "granted", "marketing": "none"}),
        (True, {"product_news": "denied", "marketing": "denied"}),
    ],
)
def test_who_left_all_mail_is_denied_every_topic(
    db: Warehouse, is_opted_out: bool | None, expected: dict[str, str]
) -> None:
    """A subscription does not outlive leaving all e-mail; the contact itself never grants."""
    put(db, "contacts", id="1", is_opted_out=is_opted_out, updated_at=AT)
    put(
        db,
        "consents",
        id="1:5",
        contact_id="1",
        subscription="Product news",
        status="SUBSCRIBED",
        changed_at=AT,
    )
    found = db.execute("select topic, status from mkt_staging.consents").fetchall()
    assert dict(found) == expected


def test_stage_of_a_deleted_pipeline_is_deleted(db: Warehouse) -> None:
    """The pipeline's run brings the news of its stages."""
    put(db, "pipelines", id="p", name="Sales", is_deleted=True, sync_run_id=8)
    put(db, "stages", id="s", pipeline_id="p", is_closed=True, probability=1)
    row = db.execute("select is_deleted, is_won, sync_run_id from mkt_staging.stages").fetchone()
    assert row == (True, True, 8)


def test_machine_opens_are_marked_and_noise_is_left_out(db: Warehouse) -> None:
    """An open HubSpot filtered, or that a proxy made, is a machine's; DROPPED is no event."""
    put(db, "email_events", id="1", type="OPEN", is_filtered=True)
    put(db, "email_events", id="2", type="OPEN", user_agent="x (via ggpht.com GoogleImageProxy)")
    put(db, "email_events", id="3", type="OPEN", is_filtered=False)
    put(db, "email_events", id="4", type="DROPPED")
    put(db, "email_events", id="5", type="STATUSCHANGE", portal_status="UNSUBSCRIBED")
    rows = db.execute(
        "select external_id, event_type, is_machine from mkt_staging.email_events order by 1"
    ).fetchall()
    assert rows == [
        ("1", "email_opened", True),
        ("2", "email_opened", True),
        ("3", "email_opened", False),
        ("5", "unsubscribed", False),
    ]
