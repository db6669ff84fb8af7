-- grain: one stage of one sales pipeline in one currency        key: (pipeline, stage, currency)
-- reads: core.deals, core.pipeline_stages
-- rerun: reads only
-- params: since (deals decided before are left out)
select
    coalesce(stages.pipeline, deals.pipeline_id) as pipeline,
    coalesce(stages.name, deals.stage_id) as stage,
    count(*) as deals,
    coalesce(sum(deals.amount), 0) as amount,
    deals.currency,
    min(deals.status) as status,
    round(
        percentile_cont(0.5) within group (
            order by extract(epoch from deals.decided_at - deals.created_at) / 86400
        )
    )::bigint as median_days
from mkt_core.deals
left join mkt_core.pipeline_stages as stages
    on deals.account = stages.account and deals.stage_id = stages.external_id
where
    not deals.is_deleted
    and (deals.decided_at is null or deals.decided_at >= %(since)s::timestamptz)
group by 1, 2, deals.currency
order by 1, min(stages.position) nulls last, 2, deals.currency
