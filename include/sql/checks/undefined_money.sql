-- says: money of some days is undefined: an order's or refund's currency has no exchange rate
-- grain: one KPI
-- reads: mkt_marts.kpi_daily    params: at
-- rerun: reads only
select
    kpi as subject,
    count(*) || ' days of 30, the first is ' || min(date) as detail
from mkt_marts.kpi_daily
where
    grain = 'day'
    and dimension_set = 'total'
    and kpi in ('revenue', 'refunded_amount')
    and numerator is null
    and date >= %(at)s::timestamptz - interval '30 days'
group by kpi
order by kpi
