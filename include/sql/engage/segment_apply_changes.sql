-- grain: one segment evaluated; closes and opens memberships, returns how many of each
-- reads: pg_temp.segment_hits, segment_current, segment_touched, segment_heard
-- rerun: the same hits change nothing
-- params: at, segments and definition_hashes (pairs), is_baseline, has_baseline
with definitions as (
    select
        d.segment,
        d.definition_hash
    from unnest(%(segments)s::text[], %(definition_hashes)s::text[]) as d (segment, definition_hash)
),

gone as (
    select
        m.segment,
        m.contact_id
    from pg_temp.segment_current as m
    where
        not exists (
            select 1
            from pg_temp.segment_hits as h
            where h.segment = m.segment and h.contact_id = m.contact_id
        )
),

come as (
    select
        h.segment,
        h.contact_id,
        d.definition_hash,
        -- A contact that nothing new is known of enters by a repair: no news either.
        %(is_baseline)s
        or t.contact_id is null
        or t.is_merged
        or (
            %(has_baseline)s
            and not exists (
                select 1
                from pg_temp.segment_heard as u
                where u.segment = h.segment and u.contact_id = h.contact_id
            )
        ) as is_baseline
    from pg_temp.segment_hits as h
    inner join definitions as d on h.segment = d.segment
    left join pg_temp.segment_touched as t on h.contact_id = t.contact_id
    where
        not exists (
            select 1
            from pg_temp.segment_current as m
            where m.segment = h.segment and m.contact_id = h.contact_id
        )
),

closed as (
    update mkt_engage.segment_memberships as m
    set left_at = %(at)s
    from gone
    where
        m.segment = gone.segment
        and m.contact_id = gone.contact_id
        and m.left_at is null
    returning m.segment
),

opened as (
    insert into mkt_engage.segment_memberships (
        segment, contact_id, entered_at, definition_hash, is_baseline
    )
    select
        segment,
        contact_id,
        %(at)s,
        definition_hash,
        is_baseline
    from come
    -- Left and back at one instant: the stay goes on.
    on conflict (segment, contact_id, entered_at) do update set left_at = null
    returning segment, is_baseline
)

select
    d.segment,
    (select count(*) from opened as o where o.segment = d.segment) as entered,
    (
        select count(*)
        from opened as o
        where o.segment = d.segment and o.is_baseline
    ) as entered_as_baseline,
    (select count(*) from closed as c where c.segment = d.segment) as exited
from definitions as d
