-- grain: one field that is not as declared        key: (account, stream, field, change)
-- reads: mkt_ops.stream_fields        params: account, stream, fetched, sync_run_id, at and the
--        arrays fields, changes, records
-- rerun: the same rows, seen later
-- Returns, by kind of change, the names that were not known before.
with found as (
    select
        odd.field,
        odd.change,
        odd.records
    from
        unnest(%(fields)s::text[], %(changes)s::text[], %(records)s::bigint[])
            as odd (field, change, records)
),

fresh as (
    select
        found.field,
        found.change
    from found
    left join mkt_ops.stream_fields as known
        on
            known.account = %(account)s
            and known.stream = %(stream)s
            and found.field = known.field
            and found.change = known.change
    where known.field is null
),

written as (
    insert into mkt_ops.stream_fields (
        account, stream, field, change, first_seen_at, last_seen_at, sync_run_id, records, fetched
    )
    select distinct on (field, change)
        %(account)s,
        %(stream)s,
        field,
        change,
        %(at)s::timestamptz,
        %(at)s::timestamptz,
        %(sync_run_id)s,
        records,
        %(fetched)s
    from found
    order by field, change
    on conflict (account, stream, field, change) do update
        set
            last_seen_at = excluded.last_seen_at,
            sync_run_id = excluded.sync_run_id,
            records = excluded.records,
            fetched = excluded.fetched
)

select
    change,
    array_agg(distinct field order by field) as fields
from fresh
group by change
order by change
