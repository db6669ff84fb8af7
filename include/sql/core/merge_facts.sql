-- grain: one fact of an identity that moved
-- reads: unify_group        params: batch, timezone
-- writes: contact_id (and shard) of mkt_core.{contact_identities,events,orders,carts,deals,
--   deal_stage_events,list_members,consents}, mkt_engage.{enrolments,sends}; mkt_ops.dirty_days
-- rerun: changes nothing
-- profile_id never changes; a fact's batch stays, so that a move enrols nobody.

with moves as materialized (
    select
        profile_id,
        old_contact_id,
        label
    from unify_group
    where label <> old_contact_id
),

identities as (
    update mkt_core.contact_identities as held
    set contact_id = moves.label, batch = %(batch)s::bigint
    from moves
    where held.profile_id = moves.profile_id
),

events as (
    update mkt_core.events as held
    set contact_id = moves.label
    from moves
    where held.contact_id = moves.old_contact_id and held.profile_id = moves.profile_id
    returning
        held.occurred_at,
        case
            when
                held.event_type in ('order_placed', 'order_cancelled', 'order_refunded')
                then 'orders'
            when held.event_type = 'cart_updated' then 'carts'
            when held.event_type in ('subscribed', 'unsubscribed') then 'consents'
            when held.event_type like 'deal%%' then 'deals'
            else 'email'
        end as kpi_group
),

orders as (
    update mkt_core.orders as held
    set contact_id = moves.label
    from moves
    where held.contact_id = moves.old_contact_id and held.profile_id = moves.profile_id
    returning held.placed_at
),

carts as (
    update mkt_core.carts as held
    set contact_id = moves.label
    from moves
    where held.contact_id = moves.old_contact_id and held.profile_id = moves.profile_id
    returning held.created_at
),

deals as (
    update mkt_core.deals as held
    set contact_id = moves.label
    from moves
    where held.contact_id = moves.old_contact_id and held.profile_id = moves.profile_id
),

deal_stage_events as (
    update mkt_core.deal_stage_events as held
    set contact_id = moves.label
    from moves
    where held.contact_id = moves.old_contact_id and held.profile_id = moves.profile_id
),

list_members as (
    update mkt_core.list_members as held
    set contact_id = moves.label
    from moves
    where held.contact_id = moves.old_contact_id and held.profile_id = moves.profile_id
),

consents as (
    update mkt_core.consents as held
    set contact_id = moves.label
    from moves
    where held.contact_id = moves.old_contact_id and held.profile_id = moves.profile_id
    returning held.changed_at
),

sends as (
    update mkt_engage.sends as held
    set contact_id = moves.label, shard = mod(moves.label, 64)::smallint
    from moves
    inner join mkt_engage.enrolments as enrolments
        on
            moves.profile_id = enrolments.profile_id
            and moves.old_contact_id = enrolments.contact_id
    where
        held.contact_id = moves.old_contact_id
        and held.entered_on = enrolments.entered_on
        and held.enrolment_id = enrolments.enrolment_id
),

enrolments as (
    update mkt_engage.enrolments as held
    set contact_id = moves.label, shard = mod(moves.label, 64)::smallint
    from moves
    where held.contact_id = moves.old_contact_id and held.profile_id = moves.profile_id
)

insert into mkt_ops.dirty_days (kpi_group, date, batch)
select distinct
    kpi_group,
    (occurred_at at time zone %(timezone)s)::date,
    %(batch)s::bigint
from (
    select
        kpi_group,
        occurred_at
    from events
    union all
    select
        'orders' as kpi_group,
        placed_at as occurred_at
    from orders
    union all
    select
        'carts' as kpi_group,
        created_at as occurred_at
    from carts
    union all
    select
        'consents' as kpi_group,
        changed_at as occurred_at
    from consents
) as moments
on conflict (kpi_group, date) do update set batch = excluded.batch;
