-- grain: one event of the contact of a test   reads: nothing
-- rerun: the caller rolls back after each test
-- params: number, event, at, key, amount, currency, is_reporting, properties, campaign
insert into pg_temp.events (
    event_id, occurred_at, profile_id, contact_id, event_type, key, amount, currency,
    reporting_amount, order_id, campaign_id, source, batch, properties
)
values (
    md5(%(number)s::text)::uuid, %(at)s, 1, 1, %(event)s, %(key)s, %(amount)s::numeric,
    %(currency)s, case when %(is_reporting)s then %(amount)s::numeric end, %(number)s,
    case when %(campaign)s::text is not null then %(number)s end, 'test', 1,
    %(properties)s::jsonb
)
