-- grain: one enrolment that a merge made double        key: enrolment_id
-- reads: unify_group        params: now
-- writes: mkt_engage.{enrolments,sends,enrolment_log}
-- rerun: changes nothing
-- Of two live ways through one campaign for the same cause the younger ends; what it had claimed
-- but not handed over is not sent.

with doubles as (
    select
        held.enrolment_id,
        row_number() over (
            partition by held.campaign_id, held.contact_id, held.entry_ref
            order by held.entered_at, held.enrolment_id
        ) > 1 as is_double
    from mkt_engage.enrolments as held
    where
        held.status = 'active'
        and held.contact_id in (select label from unify_group where label <> old_contact_id)
),

ended as (
    update mkt_engage.enrolments as held
    set
        status = 'exited',
        exit_reason = 'merged',
        due_at = null,
        hold_since = null,
        updated_at = %(now)s::timestamptz
    from doubles
    where doubles.is_double and held.enrolment_id = doubles.enrolment_id
    returning held.enrolment_id, held.entered_on, held.step_id
),

cancelled as (
    update mkt_engage.sends as held
    set status = 'cancelled', reason = 'merged', outcome_at = %(now)s::timestamptz
    from ended
    where
        held.entered_on = ended.entered_on
        and held.enrolment_id = ended.enrolment_id
        and held.status = 'claimed'
)

-- tick 0: no tick moved it
insert into mkt_engage.enrolment_log (
    enrolment_id, tick_id, from_step_id, to_step_id, reason, at
)
select
    enrolment_id,
    0 as tick_id,
    step_id,
    null as to_step_id,
    'merged' as reason,
    %(now)s::timestamptz
from ended;
