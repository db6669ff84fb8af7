-- grain: one enrolment that reached its goal or an exit
-- reads: tick_hits, mkt_engage.enrolments
-- writes: mkt_engage.enrolments, mkt_engage.sends (cancels what is not in flight yet), tick_path
-- rerun: an enrolment leaves once; a goal's first instant stays
-- params: at, seq
with hits as (
    select
        h.enrolment_id,
        min(h.occurred_at) filter (where h.is_goal) as goal_at,
        (
            array_agg(
                case when h.is_goal then 'goal' else h.event_type end
                order by h.occurred_at asc, h.is_goal desc, h.event_id asc
            ) filter (where h.is_exit)
        )[1] as exit_reason,
        (
            array_agg(
                h.event_id
                order by h.is_exit desc, h.occurred_at asc, h.is_goal desc, h.event_id asc
            )
        )[1] as event_id
    from tick_hits as h
    group by h.enrolment_id
),

before as (
    select
        n.enrolment_id,
        n.entered_on,
        n.step_id,
        h.goal_at,
        h.exit_reason,
        h.event_id,
        n.status = 'active' and h.exit_reason is not null as is_leaving
    from hits as h
    inner join mkt_engage.enrolments as n on h.enrolment_id = n.enrolment_id
),

changed as (
    update mkt_engage.enrolments as n
    set
        converted_at = coalesce(n.converted_at, b.goal_at),
        status = case when b.is_leaving then 'exited' else n.status end,
        exit_reason = case when b.is_leaving then b.exit_reason else n.exit_reason end,
        due_at = case when b.is_leaving then null else n.due_at end,
        updated_at = %(at)s
    from before as b
    where n.enrolment_id = b.enrolment_id and (b.is_leaving or b.goal_at is not null)
    returning n.enrolment_id
),

cancelled as (
    update mkt_engage.sends as s
    set status = 'cancelled', reason = 'exited', outcome_at = %(at)s
    from before as b
    where
        b.is_leaving
        and s.entered_on = b.entered_on and s.enrolment_id = b.enrolment_id
        and s.status = 'claimed'
    returning s.send_id
)

insert into tick_path (enrolment_id, seq, from_step_id, to_step_id, reason, ref)
select
    b.enrolment_id,
    %(seq)s,
    b.step_id as from_step_id,
    case when b.is_leaving then null else b.step_id end as to_step_id,
    case when b.is_leaving then 'exit:' || b.exit_reason else 'goal' end as reason,
    b.event_id::text as ref
from before as b
inner join changed as c on b.enrolment_id = c.enrolment_id;
