-- grain: one person leaving one brand's mail; the gate sees it at once, unify reads the inbox
-- reads: mkt_engage.{sends,suppressions}, mkt_core.contact_merges
-- writes: mkt_ops.webhook_inbox, mkt_engage.suppressions, mkt_engage.sends
-- params: brand, now, body, send_id, month_start, month_end, contact_id
-- rerun: nothing while the suppression holds; after it was lifted a new one and a new inbox row
with
seen as (
    update mkt_engage.sends set
        status = 'accepted', reason = 'seen by its reader', outcome_at = %(now)s, lease_until = null
    where
        send_id = %(send_id)s
        and entered_on >= %(month_start)s
        and entered_on < %(month_end)s
        and (status = 'unknown' or (status = 'in_flight' and called_at is not null))
),

-- The send's contact follows merges; the link's own does not, and outlives the send.
person as (
    select coalesce(
        (
            select sends.contact_id from mkt_engage.sends
            where
                sends.send_id = %(send_id)s
                and sends.entered_on >= %(month_start)s
                and sends.entered_on < %(month_end)s
        ),
        (
            select contact_merges.into_contact_id from mkt_core.contact_merges
            where
                contact_merges.from_contact_id = %(contact_id)s
                and contact_merges.undone_batch is null
            order by contact_merges.merge_id desc
            limit 1
        ),
        %(contact_id)s
    ) as contact_id
),

suppressed as (
    insert into mkt_engage.suppressions (contact_id, brand, channel, reason, source, since)
    select
        person.contact_id,
        %(brand)s,
        'email' as channel,
        'unsubscribed' as reason,
        'receiver' as source,
        %(now)s as since
    from person
    on conflict do nothing
)

insert into mkt_ops.webhook_inbox (source, account, topic, delivery_id, received_at, body)
select
    'receiver' as source,
    %(brand)s as account,
    'unsubscribed' as topic,
    'unsubscribed:' || %(send_id)s::bigint || ':' || (
        select count(*) + 1 from mkt_engage.suppressions
        where
            suppressions.contact_id = person.contact_id
            and suppressions.brand = %(brand)s
            and suppressions.reason = 'unsubscribed'
            and suppressions.lifted_at is not null
    ) as delivery_id,
    %(now)s as received_at,
    %(body)s
from person
on conflict (source, account, delivery_id) do nothing
