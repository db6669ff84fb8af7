-- grain: one stay in a segment, one suppression, of two contacts that became one
-- reads: unify_group        writes: mkt_engage.{segment_memberships,suppressions}
-- rerun: changes nothing
-- Of two open stays in one segment the older goes on; of two equal suppressions the older holds.

with joined as materialized (
    select
        profile_id as from_id,
        label as into_id
    from unify_group
    where profile_id = old_contact_id and label <> old_contact_id
),

people as (
    select
        from_id as contact_id,
        into_id
    from joined
    union
    select
        into_id as contact_id,
        into_id
    from joined
),

stays as (
    select
        held.segment,
        held.contact_id,
        held.entered_at,
        held.left_at is null and row_number() over (
            partition by held.segment, people.into_id, held.left_at is null
            order by held.entered_at, held.contact_id
        ) > 1
        or row_number() over (
            partition by held.segment, people.into_id, held.entered_at
            order by held.left_at nulls first, held.contact_id
        ) > 1 as is_double
    from mkt_engage.segment_memberships as held
    inner join people on held.contact_id = people.contact_id
),

ended as (
    delete from mkt_engage.segment_memberships as held
    using stays
    where
        stays.is_double
        and held.segment = stays.segment
        and held.contact_id = stays.contact_id
        and held.entered_at = stays.entered_at
),

suppressions as (
    select
        held.suppression_id,
        row_number() over (
            partition by people.into_id, coalesce(held.brand, ''), held.channel, held.reason
            order by held.since, held.suppression_id
        ) > 1 as is_double
    from mkt_engage.suppressions as held
    inner join people on held.contact_id = people.contact_id
    where held.lifted_at is null
)

delete from mkt_engage.suppressions as held
using suppressions
where suppressions.is_double and held.suppression_id = suppressions.suppression_id;
