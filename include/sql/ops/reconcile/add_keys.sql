-- grain: one key        key: id
-- reads: nothing        params: the arrays ids, instants (ISO text or null)
-- writes: reconcile_keys
-- rerun: a key listed twice keeps its newest time
insert into reconcile_keys as known (id, updated_at)
select
    listed.id,
    max(listed.instant::timestamptz) as updated_at
from unnest(%(ids)s::text[], %(instants)s::text[]) as listed (id, instant)
group by listed.id
on conflict (id) do update
    set updated_at = greatest(known.updated_at, excluded.updated_at)
