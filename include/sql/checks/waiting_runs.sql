-- says: what was read does not reach the contacts: unify lags behind the syncs
-- grain: one account
-- reads: mkt_ops.sync_runs    params: at
-- rerun: reads only
select
    account as subject,
    count(*) || ' runs wait since ' || to_char(min(finished_at), 'YYYY-MM-DD HH24:MI') || ' UTC'
        as detail
from mkt_ops.sync_runs
where
    unified_batch is null
    and status <> 'running'
    and finished_at < %(at)s::timestamptz - interval '3 hours'
group by account
order by account
