-- says: facts of past days changed and their KPIs were not recomputed
-- grain: one KPI group
-- reads: mkt_ops.dirty_days, mkt_ops.batches    params: at
-- rerun: reads only
-- The day itself is rolled up after it ends, so only what waits longer than that counts.
select
    dirty_days.kpi_group as subject,
    count(*) || ' days, the first is ' || min(dirty_days.date) as detail
from mkt_ops.dirty_days
inner join mkt_ops.batches on dirty_days.batch = batches.batch
where
    dirty_days.date < %(at)s::timestamptz - interval '2 days'
    and batches.closed_at < %(at)s::timestamptz - interval '2 days'
group by dirty_days.kpi_group
order by dirty_days.kpi_group
