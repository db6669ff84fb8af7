-- grain: one KPI, period and combination of dimension values; key: all but the numbers
-- reads: core.carts, core.orders
-- rerun: reads only; the runner writes what differs
-- params: first_day, day_starts, from_at, to_at (see docs/kpis.md); temp kpi_calendar
-- A shop may list only the carts that were left (Shopify does), so bought carts are orders here.
with facts as (
    select
        c.completed_at is null as is_left,
        c.completed_at is not null as is_recovered,
        false as is_order,
        %(first_day)s::date
        + width_bucket(c.created_at, %(day_starts)s::timestamptz[]) - 1 as date
    from mkt_core.carts as c
    where
        c.created_at >= %(from_at)s
        and c.created_at < %(to_at)s
        and not c.is_deleted
    union all
    select
        false as is_left,
        false as is_recovered,
        true as is_order,
        %(first_day)s::date
        + width_bucket(o.placed_at, %(day_starts)s::timestamptz[]) - 1 as date
    from mkt_core.orders as o
    where
        o.placed_at >= %(from_at)s
        and o.placed_at < %(to_at)s
        and o.cancelled_at is null
        and not o.is_test
        and not o.is_deleted
),

days as (
    select
        f.date,
        count(*) filter (where f.is_left) as carts_left,
        count(*) filter (where f.is_recovered) as recovered,
        count(*) filter (where f.is_order) as orders
    from facts as f
    group by f.date
),

sums as (
    select
        c.grain,
        c.period,
        coalesce(sum(d.carts_left), 0) as carts_left,
        coalesce(sum(d.recovered), 0) as recovered,
        coalesce(sum(d.orders), 0) as orders
    from pg_temp.kpi_calendar as c
    left join days as d on c.date = d.date
    group by c.grain, c.period
),

final as (
    select
        v.kpi,
        s.grain,
        s.period as date,
        'total' as dimension_set,
        '{}'::jsonb as dims,
        v.numerator,
        v.denominator,
        null::text as currency
    from sums as s
    cross join lateral (
        values
        ('carts', s.carts_left + s.recovered, null::numeric),
        ('cart_abandonment_rate', s.carts_left, s.carts_left + s.orders),
        ('cart_recovery_rate', s.recovered, s.carts_left + s.recovered)
    ) as v (kpi, numerator, denominator)
)

select
    kpi,
    grain,
    date,
    dimension_set,
    dims,
    numerator,
    denominator,
    currency
from final
