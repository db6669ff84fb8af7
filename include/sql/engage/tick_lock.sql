-- grain: one group of shards, locked until the transaction ends unless another worker has it
-- reads: nothing    params: names, in the order of the answer
-- rerun: a lock that is held already is taken again
select pg_try_advisory_xact_lock(hashtextextended(n.name, 0)) as is_locked
from unnest(%(names)s::text[]) with ordinality as n (name, place)
order by n.place;
