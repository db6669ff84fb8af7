-- grain: one identity        key: profile_id
-- reads: unify_links        writes: unify_group
-- rerun: repeated until it changes nothing
-- Label propagation: each identity takes the smallest label it shares a key with.

with lowest as (
    select
        links.kind,
        links.key_hash,
        min(members.label) as label
    from unify_links as links
    inner join unify_group as members on links.profile_id = members.profile_id
    group by links.kind, links.key_hash
),

best as (
    select
        links.profile_id,
        min(lowest.label) as label
    from unify_links as links
    inner join lowest on links.kind = lowest.kind and links.key_hash = lowest.key_hash
    group by links.profile_id
)

update unify_group as members
set label = best.label
from best
where members.profile_id = best.profile_id and best.label < members.label;
