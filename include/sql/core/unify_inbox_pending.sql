-- grain: one unprocessed action our receiver took        key: inbox_id
-- reads: mkt_ops.webhook_inbox        params: bound
-- rerun: reads only
-- Fresh rows first, so that rows waiting for their send never block them.

select
    inbox_id,
    account,
    topic,
    delivery_id,
    body,
    received_at
from mkt_ops.webhook_inbox
where
    processed_at is null
    and source = 'receiver'
    and topic in ('email_opened', 'email_clicked', 'unsubscribed')
order by (error is not null), inbox_id
limit %(bound)s;
