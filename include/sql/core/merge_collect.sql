-- grain: one identity whose contact may change        key: profile_id
-- reads: mkt_core.{contact_identities,identity_keys}        params: seeds, batch, max_people
-- writes: unify_group
-- rerun: made anew in each transaction
--
-- Everybody reachable from the seeds through a shared key or a shared contact. A key with too many
-- holders is walked to those who held it before this batch only: it may just have crossed the
-- bound, and what it joined comes apart. No bound applies to what a vendor itself merged.

insert into unify_group (profile_id, old_contact_id, label)
with recursive reached (profile_id) as (
    select seeds.profile_id
    from unnest(%(seeds)s::bigint[]) as seeds (profile_id)
    union
    select neighbours.profile_id
    from reached
    cross join lateral (
        select siblings.profile_id
        from mkt_core.contact_identities as own
        inner join mkt_core.contact_identities as siblings on own.contact_id = siblings.contact_id
        where own.profile_id = reached.profile_id
        union all
        select holders.profile_id
        from mkt_core.identity_keys as own
        cross join
            lateral (
                select
                    (
                        select count(*) from (
                            select 1 from mkt_core.identity_keys as all_holders
                            where
                                all_holders.kind = own.kind
                                and all_holders.key_hash = own.key_hash
                                and not all_holders.is_cut
                            limit %(max_people)s::bigint + 1 -- noqa: AM09
                        ) as bounded
                    ) as people,
                    (
                        select count(*) from (
                            select 1 from mkt_core.identity_keys as old_holders
                            where
                                old_holders.kind = own.kind
                                and old_holders.key_hash = own.key_hash
                                and not old_holders.is_cut
                                and old_holders.batch < %(batch)s::bigint
                            limit %(max_people)s::bigint + 1 -- noqa: AM09
                        ) as bounded
                    ) as old_people
            ) as counts
        inner join mkt_core.identity_keys as holders
            on
                own.kind = holders.kind
                and own.key_hash = holders.key_hash
                and not holders.is_cut
                and (
                    counts.people <= %(max_people)s::bigint
                    or own.kind = 'record'
                    or (
                        counts.old_people <= %(max_people)s::bigint
                        and holders.batch < %(batch)s::bigint
                    )
                )
        where own.profile_id = reached.profile_id and not own.is_cut
    ) as neighbours
)

select
    members.profile_id,
    members.contact_id,
    members.profile_id as label
from reached
inner join mkt_core.contact_identities as members on reached.profile_id = members.profile_id;
