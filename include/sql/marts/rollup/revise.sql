-- grain: one past number that changed                               key: revision_id
-- reads: temp kpi_diff, kpi_wanted; marts.kpi_periods, ops.dirty_days
-- rerun: nothing differs, nothing is added
-- params: kpi_groups, definition_hashes (the KPI groups and their definition hashes), at
-- A period's first numbers, and those it had before it was over, revise nothing.
with definitions as (
    select
        h.kpi_group,
        h.definition_hash
    from
        unnest(%(kpi_groups)s::text[], %(definition_hashes)s::text[])
            as h (kpi_group, definition_hash)
)

insert into mkt_marts.kpi_revisions (
    kpi, grain, date, dimension_set, dims, old_value, new_value, cause, revised_at
)
select
    d.kpi,
    d.grain,
    d.date,
    d.dimension_set,
    d.dims,
    d.old_value,
    d.value as new_value,
    case
        when p.definition_hash <> h.definition_hash then 'definition'
        when
            exists (
                select 1
                from mkt_ops.dirty_days as t
                where t.date >= w.date and t.date <= w.last_date
            ) then 'late data'
        else 'backfill'
    end as cause,
    %(at)s as revised_at
from pg_temp.kpi_diff as d
inner join pg_temp.kpi_wanted as w on d.grain = w.grain and d.date = w.date
inner join mkt_marts.kpi_periods as p
    on d.kpi_group = p.kpi_group and d.grain = p.grain and d.date = p.date
inner join definitions as h
    on d.kpi_group = h.kpi_group
where
    p.is_closed
    and d.old_value is distinct from d.value
    and (d.is_old or p.definition_hash = h.definition_hash)
order by d.kpi, d.grain, d.date, d.dimension_set, d.dims
