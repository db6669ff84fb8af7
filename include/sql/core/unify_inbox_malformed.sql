-- grain: one action that cannot be read        key: inbox_id
-- reads: mkt_ops.webhook_inbox        params: inbox_ids, reasons, now
-- writes: mkt_ops.webhook_inbox
-- rerun: changes nothing
-- Trying again would not help: it is closed with its reason and kept.

update mkt_ops.webhook_inbox as inbox
set processed_at = %(now)s::timestamptz, error = rows.reason
from unnest(%(inbox_ids)s::bigint[], %(reasons)s::text[]) as rows (inbox_id, reason)
where inbox.inbox_id = rows.inbox_id;
