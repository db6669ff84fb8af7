-- grain: one contact that joined another, or came apart from it
-- reads: unify_group
-- writes: mkt_engage.{segment_memberships,suppressions}, mkt_core.contacts
-- rerun: changes nothing
-- Who comes apart keeps every suppression of the person they were taken for: the safe side.

with joined as materialized (
    select
        profile_id as from_id,
        label as into_id
    from unify_group
    where profile_id = old_contact_id and label <> old_contact_id
),

parted as (
    select
        profile_id as new_id,
        old_contact_id as from_id
    from unify_group
    where profile_id = label and old_contact_id <> label
),

copied as (
    insert into mkt_engage.suppressions (
        contact_id, address_hash, brand, channel, reason, source, since
    )
    select
        parted.new_id,
        held.address_hash,
        held.brand,
        held.channel,
        held.reason,
        held.source,
        held.since
    from parted
    inner join mkt_engage.suppressions as held on parted.from_id = held.contact_id
    where held.lifted_at is null
    on conflict do nothing
),

memberships as (
    update mkt_engage.segment_memberships as held
    set contact_id = joined.into_id
    from joined
    where held.contact_id = joined.from_id
),

suppressions as (
    update mkt_engage.suppressions as held
    set contact_id = joined.into_id
    from joined
    where held.contact_id = joined.from_id
)

delete from mkt_core.contacts as held
using joined
where held.contact_id = joined.from_id;
