-- grain: one row: the cursor of a stream and what blocks its account (nulls where there is none)
-- reads: mkt_ops.sync_cursors, mkt_ops.account_state        params: account, stream
-- rerun: reads only
select
    cursors.cursor_at,
    cursors.page_state,
    states.blocked_until,
    states.reason
from (select %(account)s::text as account) as asked
left join mkt_ops.sync_cursors as cursors
    on asked.account = cursors.account and cursors.stream = %(stream)s
left join mkt_ops.account_state as states
    on asked.account = states.account
