-- grain: one KPI, period and combination of dimension values        key: as marts.kpi_daily
-- reads: temp kpi_diff
-- rerun: nothing differs, nothing is inserted
-- params: none
insert into mkt_marts.kpi_daily (
    kpi, grain, date, dimension_set, dims, numerator, denominator, value, currency, is_additive
)
select
    d.kpi,
    d.grain,
    d.date,
    d.dimension_set,
    d.dims,
    d.numerator,
    d.denominator,
    d.value,
    d.currency,
    d.is_additive
from pg_temp.kpi_diff as d
where d.is_new
order by d.kpi, d.grain, d.date, d.dimension_set, d.dims
