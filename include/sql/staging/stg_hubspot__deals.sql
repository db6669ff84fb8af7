-- grain: one HubSpot deal; one entry of a deal into a stage        key: (account, external_id)
-- reads: mkt_raw.hubspot__deals, mkt_raw.hubspot__deal_stages
-- rerun: replaces the views, which hold no data

create or replace view mkt_staging.hubspot__deals as
select
    'hubspot'::text as system,
    deals.account,
    deals.id as external_id,
    nullif(trim(deals.name), '') as name,
    deals.pipeline_id,
    deals.stage_id,
    deals.amount,
    upper(deals.currency) as currency,
    deals.owner_id,
    deals.company_id,
    deals.contact_ids,
    nullif(trim(deals.lost_reason), '') as lost_reason,
    coalesce(deals.created_at, deals.updated_at, deals.loaded_at) as created_at,
    -- of an open deal it is a forecast
    case when deals.is_closed then deals.closed_at end as closed_at,
    coalesce(deals.source_updated_at, deals.updated_at, deals.loaded_at) as updated_at,
    deals.is_deleted,
    deals.sync_run_id
from mkt_raw.hubspot__deals as deals;

create or replace view mkt_staging.hubspot__deal_stages as
select
    'hubspot'::text as system,
    entries.account,
    entries.id as external_id,
    entries.deal_id,
    entries.stage_id,
    entries.entered_at,
    entries.is_deleted,
    entries.sync_run_id
from mkt_raw.hubspot__deal_stages as entries;
