-- grain: one stream of one account                                  key: (account, stream)
-- reads: ops.sync_runs
-- rerun: reads only
-- params: none
select
    r.account,
    r.stream,
    count(*) as runs,
    count(*) filter (where r.status = 'failed') as failed,
    sum(r.fetched)::bigint as fetched,
    sum(r.inserted)::bigint as inserted,
    sum(r.updated)::bigint as updated,
    sum(r.unchanged)::bigint as unchanged,
    sum(r.duplicates)::bigint as duplicates,
    sum(r.stale)::bigint as stale,
    sum(r.rejected)::bigint as rejected,
    sum(r.tombstoned)::bigint as tombstoned,
    bool_and(
        r.status <> 'success'
        or r.fetched = r.inserted + r.updated + r.unchanged + r.duplicates + r.stale
        + r.rejected + r.tombstoned
    ) as is_balanced
from mkt_ops.sync_runs as r
where r.status <> 'running'
group by r.account, r.stream
order by r.account, r.stream
