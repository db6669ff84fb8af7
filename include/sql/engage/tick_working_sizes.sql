-- grain: one working table that is not empty, and its size in bytes
-- reads: the working tables    params: none
-- rerun: reads only
select
    t.name,
    pg_relation_size(t.name::regclass) as size
from (
    values
    ('tick_events', exists (select 1 as one from tick_events)),
    ('tick_candidates', exists (select 1 as one from tick_candidates)),
    ('tick_hits', exists (select 1 as one from tick_hits)),
    ('tick_entered', exists (select 1 as one from tick_entered)),
    ('tick_work', exists (select 1 as one from tick_work)),
    ('tick_path', exists (select 1 as one from tick_path))
) as t (name, is_used)
where t.is_used;
