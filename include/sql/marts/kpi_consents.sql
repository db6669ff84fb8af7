-- grain: one KPI, period and combination of dimension values; key: all but the numbers
-- reads: core.events, engage.campaigns
-- rerun: reads only; the runner writes what differs
-- params: first_day, day_starts, from_at, to_at (see docs/kpis.md); temp kpi_calendar
with facts as (
    select
        e.event_type,
        e.contact_id,
        e.send_id is not null as is_by_mail,
        c.campaign,
        coalesce(e.properties ->> 'channel', 'email') as channel,
        %(first_day)s::date
        + width_bucket(e.occurred_at, %(day_starts)s::timestamptz[]) - 1 as date
    from mkt_core.events as e
    left join mkt_engage.campaigns as c on e.campaign_id = c.campaign_id
    where
        e.event_type in ('subscribed', 'unsubscribed', 'email_sent')
        and e.occurred_at >= %(from_at)s
        and e.occurred_at < %(to_at)s
),

-- One-click and the shop may both report one refusal: a person counts once per period.
sums as (
    select
        c.grain,
        c.period,
        f.campaign,
        f.channel,
        grouping(f.campaign, f.channel) as level,
        -- ours: a vendor tells of a refusal by its own mailing as a change of consent
        count(*) filter (where f.event_type = 'email_sent' and f.is_by_mail) as sends,
        count(distinct f.contact_id) filter (where f.event_type = 'subscribed') as subscribers,
        count(distinct f.contact_id) filter (where f.event_type = 'unsubscribed') as leavers,
        count(distinct f.contact_id) filter (
            where f.event_type = 'unsubscribed' and f.is_by_mail
        ) as leavers_by_mail
    from pg_temp.kpi_calendar as c
    left join facts as f on c.date = f.date
    group by
        grouping sets (
            (c.grain, c.period), (c.grain, c.period, f.campaign), (c.grain, c.period, f.channel)
        )
    having grouping(f.campaign, f.channel) = 3 or count(f.event_type) > 0
),

final as (
    select
        v.kpi,
        s.grain,
        s.period as date,
        case s.level when 3 then 'total' when 1 then 'campaign' else 'channel' end
            as dimension_set,
        case s.level
            when 3 then '{}'::jsonb
            when 1 then jsonb_build_object('campaign', s.campaign)
            else jsonb_build_object('channel', s.channel)
        end as dims,
        v.numerator,
        v.denominator,
        null::text as currency
    from sums as s
    cross join lateral (
        values
        ('subscribes', s.subscribers, null::bigint),
        ('unsubscribes', s.leavers, null),
        ('unsubscribe_rate', s.leavers_by_mail, s.sends)
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
