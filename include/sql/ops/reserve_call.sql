-- grain: one bucket of one account's calls        key: (account, bucket)
-- reads: mkt_ops.account_pace        params: account, bucket, step, burst
-- writes: mkt_ops.account_pace
-- rerun: books one more call
--
-- The generic cell rate algorithm: full_at is when the bucket would be full again. Returns the
-- seconds to wait before the call. By the server's wall clock, which all workers share.

insert into mkt_ops.account_pace as held (account, bucket, full_at)
values (%(account)s, %(bucket)s, clock_timestamp() + make_interval(secs => %(step)s))
on conflict (account, bucket) do update
    set
        full_at = greatest(held.full_at, clock_timestamp()) + make_interval(secs => %(step)s)
returning
    extract(epoch from full_at - clock_timestamp())::float8
    - %(step)s::float8 * %(burst)s::int as wait_seconds;
