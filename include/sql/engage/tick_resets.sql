-- grain: one due wait whose `reset_on` event happened while it lasted: it counts from that event
-- reads: tick_work, mkt_engage.campaign_nodes, mkt_core.events    params: at, batch
-- rerun: the same due_at
update tick_work as w
set due_at = r.due_at, base_at = r.due_at, is_changed = true
from (
    select
        d.enrolment_id,
        max(e.occurred_at)
        + make_interval(secs => (n.params ->> 'seconds')::double precision) as due_at
    from tick_work as d
    inner join mkt_engage.campaign_nodes as n
        on d.campaign_id = n.campaign_id and d.version = n.version and d.step_id = n.step_id
    inner join mkt_core.events as e
        on
            d.contact_id = e.contact_id
            and n.params ->> 'reset_event' = e.event_type
            and e.occurred_at
            > d.due_at - make_interval(secs => (n.params ->> 'seconds')::double precision)
    where
        d.status = 'active'
        and d.due_at <= %(at)s
        and n.kind = 'wait'
        and n.params ? 'reset_event'
        and e.occurred_at <= %(at)s
        and e.batch <= %(batch)s
        and not e.is_machine
        and (
            n.params ->> 'reset_match' is null
            or d.ctx -> 'entry' ->> (n.params ->> 'reset_match') = case n.params ->> 'reset_match'
                when 'key' then e.key
                when 'order_id' then e.order_id::text
                when 'cart_id' then e.cart_id::text
                when 'product_id' then e.product_id::text
                else e.properties ->> (n.params ->> 'reset_match')
            end
        )
    group by d.enrolment_id, n.params
) as r
where w.enrolment_id = r.enrolment_id;
