-- says: messages that are due do not go out
-- grain: one sending account
-- reads: mkt_engage.sends, mkt_ops.sending_modes, mkt_ops.stop_switch    params: at
-- rerun: reads only
select
    sends.via as subject,
    count(*)
    || ' due since '
    || to_char(min(sends.due_at), 'YYYY-MM-DD HH24:MI')
    || ' UTC' as detail
from mkt_engage.sends
inner join mkt_ops.sending_modes on sends.via = sending_modes.account
where
    sends.status = 'claimed'
    and sends.due_at < %(at)s::timestamptz - interval '1 hour'
    and sending_modes.mode <> 'off'
    and not exists (
        select 1
        from mkt_ops.stop_switch
        where stop_switch.is_stopped and stop_switch.scope in ('all', sends.brand)
    )
group by sends.via
order by sends.via
