-- grain: one goal or exit known already when somebody entered (it was learnt before the entry)
-- reads: tick_entered, mkt_engage.enrolments, mkt_core.events
-- rerun: once a transaction, into an empty table
-- params: watches (as in tick_hits_events), batch, at
-- Materialized: the few who have just entered come first, whatever the planner expects.
with entered as materialized (
    select
        n.enrolment_id,
        n.campaign_id,
        n.version,
        n.contact_id,
        n.entered_at,
        n.ctx
    from tick_entered as i
    inner join mkt_engage.enrolments as n on i.enrolment_id = n.enrolment_id
)

insert into tick_hits (enrolment_id, event_id, occurred_at, event_type, is_goal, is_exit)
select
    n.enrolment_id,
    e.event_id,
    e.occurred_at,
    e.event_type,
    w.is_goal,
    w.is_exit
from entered as n
inner join
    jsonb_to_recordset(%(watches)s)
        as w (
            campaign_id integer,
            version integer,
            event_type text,
            match text,
            is_goal boolean,
            is_exit boolean,
            seconds double precision
        )
    on n.campaign_id = w.campaign_id and n.version = w.version
inner join mkt_core.events as e
    on
        n.contact_id = e.contact_id
        and w.event_type = e.event_type
        and n.entered_at <= e.occurred_at
where
    e.occurred_at <= %(at)s
    and e.batch <= %(batch)s
    and not e.is_machine
    and e.event_id::text is distinct from n.ctx -> 'entry' ->> 'event_id'
    and (
        w.match is null
        or n.ctx -> 'entry' ->> w.match = case w.match
            when 'key' then e.key
            when 'order_id' then e.order_id::text
            when 'cart_id' then e.cart_id::text
            when 'product_id' then e.product_id::text
            else e.properties ->> w.match
        end
    )
    and (w.seconds is null or e.occurred_at <= n.entered_at + make_interval(secs => w.seconds));
