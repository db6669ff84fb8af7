-- grain: one KPI and half of the span                               key: (kpi, is_recent)
-- reads: marts.kpi_daily
-- rerun: reads only
-- params: kpis, first_day, middle_day, last_day
-- Parts are summed, never values; one undefined day makes the sum undefined.
select
    k.kpi,
    k.date >= %(middle_day)s as is_recent,
    case when count(*) = count(k.numerator) then sum(k.numerator) end as numerator,
    sum(k.denominator) as denominator,
    count(*) as days
from mkt_marts.kpi_daily as k
where
    k.grain = 'day'
    and k.dimension_set = 'total'
    and k.kpi = any(%(kpis)s)
    and k.date >= %(first_day)s
    and k.date <= %(last_day)s
group by k.kpi, k.date >= %(middle_day)s
