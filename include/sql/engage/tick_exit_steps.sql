-- grain: one due enrolment at an `exit` step
-- reads: tick_work, mkt_engage.campaign_nodes    writes: tick_work, tick_path
-- rerun: whoever left is no longer active    params: at, seq
with leaving as (
    update tick_work as w
    set
        step_id = null,
        status = 'exited',
        exit_reason = n.params ->> 'reason',
        due_at = null,
        is_changed = true
    from mkt_engage.campaign_nodes as n
    where
        w.campaign_id = n.campaign_id
        and w.version = n.version
        and w.step_id = n.step_id
        and n.kind = 'exit'
        and w.status = 'active'
        and w.due_at <= %(at)s
    returning w.enrolment_id, n.step_id as from_step_id, w.exit_reason
)

insert into tick_path (enrolment_id, seq, from_step_id, to_step_id, reason)
select
    l.enrolment_id,
    %(seq)s,
    l.from_step_id,
    null as to_step_id,
    'exit:' || l.exit_reason as reason
from leaving as l;
