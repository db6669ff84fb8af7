"""The streams of a HubSpot account: which properties are read, how records change and vanish.

`api` of a stream holds: `read` (the reader that knows it, see `source`), `object` (the object's
name in paths), `modified` (the property with its time of change), `properties` (more properties to
ask for; they are kept in `extra`), `searched` (the only ones a search has to show, for objects that
are read by id afterwards), and `scope` (what the app has to be granted).

CRM objects reach the engine flat: `id` beside their properties (see `records.flat`).
"""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from marketing_ops.sources.base import Column, ColumnType, Stream

INDEX_LAG = timedelta(minutes=2)
"""Search shows a change later than it happened, by seconds (2026-09): the cursor stays behind."""


def _column(name: str, kind: ColumnType, path: str = "") -> Column:
    return Column(name, kind, path or name)


def _api(read: str, scope: str, **more: Any) -> dict[str, Any]:
    return {"read": read, "scope": scope, "properties": (), **more}


_CONTACTS = Stream(
    name="contacts",
    columns=(
        _column("id", "text"),
        _column("email", "text"),
        _column("first_name", "text", "firstname"),
        _column("last_name", "text", "lastname"),
        _column("phone", "text"),
        _column("country", "text"),
        _column("region", "text", "state"),
        _column("city", "text"),
        _column("postal_code", "text", "zip"),
        _column("language", "text", "hs_language"),
        _column("time_zone", "text", "hs_timezone"),
        _column("birth_date", "text", "date_of_birth"),
        _column("company", "text"),
        _column("job_title", "text", "jobtitle"),
        _column("lifecycle_stage", "text", "lifecyclestage"),
        _column("lead_status", "text", "hs_lead_status"),
        _column("origin", "text", "hs_analytics_source"),
        _column("owner_id", "text", "hubspot_owner_id"),
        _column("is_opted_out", "boolean", "hs_email_optout"),
        _column("merged_ids", "text", "hs_merged_object_ids"),
        _column("created_at", "timestamptz", "createdate"),
        _column("updated_at", "timestamptz", "lastmodifieddate"),
    ),
    cursor="updated_at",
    overlap=INDEX_LAG,
    page_size=200,
    absorbs="merged_ids",
    is_complete=True,
    is_reconciled=True,
    max_slices=4,
    dag="crm",
    entity="contacts",
    note="needs the scope crm.objects.contacts.read",
    api=_api(
        "objects", "crm.objects.contacts.read", object="contacts", modified="lastmodifieddate"
    ),
)

_COMPANIES = Stream(
    name="companies",
    columns=(
        _column("id", "text"),
        _column("name", "text"),
        _column("domain", "text"),
        _column("industry", "text"),
        _column("country", "text"),
        _column("region", "text", "state"),
        _column("city", "text"),
        _column("employees", "bigint", "numberofemployees"),
        _column("revenue", "numeric", "annualrevenue"),
        _column("lifecycle_stage", "text", "lifecyclestage"),
        _column("owner_id", "text", "hubspot_owner_id"),
        _column("merged_ids", "text", "hs_merged_object_ids"),
        _column("created_at", "timestamptz", "createdate"),
        _column("updated_at", "timestamptz", "hs_lastmodifieddate"),
    ),
    cursor="updated_at",
    overlap=INDEX_LAG,
    page_size=200,
    absorbs="merged_ids",
    is_complete=True,
    is_reconciled=True,
    max_slices=4,
    dag="crm",
    entity="companies",
    note="needs the scope crm.objects.companies.read",
    api=_api(
        "objects",
        "crm.objects.companies.read",
        object="companies",
        modified="hs_lastmodifieddate",
    ),
)

_DEAL_STAGES = Stream(
    name="deal_stages",
    parent="deals",
    parent_column="deal_id",
    nested="stages",
    columns=(
        _column("id", "text"),
        _column("deal_id", "text", "__parentId"),
        _column("stage_id", "text"),
        _column("entered_at", "timestamptz"),
    ),
    entity="deal_stages",
)

