-- grain: one thing that an earlier run left behind: (what, subject, detail)
-- reads: mkt_ops.{sync_runs,account_state,rejected_records,incidents}, mkt_engage.sends
-- params: now, old
-- rerun: reads only

select
    'running' as what,
    account || ' ' || stream as subject,
    to_char(started_at, 'YYYY-MM-DD HH24:MI') as detail
from mkt_ops.sync_runs
where status = 'running' and started_at < %(old)s
union all
select
    'blocked' as what,
    account as subject,
    to_char(blocked_until, 'YYYY-MM-DD HH24:MI') || ': ' || coalesce(reason, '') as detail
from mkt_ops.account_state
where blocked_until > %(now)s
union all
select
    'rejected' as what,
    account || ' ' || stream as subject,
    count(*)::text as detail
from mkt_ops.rejected_records
where replayed_at is null
group by account, stream
union all
select
    'unknown' as what,
    via as subject,
    count(*)::text as detail
from mkt_engage.sends
where status = 'unknown'
group by via
union all
select
    'incident' as what,
    cause as subject,
    to_char(opened_at, 'YYYY-MM-DD HH24:MI') as detail
from mkt_ops.incidents
where closed_at is null
order by what, subject
