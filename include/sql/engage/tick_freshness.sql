-- grain: one stream that sends rely on, and when its last sync that unify has taken over began
-- reads: mkt_ops.sync_runs    params: accounts, streams (two arrays side by side), batch
-- rerun: reads only
select
    w.account,
    w.stream,
    (
        select r.started_at from mkt_ops.sync_runs as r
        where
            r.account = w.account
            and r.stream = w.stream
            and r.status = 'success'
            and r.unified_batch <= %(batch)s
        order by r.started_at desc
        limit 1
    ) as fresh_at
from unnest(%(accounts)s::text[], %(streams)s::text[]) as w (account, stream);
