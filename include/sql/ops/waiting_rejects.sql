-- grain: one rejected record that was not replayed        key: rejected_id
-- reads: mkt_ops.rejected_records        params: account, streams, after, last, size
-- rerun: reads only
select
    rejected_id,
    stream,
    record_id,
    reason,
    payload
from mkt_ops.rejected_records
where
    account = %(account)s
    and stream = any(%(streams)s::text[])
    and replayed_at is null
    and rejected_id > %(after)s
    and rejected_id <= %(last)s
order by rejected_id
limit %(size)s
