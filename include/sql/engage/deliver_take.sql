-- grain: one due send of a group of shards, at most `chunk`, in the order they fell due
-- reads: mkt_engage.{sends,campaigns,suppressions}, mkt_core.{contacts,consent_now,time_zones,
--        region_time_zones}, mkt_ops.{sending_modes,stop_switch}
-- writes: mkt_engage.sends: in_flight, cancelled, or claimed with a later due_at;
--         mkt_ops.crash_witness. Must be on disk before anything is called.
-- params: account, brand, now, lease_until, shard_group, groups, chunk, after_due_at,
--         after_send_id, domain, quiet_from, quiet_to, is_quiet_by_contact, reporting_zone,
--         cap_sends, cap_per, give_up
-- rerun: takes the next ones; this is the whole gate, repeated at the last moment
with
witness as (
    insert into mkt_ops.crash_witness (witness_id, since)
    values (1, %(now)s)
    on conflict do nothing
),

due as materialized (
    select
        sends.send_id,
        sends.entered_on,
        sends.contact_id,
        sends.brand,
        sends.channel,
        sends.due_at,
        sends.claimed_at,
        sends.ctx,
        campaigns.campaign,
        campaigns.state,
        coalesce(sends.ctx ->> 'transactional', 'false')::boolean as is_transactional,
        make_interval(secs => (sends.ctx ->> 'late_seconds')::double precision) as late
    from mkt_engage.sends
    inner join mkt_engage.campaigns on sends.campaign_id = campaigns.campaign_id
    where
        sends.via = %(account)s
        and sends.status = 'claimed'
        and sends.due_at <= %(now)s
        and sends.shard * %(groups)s::integer / 64 = %(shard_group)s
        and (sends.lease_until is null or sends.lease_until <= %(now)s)
        and (sends.due_at, sends.send_id)
        > (%(after_due_at)s::timestamptz, %(after_send_id)s::bigint)
        and campaigns.state in ('live', 'stopped')
        and not exists (
            select 1 from mkt_ops.stop_switch
            where stop_switch.is_stopped and stop_switch.scope in ('all', sends.brand)
        )
    order by sends.due_at, sends.send_id
    limit %(chunk)s
),

people as (
    select
        due.*,
        contacts.email,
        contacts.first_name,
        contacts.last_name,
        contacts.city,
        contacts.region,
        contacts.country,
        contacts.postal_code,
        contacts.language,
        contacts.attributes,
        coalesce(contacts.is_deleted, true) as is_gone,
        encode(sha256(convert_to(lower(contacts.email), 'UTF8')), 'hex') as address_hash,
        case
            when %(is_quiet_by_contact)s
                then coalesce(
                    own.time_zone, regions.time_zone, countries.time_zone, %(reporting_zone)s
                )
            else %(reporting_zone)s
        end as zone
    from due
    left join mkt_core.contacts on due.contact_id = contacts.contact_id
    left join mkt_core.time_zones as own on lower(contacts.time_zone) = own.lower_name
    left join mkt_core.region_time_zones as regions
        on contacts.country = regions.country and contacts.region = regions.region
    left join mkt_core.region_time_zones as countries
        on contacts.country = countries.country and countries.region = ''
),