_DEALS = Stream(
    name="deals",
    columns=(
        _column("id", "text"),
        _column("name", "text", "dealname"),
        _column("pipeline_id", "text", "pipeline"),
        _column("stage_id", "text", "dealstage"),
        _column("amount", "numeric"),
        _column("currency", "text", "deal_currency_code"),
        _column("type", "text", "dealtype"),
        _column("owner_id", "text", "hubspot_owner_id"),
        _column("company_id", "text"),
        _column("contact_ids", "jsonb"),
        _column("lost_reason", "text", "closed_lost_reason"),
        _column("is_closed", "boolean", "hs_is_closed"),
        _column("is_won", "boolean", "hs_is_closed_won"),
        _column("probability", "numeric", "hs_deal_stage_probability"),
        _column("merged_ids", "text", "hs_merged_object_ids"),
        _column("created_at", "timestamptz", "createdate"),
        _column("closed_at", "timestamptz", "closedate"),
        _column("updated_at", "timestamptz", "hs_lastmodifieddate"),
    ),
    cursor="updated_at",
    overlap=INDEX_LAG,
    # Search names the deals, a second call shows them: a deal may be newer there than its place.
    is_ascending=False,
    page_size=100,
    children=(_DEAL_STAGES,),
    absorbs="merged_ids",
    is_complete=True,
    is_reconciled=True,
    max_slices=4,
    dag="crm",
    entity="deals",
    note="needs the scope crm.objects.deals.read; the stage history is read with each deal",
    api=_api(
        "deals",
        "crm.objects.deals.read",
        object="deals",
        modified="hs_lastmodifieddate",
        searched=["hs_lastmodifieddate"],
    ),
)


def _deletions(stream: Stream, name: str) -> Stream:
    """The archived records of a stream: HubSpot lists them for 90 days, in no order of time."""
    return Stream(
        name=name,
        columns=(_column("id", "text"), _column("deleted_at", "timestamptz", "archivedAt")),
        cursor="deleted_at",
        is_ascending=False,
        deletes=stream.name,
        schedule="daily",
        dag="crm",
        note="HubSpot lists what was deleted for 90 days; each run reads the whole list",
        api=_api("archived", stream.api["scope"], object=stream.api["object"]),
    )


_STAGES = Stream(
    name="stages",
    parent="pipelines",
    parent_column="pipeline_id",
    nested="stages",
    columns=(
        _column("id", "text"),
        _column("pipeline_id", "text", "__parentId"),
        _column("name", "text", "label"),
        _column("position", "bigint", "displayOrder"),
        _column("probability", "numeric", "probability"),
        _column("is_closed", "boolean", "isClosed"),
        _column("created_at", "timestamptz", "createdAt"),
        _column("updated_at", "timestamptz", "updatedAt"),
    ),
    entity="stages",
)

_PIPELINES = Stream(
    name="pipelines",
    columns=(
        _column("id", "text"),
        _column("name", "text", "label"),
        _column("position", "bigint", "displayOrder"),
        _column("created_at", "timestamptz", "createdAt"),
        _column("updated_at", "timestamptz", "updatedAt"),
    ),
    children=(_STAGES,),
    is_complete=True,
    schedule="daily",
    dag="crm",
    note="pipelines of deals, with their stages",
    api=_api("pipelines", "crm.schemas.deals.read"),
)

_OWNERS = Stream(
    name="owners",
    columns=(
        _column("id", "text"),
        _column("email", "text"),
        _column("first_name", "text", "firstName"),
        _column("last_name", "text", "lastName"),
        _column("type", "text"),
        _column("user_id", "text", "userIdIncludingInactive"),
        _column("teams", "jsonb"),
        _column("is_archived", "boolean", "archived"),
        _column("created_at", "timestamptz", "createdAt"),
        _column("updated_at", "timestamptz", "updatedAt"),
    ),
    is_complete=True,
    schedule="daily",
    dag="crm",
    entity="owners",
    note="needs the scope crm.objects.owners.read",
    api=_api("owners", "crm.objects.owners.read"),
)

