-- grain: one account        key: account
-- reads: nothing        params: account, blocked_until, reason, updated_at
-- rerun: the same state again
insert into mkt_ops.account_state (account, blocked_until, reason, updated_at)
values (%(account)s, %(blocked_until)s, %(reason)s, %(updated_at)s)
on conflict (account) do update
    set
        blocked_until = excluded.blocked_until,
        reason = excluded.reason,
        updated_at = excluded.updated_at
