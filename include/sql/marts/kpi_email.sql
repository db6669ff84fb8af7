-- grain: one KPI, period and combination of dimension values; key: all but the numbers
-- reads: core.events, engage.enrolments, engage.campaigns
-- rerun: reads only; the runner writes what differs
-- params: first_day, day_starts, from_at, to_at (see docs/kpis.md); temp kpi_calendar
-- Sends are the email_sent events: of our own accepted sends, and of the vendors' own mailings.
-- A vendor's event names no send: a message is one campaign's mail to one contact.
with events as (
    select
        e.event_type,
        e.campaign_id,
        coalesce(e.properties ->> 'channel', 'email') as channel,
        case when e.send_id is null then e.key end as mailing,
        coalesce(e.send_id::text, concat_ws(':', e.source, e.key, e.contact_id::text)) as message,
        e.is_machine as is_apart,
        e.occurred_at
    from mkt_core.events as e
    where
        e.event_type in ('email_sent', 'email_opened', 'email_clicked')
        and e.occurred_at >= %(from_at)s
        and e.occurred_at < %(to_at)s
    union all
    select
        'converted' as event_type,
        n.campaign_id,
        'email' as channel,
        null as mailing,
        n.enrolment_id::text as message,
        -- the rate counts only goals that a message of the campaign came before
        not exists (
            select 1 from mkt_core.events as m
            where
                m.contact_id = n.contact_id
                and m.event_type = 'email_sent'
                and m.campaign_id = n.campaign_id
                and m.occurred_at >= n.entered_at
                and m.occurred_at <= n.converted_at
        ) as is_apart,
        n.converted_at as occurred_at
    from mkt_engage.enrolments as n
    where
        n.converted_at >= %(from_at)s
        and n.converted_at < %(to_at)s
        and n.status <> 'holdout'
),

facts as (
    select
        coalesce(c.campaign, e.mailing) as campaign,
        e.channel,
        e.message,
        e.event_type = 'email_sent' as is_send,
        e.event_type = 'email_sent' and e.campaign_id is not null as is_own_send,
        e.event_type = 'email_opened' and not e.is_apart as is_open,
        e.event_type = 'email_opened' and e.is_apart as is_machine_open,
        e.event_type = 'email_clicked' and not e.is_apart as is_click,
        e.event_type = 'converted' as is_conversion,
        e.event_type = 'converted' and not e.is_apart as is_mailed_conversion,
        %(first_day)s::date
        + width_bucket(e.occurred_at, %(day_starts)s::timestamptz[]) - 1 as date
    from events as e
    left join mkt_engage.campaigns as c on e.campaign_id = c.campaign_id
),

-- A message opened twice in a period is one open.
sums as (
    select
        c.grain,
        c.period,
        f.campaign,
        f.channel,
        grouping(f.campaign, f.channel) as level,
        count(*) filter (where f.is_send) as sends,
        count(*) filter (where f.is_own_send) as own_sends,
        count(distinct f.message) filter (where f.is_open) as opens,
        count(distinct f.message) filter (where f.is_machine_open) as machine_opens,
        count(distinct f.message) filter (where f.is_click) as clicks,
        count(*) filter (where f.is_conversion) as conversions,
        count(*) filter (where f.is_mailed_conversion) as mailed_conversions
    from pg_temp.kpi_calendar as c
    left join facts as f on c.date = f.date
    group by
        grouping sets (
            (c.grain, c.period), (c.grain, c.period, f.campaign), (c.grain, c.period, f.channel)
        )
    having grouping(f.campaign, f.channel) = 3 or count(f.message) > 0
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
        ('sends', s.sends, null::bigint),
        ('opens', s.opens, null),
        ('machine_opens', s.machine_opens, null),
        ('clicks', s.clicks, null),
        ('conversions', s.conversions, null),
        ('open_rate', s.opens, s.sends),
        ('click_rate', s.clicks, s.sends),
        ('conversion_rate', s.mailed_conversions, s.own_sends)
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
