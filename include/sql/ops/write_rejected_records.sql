-- grain: one rejected record, once until it is replayed
-- reads: mkt_ops.rejected_records        params: account, sync_run_id, rejected_at and the arrays
--        stream, record_id, reason, payload
-- rerun: a record that waits already is not stored again
insert into mkt_ops.rejected_records (
    account,
    stream,
    sync_run_id,
    record_id,
    reason,
    payload,
    rejected_at
)
select distinct on (rejected.stream, rejected.payload)
    %(account)s,
    rejected.stream,
    %(sync_run_id)s,
    rejected.record_id,
    rejected.reason,
    rejected.payload,
    %(rejected_at)s::timestamptz
from
    unnest(
        %(stream)s::text[],
        %(record_id)s::text[],
        %(reason)s::text[],
        %(payload)s::bytea[]
    ) as rejected (stream, record_id, reason, payload)
where
    not exists (
        select 1
        from mkt_ops.rejected_records as waiting
        where
            waiting.account = %(account)s
            and waiting.stream = rejected.stream
            and waiting.replayed_at is null
            and waiting.payload = rejected.payload
    )
order by rejected.stream, rejected.payload
