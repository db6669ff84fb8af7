-- grain: one account        key: account
-- reads: mkt_ops.account_state        params: account, blocked_until, reason, updated_at
-- rerun: the same state again
-- What blocks the account now stays until its time, whatever another stream's run ends with.
insert into mkt_ops.account_state as held (account, blocked_until, reason, updated_at)
values (%(account)s, %(blocked_until)s, %(reason)s, %(updated_at)s)
on conflict (account) do update
    set
        blocked_until = excluded.blocked_until,
        reason = excluded.reason,
        updated_at = excluded.updated_at
    where
    held.blocked_until is null
    or held.blocked_until <= excluded.updated_at
    or held.blocked_until < excluded.blocked_until
