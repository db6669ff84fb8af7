-- grain: one send whose worker died
-- reads: mkt_engage.sends, mkt_ops.crash_witness    writes: mkt_engage.sends
-- params: account, now
-- rerun: finds nothing more
-- Claimed again when it was provably not called: no mark of a call, and Postgres did not crash
-- since it was taken, so none was lost. Anything else is unknown, and never sent again by itself.
with
dead as (
    select
        sends.send_id,
        sends.entered_on,
        sends.called_at is null and exists (
            select 1 from mkt_ops.crash_witness
            where crash_witness.since < sends.in_flight_at
        ) as is_uncalled
    from mkt_engage.sends
    where
        sends.status = 'in_flight'
        and sends.via = %(account)s
        and sends.lease_until < %(now)s
)

update mkt_engage.sends set
    status = case when dead.is_uncalled then 'claimed' else 'unknown' end,
    reason = case when not dead.is_uncalled then 'worker died' end,
    attempts = sends.attempts - case when dead.is_uncalled then 1 else 0 end,
    outcome_at = case when not dead.is_uncalled then %(now)s::timestamptz end,
    lease_until = null
from dead
where
    sends.send_id = dead.send_id
    and sends.entered_on = dead.entered_on
    and sends.status = 'in_flight'
    and sends.lease_until < %(now)s
returning sends.send_id, sends.status
