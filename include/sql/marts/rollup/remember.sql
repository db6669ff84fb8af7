-- grain: one KPI group and period                                   key: (kpi_group, grain, date)
-- reads: temp kpi_wanted
-- rerun: only changed rows are written
-- params: kpi_groups, definition_hashes (the KPI groups and their definition hashes)
with definitions as (
    select
        h.kpi_group,
        h.definition_hash
    from
        unnest(%(kpi_groups)s::text[], %(definition_hashes)s::text[])
            as h (kpi_group, definition_hash)
),

final as (
    select
        h.kpi_group,
        w.grain,
        w.date,
        h.definition_hash,
        w.is_closed
    from pg_temp.kpi_wanted as w
    cross join definitions as h
)

insert into mkt_marts.kpi_periods (kpi_group, grain, date, definition_hash, is_closed)
select
    f.kpi_group,
    f.grain,
    f.date,
    f.definition_hash,
    f.is_closed
from final as f
left join mkt_marts.kpi_periods as p
    on f.kpi_group = p.kpi_group and f.grain = p.grain and f.date = p.date
where (p.definition_hash, p.is_closed) is distinct from (f.definition_hash, f.is_closed)
on conflict (kpi_group, grain, date) do update
    set definition_hash = excluded.definition_hash, is_closed = excluded.is_closed
