-- grain: one due send step: claimed, skipped with a reason, or held (its due_at moves)
-- reads: tick_work, mkt_engage.campaign_nodes, mkt_core.contacts, mkt_core.consent_now,
--        mkt_engage.suppressions, mkt_engage.sends, mkt_ops.sending_modes, mkt_core.time_zones,
--        mkt_core.region_time_zones
-- writes: mkt_engage.sends (unique by enrolment, step, visit), tick_work, tick_path
-- rerun: whoever was claimed or skipped has moved on; `on conflict` keeps the first decision
-- params: at, tick_id, seq, reporting_zone,
--   campaigns (jsonb: campaign_id, version, brand, priority, on_cap, late_seconds, is_stale),
--   policies (jsonb: brand, channel, cap_sends, cap_seconds, quiet_from, quiet_to, quiet_zone,
--             give_up_seconds); brands that are stopped are left out of `campaigns`
with campaigns as (
    select c.*
    from jsonb_to_recordset(%(campaigns)s) as c (
        campaign_id integer,
        version integer,
        brand text,
        priority integer,
        on_cap text,
        late_seconds double precision,
        is_stale boolean
    )
),

policies as (
    select p.*
    from jsonb_to_recordset(%(policies)s) as p (
        brand text,
        channel text,
        cap_sends integer,
        cap_seconds double precision,
        quiet_from time,
        quiet_to time,
        quiet_zone text,
        give_up_seconds double precision
    )
),

due as (
    select
        w.*,
        c.brand,
        c.priority,
        c.on_cap,
        c.late_seconds,
        c.is_stale,
        n.next_step_id,
        s.step,
        n.params ->> 'via' as via,
        n.params ->> 'template' as template,
        n.params ->> 'channel' as channel,
        (n.params ->> 'transactional')::boolean as is_transactional,
        m.mode,
        m.allow_list
    from tick_work as w
    inner join mkt_engage.campaign_nodes as n
        on
            w.campaign_id = n.campaign_id
            and w.version = n.version
            and w.step_id = n.step_id
            and n.kind = 'send'
    inner join mkt_engage.campaign_steps as s on w.step_id = s.step_id
    inner join campaigns as c on w.campaign_id = c.campaign_id and w.version = c.version
    left join mkt_ops.sending_modes as m on n.params ->> 'via' = m.account
    where w.status = 'active' and w.due_at <= %(at)s
),

gated as materialized (
    select
        d.*,
        p.cap_sends,
        p.cap_seconds,
        p.quiet_from,
        p.quiet_to,
        coalesce(p.give_up_seconds, 0) as give_up_seconds,
        case
            when p.quiet_zone = 'contact'
                then coalesce(z.time_zone, r.time_zone, y.time_zone, %(reporting_zone)s)
            else %(reporting_zone)s
        end as zone,
        case
            when c.contact_id is null or c.is_deleted then 'contact_deleted'
            when %(at)s > d.due_at + make_interval(secs => d.late_seconds) then 'late'
            when coalesce(d.mode, 'off') = 'off' then 'sending_off'
            when c.email is null then 'no_address'
            when
                d.mode = 'allow_list' and not lower(c.email) = any(d.allow_list)
                then 'not_allowed'
            when s.reason is not null then s.reason
            when
                not d.is_transactional
                and not exists (
                    select 1 from mkt_core.consent_now as o
                    where
                        o.contact_id = d.contact_id
                        and o.brand = d.brand
                        and o.channel = d.channel
                        and o.topic = 'marketing'
                        and o.status = 'granted'
                )
                then 'no_consent'
        end as skip_reason
    from due as d
    left join mkt_core.contacts as c on d.contact_id = c.contact_id
    left join mkt_core.time_zones as z on lower(c.time_zone) = z.lower_name
    left join mkt_core.region_time_zones as r on c.country = r.country and c.region = r.region
    left join mkt_core.region_time_zones as y on c.country = y.country and y.region = ''
    left join policies as p on d.brand = p.brand and d.channel = p.channel
    left join
        lateral (
            select min(u.reason) as reason
            from (
                select f.* from mkt_engage.suppressions as f
                where f.contact_id = d.contact_id and f.lifted_at is null
                union all
                select f.* from mkt_engage.suppressions as f
                where
                    f.address_hash = encode(sha256(convert_to(lower(c.email), 'UTF8')), 'hex')
                    and f.lifted_at is null
            ) as u
            where
                u.channel = d.channel
                and (u.brand is null or u.brand = d.brand)
                and (u.reason <> 'unsubscribed' or not d.is_transactional)
        ) as s
        on true
),

