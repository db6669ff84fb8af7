-- grain: one KPI, period and combination of dimension values; key: all but the numbers
-- reads: core.contacts, core.contact_history
-- rerun: reads only; the runner writes what differs
-- params: first_day, day_starts, from_at, to_at (see docs/kpis.md); temp kpi_calendar
with people as (
    select
        c.contact_id,
        c.created_at,
        %(first_day)s::date
        + width_bucket(c.created_at, %(day_starts)s::timestamptz[]) - 1 as date
    from mkt_core.contacts as c
    where
        c.created_at >= %(from_at)s
        and c.created_at < %(to_at)s
        and not c.is_deleted
),

-- Where a contact lived when it was created, else where it was first seen to live.
homes as (
    select distinct on (p.contact_id)
        p.contact_id,
        h.country,
        h.region
    from people as p
    inner join mkt_core.contact_history as h on p.contact_id = h.contact_id
    order by
        p.contact_id asc,
        h.valid_from <= p.created_at desc,
        case when h.valid_from <= p.created_at then h.valid_from end desc,
        h.valid_from asc,
        h.batch desc
),

sums as (
    select
        c.grain,
        c.period,
        h.country,
        h.region,
        grouping(h.region) as level,
        count(p.contact_id) as contacts
    from pg_temp.kpi_calendar as c
    left join people as p on c.date = p.date
    left join homes as h on p.contact_id = h.contact_id
    group by grouping sets ((c.grain, c.period), (c.grain, c.period, h.country, h.region))
    having grouping(h.region) = 1 or count(p.contact_id) > 0
),

final as (
    select
        'new_contacts' as kpi,
        s.grain,
        s.period as date,
        case s.level when 1 then 'total' else 'region' end as dimension_set,
        case s.level
            when 1 then '{}'::jsonb
            else jsonb_build_object('country', s.country, 'region', s.region)
        end as dims,
        s.contacts as numerator,
        null::numeric as denominator,
        null::text as currency
    from sums as s
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
