-- grain: the outcome of one send (or none), and the start of the next call (or none), in one commit
-- reads: mkt_engage.sends    writes: mkt_engage.{sends,suppressions}
-- params: send_id, entered_on, status, reason, not_before, content_hash, is_hard_bounce,
--         address_hash, account, next_send_id, next_entered_on, next_attempts, now
-- rerun: an outcome only climbs: in_flight, unknown, then accepted or rejected
-- Does not wait for the disk: what a crash of Postgres loses leaves the send in_flight, which
-- deliver_take.sql made durable, and then unknown (crash_witness).
with
unhurried as (select set_config('synchronous_commit', 'off', true) as setting),

settled as (
    update mkt_engage.sends set
        status = %(status)s::text,
        reason = %(reason)s,
        outcome_at = case when %(status)s::text <> 'claimed' then %(now)s::timestamptz end,
        lease_until = %(not_before)s,
        called_at = case when %(status)s::text <> 'claimed' then sends.called_at end,
        content_hash = %(content_hash)s
    from unhurried
    where
        sends.send_id = %(send_id)s::bigint
        and sends.entered_on = %(entered_on)s::date
        and (
            sends.status = 'in_flight'
            or (sends.status = 'unknown' and %(status)s::text in ('accepted', 'rejected'))
        )
    returning sends.contact_id, sends.channel
),

bounced as (
    insert into mkt_engage.suppressions
    (contact_id, address_hash, brand, channel, reason, source, since)
    select
        settled.contact_id,
        %(address_hash)s,
        null as brand,
        settled.channel,
        'hard_bounce' as reason,
        %(account)s as source,
        %(now)s::timestamptz as since
    from settled
    where %(is_hard_bounce)s
    on conflict do nothing
),

begun as (
    update mkt_engage.sends set called_at = %(now)s::timestamptz
    from unhurried
    where
        sends.send_id = %(next_send_id)s::bigint
        and sends.entered_on = %(next_entered_on)s::date
        and sends.status = 'in_flight'
        and sends.attempts = %(next_attempts)s::integer
        and sends.called_at is null
    returning sends.send_id
)

select exists(select 1 from begun) as is_begun
