-- grain: one merge        key: merge_id
-- reads: unify_group        params: batch        writes: mkt_core.contact_merges
-- rerun: changes nothing
-- A merge ends when its two sides are different people again.

update mkt_core.contact_merges as joined
set undone_batch = %(batch)s::bigint
from unify_group as one
inner join unify_group as other on one.label <> other.label
where
    joined.undone_batch is null
    and joined.from_contact_id = one.profile_id
    and joined.into_contact_id = other.profile_id;