-- one row per zone and policy: when its quiet hours end, if they are now
zones as (
    select
        q.brand,
        q.channel,
        q.zone,
        (
            l.day
            + case when q.quiet_from > q.quiet_to and l.clock >= q.quiet_from then 1 else 0 end
            + q.quiet_to
        ) at time zone q.zone as quiet_until
    from (
        select distinct
            g.brand,
            g.channel,
            g.zone,
            g.quiet_from,
            g.quiet_to
        from gated as g
        where g.quiet_from is not null
    ) as q
    cross join
        lateral (
            select
                (%(at)s at time zone q.zone)::date as day,
                (%(at)s at time zone q.zone)::time as clock
        ) as l
    where case
        when q.quiet_from < q.quiet_to then l.clock >= q.quiet_from and l.clock < q.quiet_to
        when q.quiet_from > q.quiet_to then l.clock >= q.quiet_from or l.clock < q.quiet_to
        else false
    end
),

open as (
    select
        g.*,
        case when not g.is_transactional then z.quiet_until end as quiet_until,
        g.skip_reason is null
        and (
            g.is_transactional
            or (not g.is_stale and coalesce(z.quiet_until, '-infinity') <= %(at)s)
        ) as is_open
    from gated as g
    left join zones as z on g.brand = z.brand and g.channel = z.channel and g.zone = z.zone
),

recent as (
    select
        s.contact_id,
        s.brand,
        s.channel,
        array_agg(s.claimed_at order by s.claimed_at) as claims
    from (
        select distinct
            o.contact_id,
            o.brand,
            o.channel,
            o.cap_seconds
        from open as o
        where o.is_open and o.cap_sends is not null
    ) as o
    inner join mkt_engage.sends as s
        on
            o.contact_id = s.contact_id
            and o.channel = s.channel
            and o.brand = s.brand
            and s.claimed_at > %(at)s - make_interval(secs => o.cap_seconds)
    where s.status in ('claimed', 'in_flight', 'accepted', 'unknown')
    group by s.contact_id, s.brand, s.channel
),

ranked as (
    select
        o.*,
        r.claims,
        coalesce(cardinality(r.claims), 0) as used,
        o.is_open
        and (
            o.is_transactional
            or o.cap_sends is null
            or coalesce(cardinality(r.claims), 0) + row_number() over (
                partition by o.contact_id, o.brand, o.channel, o.is_open
                order by o.is_transactional desc, o.priority desc, o.due_at asc, o.enrolment_id asc
            ) <= o.cap_sends
        ) as is_claimed
    from open as o
    left join recent as r
        on o.contact_id = r.contact_id and o.brand = r.brand and o.channel = r.channel
),

freed as (
    select
        r.*,
        -- the instant at which enough earlier sends have left the window for one more
        coalesce(
            r.claims[
                r.used + count(*) filter (where r.is_claimed) over (
                    partition by r.contact_id, r.brand, r.channel
                ) - r.cap_sends + 1
            ],
            %(at)s
        ) + make_interval(secs => r.cap_seconds) as slot_at
    from ranked as r
),

moved as (
    select
        f.*,
        case
            when f.is_claimed or f.skip_reason is not null then null
            when f.is_open and f.on_cap = 'skip' then null
            when f.is_open then f.slot_at
            when f.is_stale then %(at)s + interval '5 minutes'
            else f.quiet_until
        end as held_until
    from freed as f
),

