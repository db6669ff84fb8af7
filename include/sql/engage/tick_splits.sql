-- grain: one due enrolment at a split: its arm is the person's hash against the weights
-- reads: tick_work, mkt_engage.campaign_nodes    writes: tick_work, tick_path
-- rerun: the same arm: md5 of salt and profile, never random    params: at, seq
with arms as (
    select
        n.campaign_id,
        n.version,
        n.step_id,
        s.step,
        n.params ->> 'salt' as salt,
        a.arm ->> 'arm' as arm,
        (a.arm ->> 'next')::integer as next_step_id,
        sum((a.arm ->> 'weight')::numeric) over way
        / sum((a.arm ->> 'weight')::numeric) over (
            partition by n.campaign_id, n.version, n.step_id
        ) as upto,
        (sum((a.arm ->> 'weight')::numeric) over way - (a.arm ->> 'weight')::numeric)
        / sum((a.arm ->> 'weight')::numeric) over (
            partition by n.campaign_id, n.version, n.step_id
        ) as above
    from (
        select distinct
            w.campaign_id,
            w.version,
            w.step_id
        from tick_work as w
        where w.status = 'active' and w.due_at <= %(at)s
    ) as d
    inner join mkt_engage.campaign_nodes as n
        on
            d.campaign_id = n.campaign_id
            and d.version = n.version
            and d.step_id = n.step_id
            and n.kind = 'split'
    inner join mkt_engage.campaign_steps as s on n.step_id = s.step_id
    cross join lateral jsonb_array_elements(n.params -> 'arms') with ordinality as a (arm, place)
    window way as (partition by n.campaign_id, n.version, n.step_id order by a.place)
),

moving as (
    select
        w.enrolment_id,
        w.step_id as from_step_id,
        a.step,
        a.arm,
        a.next_step_id,
        f.params
    from tick_work as w
    inner join arms as a
        on
            w.campaign_id = a.campaign_id
            and w.version = a.version
            and w.step_id = a.step_id
            and ('x' || substr(md5(a.salt || ':' || w.profile_id), 1, 8))::bit(32)::bigint
            / 4294967296.0 >= a.above
            and ('x' || substr(md5(a.salt || ':' || w.profile_id), 1, 8))::bit(32)::bigint
            / 4294967296.0 < a.upto
    left join mkt_engage.campaign_nodes as f
        on
            a.campaign_id = f.campaign_id
            and a.version = f.version
            and a.next_step_id = f.step_id
    where w.status = 'active' and w.due_at <= %(at)s
),

moved as (
    update tick_work as w
    set
        step_id = m.next_step_id,
        arms = w.arms || jsonb_build_object(m.step, m.arm),
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

insert into tick_path (enrolment_id, seq, from_step_id, to_step_id)
select
    m.enrolment_id,
    %(seq)s,
    m.from_step_id,
    m.next_step_id as to_step_id
from moved as m;
