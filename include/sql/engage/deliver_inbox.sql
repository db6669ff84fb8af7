-- grain: one open or click as the receiver heard it, once per delivery_id
-- reads: nothing    writes: mkt_ops.webhook_inbox, mkt_engage.sends
-- params: brand, topic, delivery_id, now, body, send_id, month_start, month_end
-- rerun: the inbox keeps the first
-- Somebody who opens a mail has it: that settles a send whose outcome was unknown.
with heard as (
    insert into mkt_ops.webhook_inbox (source, account, topic, delivery_id, received_at, body)
    values ('receiver', %(brand)s, %(topic)s, %(delivery_id)s, %(now)s, %(body)s)
    on conflict (source, account, delivery_id) do nothing
)

update mkt_engage.sends set
    status = 'accepted', reason = 'seen by its reader', outcome_at = %(now)s, lease_until = null
where
    send_id = %(send_id)s
    and entered_on >= %(month_start)s
    and entered_on < %(month_end)s
    and (status = 'unknown' or (status = 'in_flight' and called_at is not null))