facts as (
    select
        people.*,
        coalesce(sending_modes.mode, 'off') as mode,
        lower(people.email) = any(sending_modes.allow_list) as is_allowed,
        suppressed.reason as suppressed_for,
        people.is_transactional or exists (
            select 1 from mkt_core.consent_now
            where
                consent_now.contact_id = people.contact_id
                and consent_now.brand = people.brand
                and consent_now.channel = people.channel
                and consent_now.topic = coalesce(people.ctx ->> 'topic', 'marketing')
                and consent_now.status = 'granted'
        ) as has_consent,
        quiet.ends_at as quiet_ends_at,
        cap.frees_at as cap_frees_at
    from people
    left join mkt_ops.sending_modes on sending_modes.account = %(account)s
    left join lateral (
        select min(found.reason) as reason
        from (
            select suppressions.* from mkt_engage.suppressions
            where
                suppressions.contact_id = people.contact_id
                and suppressions.lifted_at is null
            union all
            select suppressions.* from mkt_engage.suppressions
            where
                suppressions.address_hash = people.address_hash
                and suppressions.lifted_at is null
        ) as found
        where
            found.channel = people.channel
            and (found.brand is null or found.brand = people.brand)
            and not (people.is_transactional and found.reason = 'unsubscribed')
    ) as suppressed on true
    -- Quiet hours end at a local time of day: hours are never added, the zone decides.
    left join lateral (
        select
            (
                local.moment::date
                + case
                    when
                        %(quiet_from)s::time > %(quiet_to)s::time
                        and local.moment::time >= %(quiet_from)s::time
                        then 1
                    else 0
                end
                + %(quiet_to)s::time
            ) at time zone people.zone as ends_at
        from (select %(now)s::timestamptz at time zone people.zone as moment) as local
        where
            not people.is_transactional
            and case
                when %(quiet_from)s::time <= %(quiet_to)s::time
                    then
                        local.moment::time >= %(quiet_from)s::time
                        and local.moment::time < %(quiet_to)s::time
                else
                    local.moment::time >= %(quiet_from)s::time
                    or local.moment::time < %(quiet_to)s::time
            end
    ) as quiet on true
    -- Others count when they are out or may be, or were claimed before this one. The cap frees
    -- when the newest `cap_sends` of them are no longer all within the span.
    left join lateral (
        select
            (array_agg(others.at order by others.at desc))[%(cap_sends)s::integer]
            + %(cap_per)s::interval as frees_at
        from (
            select
                case
                    when other.status = 'claimed' then %(now)s::timestamptz
                    else coalesce(other.in_flight_at, other.claimed_at)
                end as at
            from mkt_engage.sends as other
            where
                other.contact_id = people.contact_id
                and other.channel = people.channel
                and other.brand = people.brand
                and other.claimed_at > %(now)s - %(cap_per)s::interval - interval '31 days'
                and other.send_id <> people.send_id
                and (
                    other.status in ('in_flight', 'accepted', 'unknown')
                    or (
                        other.status = 'claimed'
                        and (other.claimed_at, other.send_id)
                        < (people.claimed_at, people.send_id)
                    )
                )
        ) as others
        where
            not people.is_transactional
            and others.at > %(now)s - %(cap_per)s::interval
    ) as cap on true
),

-- A refusal is final, a deferral names the instant to try again; the first that applies counts.
judged as (
    select
        facts.*,
        case
            when facts.is_gone then 'contact_deleted'
            when facts.email is null then 'no_address'
            when facts.brand <> %(brand)s then 'wrong_brand'
            when facts.state = 'stopped' then 'campaign_stopped'
            when facts.mode = 'off' then 'sending_off'
            when facts.mode = 'allow_list' and facts.is_allowed is not true then 'not_allowed'
            when facts.suppressed_for is not null then facts.suppressed_for
            when not facts.has_consent then 'no_consent'
            when facts.due_at + facts.late < %(now)s then 'late'
            when facts.claimed_at < %(now)s - interval '30 days' then 'give_up'
            when facts.cap_frees_at is not null and facts.ctx ->> 'on_cap' = 'skip' then 'cap'
        end as refusal,
        case
            when facts.quiet_ends_at is not null then 'quiet'
            when facts.cap_frees_at is not null then 'cap'
        end as hold,
        coalesce(facts.quiet_ends_at, facts.cap_frees_at) as held_until,
        coalesce((facts.ctx ->> 'hold_since')::timestamptz, facts.claimed_at)
        + %(give_up)s::interval as gives_up_at
    from facts
),

verdicts as (
    select
        judged.*,
        case
            when judged.refusal is not null then 'cancelled'
            when judged.held_until > judged.gives_up_at then 'cancelled'
            when judged.hold is not null then 'claimed'
            else 'in_flight'
        end as verdict,
        case
            when judged.refusal is not null then judged.refusal
            when judged.held_until > judged.gives_up_at then 'give_up'
            else judged.hold
        end as why
    from judged
)

update mkt_engage.sends set
    status = verdicts.verdict,
    reason = verdicts.why,
    due_at = case when verdicts.verdict = 'claimed' then verdicts.held_until else sends.due_at end,
    attempts = sends.attempts + case when verdicts.verdict = 'in_flight' then 1 else 0 end,
    in_flight_at = case
        when verdicts.verdict = 'in_flight' then %(now)s::timestamptz
        else sends.in_flight_at
    end,
    lease_until = case when verdicts.verdict = 'in_flight' then %(lease_until)s::timestamptz end,
    called_at = null,
    outcome_at = case when verdicts.verdict = 'cancelled' then %(now)s::timestamptz end,
    provider_id = case
        when verdicts.verdict = 'in_flight' then sends.send_id || '@' || %(domain)s
        else sends.provider_id
    end
from verdicts
where
    sends.send_id = verdicts.send_id
    and sends.entered_on = verdicts.entered_on
    and sends.status = 'claimed'
returning
    verdicts.due_at, sends.send_id, sends.entered_on, sends.status, sends.reason, sends.attempts,
    sends.campaign_id, sends.version, verdicts.campaign, sends.contact_id, sends.brand, sends.ctx,
    verdicts.is_transactional, verdicts.email, verdicts.first_name, verdicts.last_name,
    verdicts.city, verdicts.region, verdicts.country, verdicts.postal_code, verdicts.language,
    verdicts.attributes
