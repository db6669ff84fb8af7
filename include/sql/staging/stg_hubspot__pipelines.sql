-- grain: one stage of one pipeline of deals; one owner        key: (account, external_id)
-- reads: mkt_raw.hubspot__pipelines, mkt_raw.hubspot__stages, mkt_raw.hubspot__owners
-- rerun: replaces the views, which hold no data

create or replace view mkt_staging.hubspot__stages as
select
    'hubspot'::text as system,
    stages.account,
    stages.id as external_id,
    stages.pipeline_id,
    pipelines.name as pipeline,
    stages.name,
    stages.position,
    stages.probability,
    stages.is_closed,
    stages.is_closed and stages.probability = 1 as is_won,
    -- a pipeline that is gone takes its stages along
    stages.is_deleted or coalesce(pipelines.is_deleted, false) as is_deleted,
    greatest(stages.sync_run_id, pipelines.sync_run_id) as sync_run_id
from mkt_raw.hubspot__stages as stages
left join mkt_raw.hubspot__pipelines as pipelines
    on stages.account = pipelines.account and stages.pipeline_id = pipelines.id;

create or replace view mkt_staging.hubspot__owners as
select
    'hubspot'::text as system,
    owners.account,
    owners.id as external_id,
    nullif(lower(trim(owners.email)), '') as email,
    nullif(trim(owners.first_name), '') as first_name,
    nullif(trim(owners.last_name), '') as last_name,
    (
        select teams.team ->> 'name'
        from
            jsonb_array_elements(
                case jsonb_typeof(owners.teams) when 'array' then owners.teams else '[]' end
            ) as teams (team)
        order by coalesce(teams.team ->> 'primary', 'false') desc, teams.team ->> 'name'
        limit 1
    ) as team,
    not coalesce(owners.is_archived, false) and not owners.is_deleted as is_active,
    owners.is_deleted,
    owners.sync_run_id
from mkt_raw.hubspot__owners as owners;
