-- grain: one send whose worker died: unknown when the call was begun, else claimed again
-- reads: mkt_engage.sends    writes: mkt_engage.sends
-- params: account, now
-- rerun: finds nothing more
update mkt_engage.sends set
    status = case when called_at is null then 'claimed' else 'unknown' end,
    reason = case when called_at is not null then 'worker died' end,
    attempts = attempts - case when called_at is null then 1 else 0 end,
    outcome_at = case when called_at is not null then %(now)s::timestamptz end,
    lease_until = null
where
    status = 'in_flight'
    and via = %(account)s
    and lease_until < %(now)s
returning send_id, status
