-- grain: one key that joins an identity of the group to others        key: all three
-- reads: unify_group, mkt_core.identity_keys        params: max_people
-- writes: unify_links
-- rerun: made anew in each transaction
-- Every holder of such a key is in the group already, so counting inside it is counting all.

insert into unify_links (kind, key_hash, profile_id)
with counted as (
    select
        keys.kind,
        keys.key_hash,
        keys.profile_id,
        count(*) over (partition by keys.kind, keys.key_hash) as people,
        (
            select count(*) from (
                select 1 from mkt_core.identity_keys as holders
                where
                    holders.kind = keys.kind
                    and holders.key_hash = keys.key_hash
                    and not holders.is_cut
                limit %(max_people)s::bigint + 1 -- noqa: AM09
            ) as bounded
        ) as holders
    from unify_group as members
    inner join mkt_core.identity_keys as keys on members.profile_id = keys.profile_id
    where not keys.is_cut
)

select
    kind,
    key_hash,
    profile_id
from counted
where people > 1 and (kind = 'record' or holders <= %(max_people)s::bigint);
