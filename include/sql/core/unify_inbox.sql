-- grain: one reader's action that our receiver took        key: (source, account, delivery_id)
-- reads: mkt_engage.{sends,enrolments}
-- params: inbox_ids, topics, brands, delivery_ids, send_ids, instants, urls, proxies, batch, now,
--   timezone
-- writes: mkt_core.{events,consents}, mkt_ops.{webhook_inbox,dirty_days}
-- rerun: changes nothing

with incoming as (
    select *
    from unnest(
        %(inbox_ids)s::bigint[],
        %(topics)s::text[],
        %(brands)s::text[],
        %(delivery_ids)s::text[],
        %(send_ids)s::bigint[],
        %(instants)s::timestamptz[],
        %(urls)s::text[],
        %(proxies)s::boolean[]
    ) as rows (inbox_id, topic, brand, delivery_id, send_id, occurred_at, url, is_proxy)
),

matched as materialized (
    select
        incoming.*,
        sends.campaign_id,
        sends.step_id,
        sends.channel,
        coalesce(enrolments.profile_id, sends.contact_id) as profile_id,
        coalesce(enrolments.contact_id, sends.contact_id) as contact_id,
        -- A program that fetches pictures or follows links before anybody could have read.
        incoming.topic <> 'unsubscribed'
        and (
            incoming.is_proxy
            or coalesce(
                incoming.occurred_at < case
                    -- settled by an action: accepted when it was handed over
                    when sends.reason = 'seen by its reader' then sends.in_flight_at
                    else sends.outcome_at
                end + interval '5 seconds',
                false
            )
        ) as is_machine
    from incoming
    inner join mkt_engage.sends as sends on incoming.send_id = sends.send_id
    left join mkt_engage.enrolments as enrolments on sends.enrolment_id = enrolments.enrolment_id
),

written as (
    insert into mkt_core.events (
        event_id, occurred_at, profile_id, contact_id, event_type, key, campaign_id, step_id,
        send_id, source, batch, is_machine, properties
    )
    select
        -- one unsubscription a send, however often the link is used
        md5(concat_ws(
            ':', topic, 'receiver', brand,
            case topic when 'unsubscribed' then send_id::text else delivery_id end
        ))::uuid as event_id,
        min(occurred_at) as occurred_at,
        profile_id,
        contact_id,
        topic,
        send_id::text,
        campaign_id,
        step_id,
        send_id,
        'receiver' as source,
        %(batch)s::bigint,
        bool_and(is_machine) as is_machine,
        jsonb_strip_nulls(jsonb_build_object(
            'brand', brand, 'channel', channel, 'url', min(url)
        )) as properties
    from matched
    where
        topic <> 'unsubscribed'
        or not exists (
            select 1 from mkt_core.events as events
            where
                events.contact_id = matched.contact_id
                and events.event_type = 'unsubscribed'
                and events.send_id = matched.send_id
        )
    group by
        1, profile_id, contact_id, topic, send_id, campaign_id, step_id, brand, channel
    on conflict do nothing
    returning event_id, occurred_at
),

refused as (
    insert into mkt_core.consents (
        profile_id, contact_id, brand, channel, topic, status, legal_basis, changed_at, source,
        batch
    )
    select
        profile_id,
        contact_id,
        brand,
        channel,
        'marketing' as topic,
        'denied' as status,
        'consent' as legal_basis,
        min(occurred_at) as changed_at,
        'receiver' as source,
        %(batch)s::bigint
    from matched
    where topic = 'unsubscribed'
    group by profile_id, contact_id, brand, channel
    on conflict do nothing
    returning contact_id, changed_at
),

settled as (
    update mkt_ops.webhook_inbox as inbox
    set processed_at = %(now)s::timestamptz, batch = %(batch)s::bigint, error = null
    from matched
    where inbox.inbox_id = matched.inbox_id
),

dirty as (
    insert into mkt_ops.dirty_days (kpi_group, date, batch)
    select distinct
        kpi_group,
        (occurred_at at time zone %(timezone)s)::date,
        %(batch)s::bigint
    from (
        select
            'email' as kpi_group,
            occurred_at
        from written
        union all
        select
            'consents' as kpi_group,
            changed_at as occurred_at
        from refused
    ) as moments
    on conflict (kpi_group, date) do update set batch = excluded.batch
    returning date
)

select
    array(select distinct contact_id from refused) as contacts,
    (select count(*) from matched) as matched,
    (select count(*) from written) as events,
    (select count(*) from refused) as refused,
    (select count(*) from dirty) as days;
