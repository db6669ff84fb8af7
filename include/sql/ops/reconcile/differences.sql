-- grain: one id that differs        key: id
-- reads: reconcile_differences        params: kinds, after, size
-- rerun: reads only
select id
from reconcile_differences
where kind = any(%(kinds)s::text[]) and id > %(after)s::text
order by id
limit %(size)s
