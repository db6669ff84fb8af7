-- grain: one id that the source shows when asked        key: id
-- reads: nothing        params: account, ids
-- writes: reconcile_differences, reconcile_held
-- rerun: the same
--
-- The time of a deletion would make a row that is back look stale.
with confirmed as (
    update reconcile_differences
    set is_confirmed = true
    where id = any(%(ids)s::text[])
    returning id
)

update reconcile_held
set source_updated_at = null
from confirmed
where
    reconcile_held.account = %(account)s
    and reconcile_held.id = confirmed.id
    and reconcile_held.is_deleted
    and reconcile_held.source_updated_at is not null
