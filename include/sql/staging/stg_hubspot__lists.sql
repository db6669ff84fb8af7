-- grain: one HubSpot list; one contact on one list        key: (account, external_id)
-- reads: mkt_raw.hubspot__lists, mkt_raw.hubspot__list_members
-- rerun: replaces the views, which hold no data

create or replace view mkt_staging.hubspot__lists as
select
    'hubspot'::text as system,
    lists.account,
    lists.id as external_id,
    lists.name,
    lower(lists.kind) as kind,
    lists.size,
    coalesce(lists.updated_at, lists.created_at) as updated_at,
    lists.is_deleted,
    lists.sync_run_id
from mkt_raw.hubspot__lists as lists;

create or replace view mkt_staging.hubspot__list_members as
select
    'hubspot'::text as system,
    members.account,
    members.id as external_id,
    members.list_id,
    members.contact_id,
    members.added_at,
    members.is_deleted,
    members.sync_run_id
from mkt_raw.hubspot__list_members as members;
