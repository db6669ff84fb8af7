-- grain: one accepted send        key: send_id
-- reads: mkt_engage.{sends,enrolments}        params: send_ids, batch, timezone
-- writes: mkt_core.events (email_sent), mkt_engage.sends.event_batch, mkt_ops.dirty_days
-- rerun: changes nothing

with marked as (
    update mkt_engage.sends as sends
    set event_batch = %(batch)s::bigint
    where
        sends.send_id = any(%(send_ids)s::bigint[])
        and sends.status = 'accepted'
        and sends.event_batch is null
    returning
        sends.send_id, sends.enrolment_id, sends.contact_id, sends.campaign_id, sends.step_id,
        sends.brand, sends.channel, sends.via,
        coalesce(
            -- settled by an action of its reader: it was accepted when it was handed over
            case when sends.reason = 'seen by its reader' then sends.in_flight_at end,
            sends.outcome_at, sends.in_flight_at, sends.claimed_at, sends.due_at
        ) as occurred_at
),

written as (
    insert into mkt_core.events (
        event_id, occurred_at, profile_id, contact_id, event_type, key, campaign_id, step_id,
        send_id, source, batch, properties
    )
    select
        md5(concat_ws(':', marked.channel || '_sent', marked.send_id))::uuid as event_id,
        marked.occurred_at,
        coalesce(enrolments.profile_id, marked.contact_id) as profile_id,
        coalesce(enrolments.contact_id, marked.contact_id) as contact_id,
        marked.channel || '_sent' as event_type,
        marked.send_id::text,
        marked.campaign_id,
        marked.step_id,
        marked.send_id,
        marked.via,
        %(batch)s::bigint,
        jsonb_build_object('brand', marked.brand, 'channel', marked.channel) as properties
    from marked
    left join mkt_engage.enrolments as enrolments
        on marked.enrolment_id = enrolments.enrolment_id
    order by marked.occurred_at, marked.send_id
    on conflict do nothing
    returning occurred_at
),

dirty as (
    insert into mkt_ops.dirty_days (kpi_group, date, batch)
    select distinct
        'email' as kpi_group,
        (occurred_at at time zone %(timezone)s)::date,
        %(batch)s::bigint
    from written
    on conflict (kpi_group, date) do update set batch = excluded.batch
    returning date
)

select
    (select count(*) from written) as events,
    (select count(*) from dirty) as days;
