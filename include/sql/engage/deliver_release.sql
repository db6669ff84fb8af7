-- grain: one taken send that was not called
-- reads: mkt_engage.sends    writes: mkt_engage.sends: claimed again, as before it was taken
-- params: send_ids, unsent_ids (begun, but the channel knows that nothing was handed over)
-- rerun: finds nothing more
update mkt_engage.sends set
    status = 'claimed', attempts = attempts - 1, lease_until = null, called_at = null
where
    status = 'in_flight'
    and (
        (send_id = any(%(send_ids)s::bigint[]) and called_at is null)
        or send_id = any(%(unsent_ids)s::bigint[])
    )