_LISTS = Stream(
    name="lists",
    columns=(
        _column("id", "text"),
        _column("name", "text"),
        _column("object_type_id", "text", "objectTypeId"),
        _column("kind", "text", "processingType"),
        _column("status", "text", "processingStatus"),
        _column("version", "bigint", "listVersion"),
        _column("size", "bigint", "additionalProperties.hs_list_size"),
        _column("created_at", "timestamptz", "createdAt"),
        _column("updated_at", "timestamptz", "updatedAt"),
        _column("filters_updated_at", "timestamptz", "filtersUpdatedAt"),
    ),
    page_size=100,
    is_complete=True,
    schedule="daily",
    dag="crm",
    entity="lists",
    note="needs the scope crm.lists.read",
    api=_api("lists", "crm.lists.read"),
)

_LIST_MEMBERS = Stream(
    name="list_members",
    columns=(
        _column("id", "text"),
        _column("list_id", "text", "listId"),
        _column("contact_id", "text", "recordId"),
        _column("added_at", "timestamptz", "membershipTimestamp"),
    ),
    page_size=100,
    is_complete=True,
    schedule="daily",
    dag="crm",
    entity="list_members",
    note="members of static lists of contacts (MANUAL, SNAPSHOT); each run reads them all",
    api=_api("members", "crm.lists.read"),
)

_CONSENTS = Stream(
    name="consents",
    columns=(
        _column("id", "text"),
        _column("contact_id", "text"),
        _column("subscription_id", "text", "subscriptionId"),
        _column("subscription", "text", "subscriptionName"),
        _column("channel", "text"),
        _column("status", "text"),
        _column("legal_basis", "text", "legalBasis"),
        _column("legal_basis_explanation", "text", "legalBasisExplanation"),
        _column("source", "text"),
        _column("changed_at", "timestamptz", "timestamp"),
    ),
    page_size=100,
    is_complete=True,
    schedule="daily",
    dag="crm",
    entity="consents",
    note="needs the scope communication_preferences.read; HubSpot has no feed of them: each run"
    " asks for every contact with an address (two calls for a hundred). Who left all e-mail is"
    " seen with the contact, hourly",
    api=_api("consents", "communication_preferences.read"),
)

_EMAIL_EVENTS = Stream(
    name="email_events",
    columns=(
        _column("id", "text"),
        _column("type", "text"),
        _column("recipient", "text"),
        _column("created_at", "timestamptz", "created"),
        _column("campaign_id", "text", "emailCampaignId"),
        _column("campaign_group_id", "text", "emailCampaignGroupId"),
        _column("app", "text", "appName"),
        _column("url", "text"),
        _column("category", "text"),
        _column("response", "text"),
        _column("smtp_status", "text", "status"),
        _column("is_filtered", "boolean", "filteredEvent"),
        _column("user_agent", "text", "userAgent"),
        _column("subscriptions", "jsonb"),
        _column("portal_status", "text", "portalSubscriptionStatus"),
    ),
    cursor="created_at",
    # HubSpot dates an event when it happened and shows it later, by minutes (2026-09).
    overlap=timedelta(hours=2),
    is_ascending=False,
    page_size=1000,
    dag="engagement",
    entity="email_events",
    note="needs the scope content: what became of each marketing e-mail is told only by the legacy"
    " events API",
    api=_api("events", "content"),
)

STREAMS: tuple[Stream, ...] = (
    _CONTACTS,
    _COMPANIES,
    _DEALS,
    _PIPELINES,
    _OWNERS,
    _deletions(_CONTACTS, "contact_deletions"),
    _deletions(_COMPANIES, "company_deletions"),
    _deletions(_DEALS, "deal_deletions"),
    _LISTS,
    _LIST_MEMBERS,
    _CONSENTS,
    _EMAIL_EVENTS,
)
