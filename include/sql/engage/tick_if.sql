-- grain: one due enrolment at one `if` step
-- reads: tick_work, mkt_engage.campaign_nodes, what the rule reads    writes: tick_work, tick_path
-- rerun: whoever moved is no longer at the step
-- params: campaign_id, version, step_id, then_id, else_id, at, seq, and those of the rule
-- The condition between the marks is replaced by the compiled rule: a rule of the segment grammar
-- for the contacts of tick_scope, or a comparison of d.props, what was frozen at entry.
with due as materialized (
    select
        w.enrolment_id,
        w.contact_id,
        coalesce(w.ctx -> 'entry', '{}'::jsonb) as props
    from tick_work as w
    where
        w.status = 'active'
        and w.due_at <= %(at)s
        and w.campaign_id = %(campaign_id)s
        and w.version = %(version)s
        and w.step_id = %(step_id)s
),

tick_scope as materialized (
    select distinct d.contact_id from due as d
),

-- Materialized: the rule is worked out once, not for each column that follows from it.
moving as materialized (
    select
        a.enrolment_id,
        a.next_step_id,
        f.params
    from (
        select
            d.enrolment_id,
            case when coalesce(
                /* rule */ d.contact_id in (select s.contact_id from tick_scope as s) /* end */,
                false
            ) then %(then_id)s::integer else %(else_id)s::integer end as next_step_id
        from due as d
    ) as a
    left join mkt_engage.campaign_nodes as f
        on
            f.campaign_id = %(campaign_id)s
            and f.version = %(version)s
            and a.next_step_id = f.step_id
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
    returning w.enrolment_id, m.next_step_id
)

insert into tick_path (enrolment_id, seq, from_step_id, to_step_id)
select
    m.enrolment_id,
    %(seq)s,
    %(step_id)s,
    m.next_step_id
from moved as m;
