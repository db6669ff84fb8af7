-- grain: one accepted send without its event        key: send_id
-- reads: mkt_engage.sends        params: bound
-- rerun: reads only

select
    send_id,
    date_trunc(
        'month',
        coalesce(
            case when reason = 'seen by its reader' then in_flight_at end,
            outcome_at, in_flight_at, claimed_at, due_at
        ) at time zone 'UTC'
    )::date as month
from mkt_engage.sends
where status = 'accepted' and event_batch is null
order by send_id
limit %(bound)s;
