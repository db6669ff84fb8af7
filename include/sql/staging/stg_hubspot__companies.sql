-- grain: one HubSpot company        key: (account, external_id)
-- reads: mkt_raw.hubspot__companies
-- rerun: replaces the view, which holds no data

create or replace view mkt_staging.hubspot__companies as
select
    'hubspot'::text as system,
    companies.account,
    companies.id as external_id,
    nullif(trim(companies.name), '') as name,
    nullif(lower(trim(companies.domain)), '') as domain,
    lower(nullif(trim(companies.industry), '')) as industry,
    nullif(trim(companies.country), '') as country,
    nullif(trim(companies.city), '') as city,
    companies.employees,
    companies.revenue,
    companies.owner_id,
    coalesce(companies.extra, '{}')
    || jsonb_strip_nulls(
        jsonb_build_object(
            'region', companies.region,
            'lifecycle_stage', companies.lifecycle_stage
        )
    ) as attributes,
    coalesce(companies.created_at, companies.updated_at, companies.loaded_at) as created_at,
    coalesce(companies.source_updated_at, companies.updated_at, companies.loaded_at)
        as updated_at,
    companies.is_deleted,
    companies.sync_run_id
from mkt_raw.hubspot__companies as companies;
