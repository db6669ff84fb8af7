-- grain: one active enrolment of a campaign that was stopped
-- reads: mkt_engage.enrolments
-- writes: mkt_engage.enrolments, mkt_engage.sends (cancels what is not in flight yet), the log
-- rerun: nobody is active any more    params: campaign_id, shards, at
with inside as (
    select
        n.enrolment_id,
        n.entered_on,
        n.step_id
    from mkt_engage.enrolments as n
    where
        n.campaign_id = %(campaign_id)s
        and n.status = 'active'
        and n.shard = any(%(shards)s)
    for update
),

cancelled as (
    update mkt_engage.sends as s
    set status = 'cancelled', reason = 'stopped', outcome_at = %(at)s
    from inside as i
    where
        s.entered_on = i.entered_on
        and s.enrolment_id = i.enrolment_id
        and s.status = 'claimed'
),

logged as (
    insert into mkt_engage.enrolment_log (
        enrolment_id, tick_id, from_step_id, to_step_id, reason, at
    )
    select
        i.enrolment_id,
        (select coalesce(max(t.tick_id), 0) from mkt_ops.ticks as t) as tick_id,
        i.step_id,
        null as to_step_id,
        'exit:stopped' as reason,
        %(at)s
    from inside as i
)

update mkt_engage.enrolments as n
set status = 'exited', exit_reason = 'stopped', due_at = null, updated_at = %(at)s
from inside as i
where n.enrolment_id = i.enrolment_id;