verdicts as materialized (
    select
        m.enrolment_id,
        m.campaign_id,
        m.version,
        m.step_id,
        m.next_step_id,
        m.visit,
        m.entered_on,
        m.contact_id,
        m.shard,
        m.brand,
        m.channel,
        m.via,
        m.due_at,
        m.is_claimed,
        case
            when m.skip_reason is not null then m.skip_reason
            when m.is_claimed then null
            when m.is_open and m.on_cap = 'skip' then 'cap'
            when
                m.held_until
                > coalesce(m.hold_since, %(at)s) + make_interval(secs => m.give_up_seconds)
                then 'give_up'
        end as skip_reason,
        m.held_until,
        case when m.is_open then 'cap' when m.is_stale then 'stale' else 'quiet' end
            as hold_reason,
        jsonb_build_object(
            'step', m.step,
            'template', m.template,
            'transactional', m.is_transactional,
            'late_seconds', m.late_seconds,
            'on_cap', m.on_cap,
            'hold_since', m.hold_since,
            'entry', coalesce(m.ctx -> 'entry', '{}'::jsonb),
            'arm', m.arms,
            'coupon', null
        ) as ctx
    from moved as m
),

decided as (
    insert into mkt_engage.sends (
        send_id, entered_on, enrolment_id, step_id, visit, campaign_id, version, contact_id,
        shard, brand, channel, via, status, reason, due_at, claimed_at, tick_id, ctx
    )
    select
        to_char(v.entered_on, 'YYYYMM')::bigint * 1000000000000
        + nextval('mkt_engage.send_numbers') as send_id,
        v.entered_on,
        v.enrolment_id,
        v.step_id,
        v.visit,
        v.campaign_id,
        v.version,
        v.contact_id,
        v.shard,
        v.brand,
        v.channel,
        v.via,
        case when v.is_claimed then 'claimed' else 'skipped' end as status,
        v.skip_reason as reason,
        v.due_at,
        case when v.is_claimed then %(at)s::timestamptz end as claimed_at,
        %(tick_id)s,
        v.ctx
    from verdicts as v
    where v.is_claimed or v.skip_reason is not null
    on conflict (entered_on, enrolment_id, step_id, visit) do nothing
    returning send_id, enrolment_id
),

advanced as (
    update tick_work as w
    set
        step_id = case when k.is_held then w.step_id else k.next_step_id end,
        status = case
            when not k.is_held and k.next_step_id is null then 'finished' else w.status
        end,
        base_at = %(at)s,
        due_at = case
            when k.is_held then k.held_until
            when k.next_step_id is null then null
            when f.params ? 'until' then 'infinity'::timestamptz
            else %(at)s + make_interval(
                secs => coalesce((f.params ->> 'seconds')::double precision, 0)
            )
        end,
        hold_since = case when k.is_held then coalesce(w.hold_since, %(at)s) end,
        is_changed = true
    from (
        select
            v.*,
            not v.is_claimed and v.skip_reason is null as is_held
        from verdicts as v
    ) as k
    left join mkt_engage.campaign_nodes as f
        on
            k.campaign_id = f.campaign_id
            and k.version = f.version
            and k.next_step_id = f.step_id
    where w.enrolment_id = k.enrolment_id
    returning
        w.enrolment_id,
        k.step_id as from_step_id,
        w.step_id as to_step_id,
        case
            when k.is_held then 'held:' || k.hold_reason
            when k.is_claimed then 'claimed'
            else 'skipped:' || k.skip_reason
        end as reason
),

noted as (
    insert into tick_path (enrolment_id, seq, from_step_id, to_step_id, reason, ref)
    select
        a.enrolment_id,
        %(seq)s,
        a.from_step_id,
        a.to_step_id,
        a.reason,
        d.send_id::text as ref
    from advanced as a
    left join decided as d on a.enrolment_id = d.enrolment_id
    returning reason
)

select
    n.reason,
    count(*) as rows
from noted as n
group by n.reason;
