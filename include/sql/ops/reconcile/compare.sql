-- grain: one comparison
-- reads: reconcile_keys, reconcile_held        params: account, started_at, cursor_at,
--        is_complete (absence means deletion)
-- writes: reconcile_differences
-- rerun: the same differences
--
-- A key that changed after the cursor comes with the next sync; a row loaded since the comparison
-- began was not there when the keys were listed.
with stored as materialized (
    select
        id,
        source_updated_at,
        is_deleted,
        loaded_at
    from reconcile_held
    where account = %(account)s
),

found as (
    select
        keys.id,
        case
            when stored.id is null or stored.is_deleted then 'missing'
            else 'outdated'
        end as kind,
        keys.updated_at
    from reconcile_keys as keys
    left join stored on keys.id = stored.id
    where
        (
            stored.id is null
            or stored.is_deleted
            -- the vendor's lists and records may round the same time differently
            or keys.updated_at > stored.source_updated_at + interval '1 second'
        )
        and (stored.loaded_at is null or stored.loaded_at < %(started_at)s::timestamptz)
        and (
            keys.updated_at is null
            or %(cursor_at)s::timestamptz is null
            or keys.updated_at <= %(cursor_at)s::timestamptz
        )
    union all
    select
        stored.id,
        'gone' as kind,
        null as updated_at
    from stored
    where
        %(is_complete)s::boolean
        and not stored.is_deleted
        and stored.loaded_at < %(started_at)s::timestamptz
        and not exists (select 1 from reconcile_keys as keys where keys.id = stored.id)
),

written as (
    insert into reconcile_differences (id, kind, updated_at)
    select
        id,
        kind,
        updated_at
    from found
    returning kind
)

select
    (select count(*) from reconcile_keys) as source_count,
    (select count(*) from stored where not is_deleted) as stored_count,
    count(*) filter (where kind = 'missing') as missing,
    count(*) filter (where kind = 'outdated') as outdated,
    count(*) filter (where kind = 'gone') as gone
from written
