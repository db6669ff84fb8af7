-- grain: one action whose send is not known        key: inbox_id
-- reads: mkt_ops.webhook_inbox        params: inbox_ids, now, given_up_before
-- writes: mkt_ops.webhook_inbox
-- rerun: changes nothing
-- It waits for its send (a restored ledger, another writer), for a week at most.

update mkt_ops.webhook_inbox as inbox
set
    error = case
        when inbox.received_at < %(given_up_before)s::timestamptz then 'its send never came'
        else 'its send is not known yet'
    end,
    processed_at = case
        when inbox.received_at < %(given_up_before)s::timestamptz then %(now)s::timestamptz
    end
where
    inbox.inbox_id = any(%(inbox_ids)s::bigint[])
    and (inbox.error is null or inbox.received_at < %(given_up_before)s::timestamptz);
