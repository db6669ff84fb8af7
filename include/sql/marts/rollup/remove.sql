-- grain: one row of marts.kpi_daily                                 key: as marts.kpi_daily
-- reads: temp kpi_diff
-- rerun: nothing differs, nothing is deleted
-- params: none
delete from mkt_marts.kpi_daily as k
using pg_temp.kpi_diff as d
where
    d.is_old
    and k.kpi = d.kpi
    and k.grain = d.grain
    and k.date = d.date
    and k.dimension_set = d.dimension_set
    and k.dims = d.dims
