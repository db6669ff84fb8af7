-- grain: one segment   key: (segment)   reads: core.contact_merges, engage.segment_memberships
-- rerun: replaces
-- params: at, batch, last_batch, is_full; arrays in step: segments, definition_hashes,
--         definitions, changes
-- Members are counted anew where more than this call moved them: a merge joins two stays into one.
with evaluated as (
    select
        d.segment,
        d.definition_hash,
        d.definition,
        d.change
    from
        unnest(
            %(segments)s::text[],
            %(definition_hashes)s::text[],
            %(definitions)s::text[],
            %(changes)s::bigint[]
        ) as d (segment, definition_hash, definition, change)
),

doubt as (
    select
        %(is_full)s
        or exists (
            select 1
            from mkt_core.contact_merges as g
            where g.batch > %(last_batch)s or g.undone_batch > %(last_batch)s
        ) as is_recounted
)

insert into mkt_engage.segments as kept (
    segment, definition_hash, definition, first_evaluated_at, last_evaluated_at, last_batch,
    members
)
select
    e.segment,
    e.definition_hash,
    e.definition::jsonb,
    %(at)s as first_evaluated_at,
    %(at)s as last_evaluated_at,
    %(batch)s as last_batch,
    case
        when doubt.is_recounted
            then (
                select count(*)
                from mkt_engage.segment_memberships as m
                where m.segment = e.segment and m.left_at is null
            )
        else coalesce(s.members, 0) + e.change
    end as members
from evaluated as e
cross join doubt
left join mkt_engage.segments as s on e.segment = s.segment
on conflict (segment) do update
    set
        definition_hash = excluded.definition_hash,
        definition = excluded.definition,
        last_evaluated_at = excluded.last_evaluated_at,
        last_batch = excluded.last_batch,
        members = excluded.members,
        retired_at = null
returning kept.segment, kept.members
