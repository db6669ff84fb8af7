"""The streams of a Mailchimp account: which fields are read, and how each record changes and goes.

`api` of a stream holds: `path` (below the API's root; `{list}` or `{campaign}` is a parent's id),
`root` (the list in the answer), `id` (what a record is told apart by within its parent), `ask`
(constant parameters) and `events` (the list in a record whose items are the stream's own records).
Paths of columns are those of a record as `pages` hands it out: with an `id` that is unique in the
account, the vendor's own under `email_hash` or `own_id`.
"""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from marketing_ops.sources.base import Column, ColumnType, Stream


def _columns(**kinds: str) -> tuple[Column, ...]:
    """Columns as `name="type path"`; without a path it is the name."""
    made = []
    for name, text in kinds.items():
        kind, _, path = text.partition(" ")
        column_type: ColumnType = kind  # type: ignore[assignment]  # a raw table checks it
        made.append(Column(name, column_type, path or name))
    return tuple(made)


def _fields(root: str, *names: str) -> dict[str, str]:
    """Asks for these fields of a record only, and for the count: the rest is large."""
    return {"fields": ",".join([*(f"{root}.{name}" for name in names), "total_items"])}


def _api(
    path: str, root: str, ask: dict[str, str], key: str = "id", events: str = ""
) -> dict[str, Any]:
    return {"path": path, "root": root, "ask": ask, "id": key, "events": events}


_AUDIENCES = Stream(
    name="audiences",
    columns=_columns(
        id="text",
        web_id="bigint",
        name="text",
        is_double_optin="boolean double_optin",
        has_marketing_permissions="boolean marketing_permissions",
        visibility="text",
        list_rating="numeric",
        member_count="bigint stats.member_count",
        unsubscribe_count="bigint stats.unsubscribe_count",
        cleaned_count="bigint stats.cleaned_count",
        created_at="timestamptz date_created",
    ),
    page_size=1000,
    is_complete=True,
    dag="crm",
    entity="lists",
    api=_api(
        "/lists",
        "lists",
        _fields(
            "lists",
            "id",
            "web_id",
            "name",
            "double_optin",
            "marketing_permissions",
            "visibility",
            "list_rating",
            "stats.member_count",
            "stats.unsubscribe_count",
            "stats.cleaned_count",
            "date_created",
        ),
    ),
)

_MEMBERS = Stream(
    name="members",
    columns=_columns(
        id="text",
        list_id="text",
        contact_id="text",
        unique_email_id="text",
        email_hash="text",
        web_id="bigint",
        email="text email_address",
        status="text",
        unsubscribe_reason="text",
        email_type="text",
        language="text",
        is_vip="boolean vip",
        member_rating="bigint",
        source="text",
        country_code="text location.country_code",
        time_zone="text location.timezone",
        sms_phone_number="text",
        sms_subscription_status="text",
        merge_fields="jsonb",
        interests="jsonb",
        marketing_permissions="jsonb",
        tags="jsonb",
        signup_ip="text ip_signup",
        signup_at="timestamptz timestamp_signup",
        optin_ip="text ip_opt",
        optin_at="timestamptz timestamp_opt",
        last_changed="timestamptz",
    ),
    # E-mail activity names a member by the hash of the address.
    lookups=(("list_id", "email_hash"),),
    cursor="last_changed",
    # Ascending within each audience, not across them.
    is_ascending=False,
    page_size=1000,
    is_complete=True,
    is_reconciled=True,
    max_slices=8,
    dag="crm",
    entity="contacts",
    note="a member deleted for good is found by the nightly comparison: Mailchimp says nothing",
    # What is not wanted is named, so that a field Mailchimp adds is seen.
    api=_api(
        "/lists/{list}/members",
        "members",
        {
            "exclude_fields": "_links,members._links,members.stats,members.last_note,"
            "members.full_name,members.email_client,members.tags_count,members.location.latitude,"
            "members.location.longitude,members.location.gmtoff,members.location.dstoff,"
            "members.location.region,members.consents_to_one_to_one_messaging,"
            "members.sms_subscription_last_updated"
        },
    ),
)

_SEGMENTS = Stream(
    name="segments",
    columns=_columns(
        id="text",
        list_id="text",
        segment_id="text own_id",
        name="text",
        type="text",
        member_count="bigint",
        created_at="timestamptz",
        updated_at="timestamptz",
    ),
    page_size=1000,
    is_complete=True,
    dag="crm",
    entity="lists",
    note="tags are static segments",
    api=_api(
        "/lists/{list}/segments",
        "segments",
        _fields(
            "segments",
            "id",
            "list_id",
            "name",
            "type",
            "member_count",
            "created_at",
            "updated_at",
        ),
    ),
)

