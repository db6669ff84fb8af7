-- grain: one movement of one enrolment; steps passed in an instant belong to the movement before
-- reads: tick_path    writes: mkt_engage.enrolment_log    params: tick_id, at
-- rerun: once a transaction
insert into mkt_engage.enrolment_log (
    enrolment_id, tick_id, from_step_id, to_step_id, reason, ref, at
)
with grouped as (
    select
        p.*,
        count(p.reason) over (partition by p.enrolment_id order by p.seq) as movement
    from tick_path as p
)

select
    g.enrolment_id,
    %(tick_id)s,
    (array_agg(g.from_step_id order by g.seq))[1] as from_step_id,
    (array_agg(g.to_step_id order by g.seq desc))[1] as to_step_id,
    coalesce(max(g.reason), 'moved') as reason,
    max(g.ref) as ref,
    %(at)s
from grouped as g
group by g.enrolment_id, g.movement;
