-- grain: one KPI group and day                                      key: (kpi_group, date)
-- reads: ops.kpi_marks (emptied), core.exchange_rates, core.orders, core.refunds
-- rerun: the marks are gone; a second run adds nothing
-- params: zone, currency, batch
with gone as (
    delete from mkt_ops.kpi_marks
    returning kind, occurred_at, currency, rate_date
),

-- A rate holds until the next one of its currency.
spans as (
    select
        g.currency,
        g.rate_date::timestamp at time zone %(zone)s as start_at,
        coalesce(min(e.date), 'infinity')::timestamp at time zone %(zone)s as end_at
    from (select distinct
        currency,
        rate_date
    from gone where kind = 'rate') as g
    left join mkt_core.exchange_rates as e on g.currency = e.currency and g.rate_date < e.date
    where g.currency <> %(currency)s
    group by g.currency, g.rate_date
),

final as (
    select
        case kind when 'conversion' then 'email' else 'contacts' end as kpi_group,
        (occurred_at at time zone %(zone)s)::date as date
    from gone
    where kind in ('conversion', 'contact')
    union
    select
        'orders' as kpi_group,
        (o.placed_at at time zone %(zone)s)::date as date
    from spans as s
    inner join mkt_core.orders as o
        on s.currency = o.currency and s.start_at <= o.placed_at and s.end_at > o.placed_at
    union
    select
        'orders' as kpi_group,
        (r.refunded_at at time zone %(zone)s)::date as date
    from spans as s
    inner join mkt_core.refunds as r
        on s.currency = r.currency and s.start_at <= r.refunded_at and s.end_at > r.refunded_at
)

insert into mkt_ops.dirty_days (kpi_group, date, batch)
select
    kpi_group,
    date,
    %(batch)s
from final
order by kpi_group, date
on conflict (kpi_group, date) do update set batch = greatest(dirty_days.batch, excluded.batch)
