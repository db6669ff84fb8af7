-- says: a vendor changed a field: what we read of it is incomplete
-- grain: one field of one stream
-- reads: mkt_ops.stream_fields    params: at
-- rerun: reads only
-- A day without it closes the incident. New fields are reported in the sync's log, not here.
select
    account || '.' || stream || '.' || field as subject,
    case change
        when 'vanished' then 'no record shows it any more'
        else records || ' of ' || fetched || ' records have another type (see extra)'
    end as detail
from mkt_ops.stream_fields
where
    change in ('retyped', 'vanished')
    and last_seen_at >= %(at)s::timestamptz - interval '1 day'
    and (change = 'vanished' or records > greatest(5, fetched / 50))
order by subject