_CAMPAIGNS = Stream(
    name="campaigns",
    columns=_columns(
        id="text",
        web_id="bigint",
        type="text",
        status="text",
        list_id="text recipients.list_id",
        recipient_count="bigint recipients.recipient_count",
        title="text settings.title",
        subject="text settings.subject_line",
        from_name="text settings.from_name",
        archive_url="text",
        emails_sent="bigint",
        open_count="bigint report_summary.opens",
        unique_open_count="bigint report_summary.unique_opens",
        click_count="bigint report_summary.clicks",
        unique_click_count="bigint report_summary.subscriber_clicks",
        created_at="timestamptz create_time",
        sent_at="timestamptz send_time",
    ),
    page_size=1000,
    is_complete=True,
    dag="crm",
    note="read as a whole each time: its figures change for as long as somebody opens it",
    api=_api(
        "/campaigns",
        "campaigns",
        {
            **_fields(
                "campaigns",
                "id",
                "web_id",
                "type",
                "status",
                "recipients.list_id",
                "recipients.recipient_count",
                "settings.title",
                "settings.subject_line",
                "settings.from_name",
                "archive_url",
                "emails_sent",
                "report_summary.opens",
                "report_summary.unique_opens",
                "report_summary.clicks",
                "report_summary.subscriber_clicks",
                "create_time",
                "send_time",
            ),
            "sort_field": "create_time",
            "sort_dir": "ASC",
        },
    ),
)

_EMAIL_ACTIVITY = Stream(
    name="email_activity",
    columns=_columns(
        id="text",
        campaign_id="text",
        list_id="text",
        email_hash="text",
        email="text email_address",
        action="text",
        type="text",
        url="text",
        occurred_at="timestamptz timestamp",
    ),
    cursor="occurred_at",
    overlap=timedelta(hours=1),
    is_ascending=False,
    page_size=1000,
    dag="engagement",
    entity="email_events",
    note="of the campaigns sent in the last 90 days; a first load reads all of them",
    api=_api(
        "/reports/{campaign}/email-activity",
        "emails",
        _fields("emails", "campaign_id", "list_id", "email_id", "email_address", "activity"),
        key="email_id",
        events="activity",
    ),
)

_OPENS = Stream(
    name="opens",
    columns=_columns(
        id="text",
        campaign_id="text",
        list_id="text",
        email_hash="text",
        email="text email_address",
        is_machine="boolean is_proxy_open",
        occurred_at="timestamptz timestamp",
    ),
    cursor="occurred_at",
    overlap=timedelta(hours=1),
    is_ascending=False,
    page_size=1000,
    dag="engagement",
    entity="email_events",
    note="of the campaigns sent in the last 90 days; tells machines' opens from people's, which"
    " email_activity does not",
    api=_api(
        "/reports/{campaign}/open-details",
        "members",
        _fields("members", "campaign_id", "list_id", "email_id", "email_address", "opens"),
        key="email_id",
        events="opens",
    ),
)

_SENT = Stream(
    name="sent",
    columns=_columns(
        id="text",
        campaign_id="text",
        list_id="text",
        email_hash="text",
        email="text email_address",
        status="text",
        absplit_group="text",
        sent_at="timestamptz",
    ),
    cursor="sent_at",
    # A record shows no time of its own: it has its campaign's, which may go out over a day and
    # more (batches, time zones), and a bounce changes it later.
    overlap=timedelta(days=3),
    is_ascending=False,
    page_size=1000,
    dag="engagement",
    entity="email_events",
    note="of a campaign for three days after it was sent",
    api=_api(
        "/reports/{campaign}/sent-to",
        "sent_to",
        _fields(
            "sent_to",
            "campaign_id",
            "list_id",
            "email_id",
            "email_address",
            "status",
            "absplit_group",
        ),
        key="email_id",
    ),
)

_UNSUBSCRIBES = Stream(
    name="unsubscribes",
    columns=_columns(
        id="text",
        campaign_id="text",
        list_id="text",
        email_hash="text",
        email="text email_address",
        reason="text",
        occurred_at="timestamptz timestamp",
    ),
    cursor="occurred_at",
    overlap=timedelta(hours=1),
    is_ascending=False,
    page_size=1000,
    dag="engagement",
    entity="email_events",
    note="of the campaigns sent in the last 90 days; a member's own status says it anyway",
    api=_api(
        "/reports/{campaign}/unsubscribed",
        "unsubscribes",
        _fields(
            "unsubscribes",
            "campaign_id",
            "list_id",
            "email_id",
            "email_address",
            "reason",
            "timestamp",
        ),
        key="email_id",
    ),
)

_COMPLAINTS = Stream(
    name="complaints",
    columns=_columns(
        id="text",
        list_id="text",
        complaint_id="text own_id",
        campaign_id="text",
        email_hash="text email_id",
        email="text email_address",
        occurred_at="timestamptz date",
    ),
    page_size=1000,
    is_complete=True,
    dag="engagement",
    entity="email_events",
    note="who called a mail spam; few, and read as a whole each time",
    api=_api(
        "/lists/{list}/abuse-reports",
        "abuse_reports",
        _fields(
            "abuse_reports", "id", "campaign_id", "list_id", "email_id", "email_address", "date"
        ),
    ),
)

STREAMS: tuple[Stream, ...] = (
    _AUDIENCES,
    _MEMBERS,
    _SEGMENTS,
    _CAMPAIGNS,
    _EMAIL_ACTIVITY,
    _OPENS,
    _SENT,
    _UNSUBSCRIBES,
    _COMPLAINTS,
)
