-- grain: one segment   key: (segment)   reads: nothing
-- rerun: replaces
-- params: at, batch; arrays in step: segments, definition_hashes, definitions, changes
with evaluated as (
    select
        d.segment,
        d.definition_hash,
        d.definition,
        d.members
    from
        unnest(
            %(segments)s::text[],
            %(definition_hashes)s::text[],
            %(definitions)s::text[],
            %(changes)s::bigint[]
        ) as d (segment, definition_hash, definition, members)
)

insert into mkt_engage.segments as s (
    segment, definition_hash, definition, first_evaluated_at, last_evaluated_at, last_batch,
    members
)
select
    segment,
    definition_hash,
    definition::jsonb,
    %(at)s as first_evaluated_at,
    %(at)s as last_evaluated_at,
    %(batch)s as last_batch,
    members
from evaluated
on conflict (segment) do update
    set
        definition_hash = excluded.definition_hash,
        definition = excluded.definition,
        last_evaluated_at = excluded.last_evaluated_at,
        last_batch = excluded.last_batch,
        members = s.members + excluded.members,
        retired_at = null
returning s.segment, s.members
