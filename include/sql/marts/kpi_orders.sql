-- grain: one KPI, period and combination of dimension values; key: all but the numbers
-- reads: core.orders, core.refunds, core.exchange_rates, core.contact_history, marts.first_orders
-- rerun: reads only; the runner writes what differs
-- params: first_day, day_starts, from_at, to_at, currency (see docs/kpis.md); temp kpi_calendar
-- One file for the group: eight KPIs of one scan, 3 times cheaper than a scan each.
with orders as (
    select
        o.order_id,
        o.contact_id,
        o.currency,
        o.placed_at,
        o.current_amount,
        o.gross_amount,
        null::numeric as refunded_amount,
        o.utm_campaign as campaign,
        o.utm_medium as channel,
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

-- Refunds count on their own date, in a row of their own: no order_id, so they add no order.
refunds as (
    select
        null::bigint as order_id,
        o.contact_id,
        r.currency,
        r.refunded_at as placed_at,
        null::numeric as current_amount,
        null::numeric as gross_amount,
        r.amount as refunded_amount,
        null::text as campaign,
        null::text as channel,
        %(first_day)s::date
        + width_bucket(r.refunded_at, %(day_starts)s::timestamptz[]) - 1 as date
    from mkt_core.refunds as r
    inner join mkt_core.orders as o on r.order_id = o.order_id
    where
        r.refunded_at >= %(from_at)s
        and r.refunded_at < %(to_at)s
        and not o.is_test
        and not o.is_deleted
),

facts as (
    select * from orders
    union all
    select * from refunds
),

rated as (
    select
        f.*,
        case
            when f.currency = %(currency)s then 1
            else (
                select r.rate
                from mkt_core.exchange_rates as r
                where r.currency = f.currency and r.date <= f.date
                order by r.date desc
                limit 1
            )
        end as rate
    from facts as f
),

versions as (
    select distinct on (h.contact_id, h.valid_from)
        h.contact_id,
        h.valid_from,
        h.country,
        h.region
    from mkt_core.contact_history as h
    where h.contact_id in (select facts.contact_id from facts)
    order by h.contact_id asc, h.valid_from asc, h.batch desc
),

-- Where a contact lived when it ordered; what was first observed holds before that too.
homes as (
    select
        v.contact_id,
        v.country,
        v.region,
        case
            when row_number() over each_contact = 1 then '-infinity'::timestamptz
            else v.valid_from
        end as lived_from,
        coalesce(lead(v.valid_from) over each_contact, 'infinity') as lived_until
    from versions as v
    window each_contact as (partition by v.contact_id order by v.valid_from)
),

priced as (
    select
        f.order_id,
        f.contact_id,
        f.date,
        f.campaign,
        f.channel,
        h.country,
        h.region,
        f.refunded_amount is not null as is_refund,
        f.rate is null as is_unpriced,
        f.current_amount * f.rate as revenue,
        f.gross_amount * f.rate as gross_revenue,
        f.refunded_amount * f.rate as refunded
    from rated as f
    left join homes as h
        on
            f.contact_id = h.contact_id
            and f.placed_at >= h.lived_from
            and f.placed_at < h.lived_until
),

days as (
    select
        p.date,
        p.campaign,
        p.channel,
        p.country,
        p.region,
        count(*) as facts,
        count(p.order_id) as orders,
        sum(p.revenue) as revenue,
        sum(p.gross_revenue) as gross_revenue,
        sum(p.refunded) as refunded,
        count(*) filter (where p.is_unpriced and not p.is_refund) as orders_unpriced,
        count(*) filter (where p.is_unpriced and p.is_refund) as refunds_unpriced
    from priced as p
    group by p.date, p.campaign, p.channel, p.country, p.region
),

-- Every period has its total, a measured zero too; other values appear with their first fact.
sums as (
    select
        c.grain,
        c.period,
        case grouping(d.campaign, d.channel, d.region)
            when 7 then '{}'::jsonb
            when 3 then jsonb_build_object('campaign', d.campaign)
            when 5 then jsonb_build_object('channel', d.channel)
            else jsonb_build_object('country', d.country, 'region', d.region)
        end as dims,
        grouping(d.campaign, d.channel, d.region) as level,
        coalesce(sum(d.orders), 0) as orders,
        case when coalesce(sum(d.orders_unpriced), 0) = 0 then coalesce(sum(d.revenue), 0) end
            as revenue,
        case when coalesce(sum(d.orders_unpriced), 0) = 0 then coalesce(sum(d.gross_revenue), 0) end
            as gross_revenue,
        case when coalesce(sum(d.refunds_unpriced), 0) = 0 then coalesce(sum(d.refunded), 0) end
            as refunded
    from pg_temp.kpi_calendar as c
    left join days as d on c.date = d.date
    group by
        grouping sets (
            (c.grain, c.period),
            (c.grain, c.period, d.campaign),
            (c.grain, c.period, d.channel),
            (c.grain, c.period, d.country, d.region)
        )
    having
        grouping(d.campaign, d.channel, d.region) = 7
        or sum(d.orders) > 0
        or (grouping(d.region) = 0 and sum(d.facts) > 0)
),

-- A person once per period and dimension value; hashed, so that nothing has to be sorted.
people as (
    select
        c.grain,
        c.period,
        c.period_at,
        p.contact_id,
        p.country,
        p.region,
        grouping(p.region) as is_total
    from pg_temp.kpi_calendar as c
    inner join priced as p on c.date = p.date
    where p.order_id is not null and p.contact_id is not null
    group by grouping sets (
        (c.grain, c.period, c.period_at, p.contact_id),
        (c.grain, c.period, c.period_at, p.contact_id, p.country, p.region)
    )
),

crowds as (
    select
        p.grain,
        p.period,
        case p.is_total when 1 then 7 else 6 end as level,
        case p.is_total
            when 1 then '{}'::jsonb
            else jsonb_build_object('country', p.country, 'region', p.region)
        end as dims,
        count(*) as customers,
        count(*) filter (where f.first_order_at >= p.period_at) as new_customers,
        count(*) filter (where f.first_order_at < p.period_at) as returning_customers
    from people as p
    left join mkt_marts.first_orders as f on p.contact_id = f.contact_id
    group by p.grain, p.period, p.is_total, p.country, p.region
),

final as (
    select
        v.kpi,
        s.grain,
        s.period as date,
        case s.level
            when 7 then 'total' when 3 then 'campaign' when 5 then 'channel' else 'region'
        end as dimension_set,
        s.dims,
        v.numerator,
        v.denominator,
        v.currency
    from sums as s
    left join crowds as c
        on s.grain = c.grain and s.period = c.period and s.level = c.level and s.dims = c.dims
    cross join lateral (
        values
        ('orders', s.orders, null::numeric, null::text),
        ('revenue', s.revenue, null, %(currency)s),
        ('gross_revenue', s.gross_revenue, null, %(currency)s),
        ('refunded_amount', s.refunded, null, %(currency)s),
        ('average_order_value', s.revenue, s.orders, %(currency)s),
        ('customers', coalesce(c.customers, 0), null, null),
        ('new_customers', coalesce(c.new_customers, 0), null, null),
        ('repeat_rate', coalesce(c.returning_customers, 0), coalesce(c.customers, 0), null)
    ) as v (kpi, numerator, denominator, currency)
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
