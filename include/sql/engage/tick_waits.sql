-- grain: one due wait that is over: its enrolment comes to the next step at the wait's end
-- reads: tick_work, mkt_engage.campaign_nodes    writes: tick_work, tick_path
-- rerun: whoever moved is no longer at a due wait    params: at, seq
with moving as (
    select
        w.enrolment_id,
        w.step_id as from_step_id,
        n.next_step_id,
        f.params
    from tick_work as w
    inner join mkt_engage.campaign_nodes as n
        on w.campaign_id = n.campaign_id and w.version = n.version and w.step_id = n.step_id
    left join mkt_engage.campaign_nodes as f
        on
            n.campaign_id = f.campaign_id
            and n.version = f.version
            and n.next_step_id = f.step_id
    where w.status = 'active' and w.due_at <= %(at)s and n.kind = 'wait'
),

moved as (
    update tick_work as w
    set
        step_id = m.next_step_id,
        status = case when m.next_step_id is null then 'finished' else 'active' end,
        base_at = w.due_at,
        due_at = case
            when m.next_step_id is null then null
            when m.params ? 'until' then 'infinity'::timestamptz
            else w.due_at + make_interval(
                secs => coalesce((m.params ->> 'seconds')::double precision, 0)
            )
        end,
        is_changed = true
    from moving as m
    where w.enrolment_id = m.enrolment_id
    returning w.enrolment_id, m.from_step_id, m.next_step_id
)

insert into tick_path (enrolment_id, seq, from_step_id, to_step_id, reason)
select
    m.enrolment_id,
    %(seq)s,
    m.from_step_id,
    m.next_step_id as to_step_id,
    'waited' as reason
from moved as m;
