-- grain: one node at which somebody in the working table is due, or waits for an instant that is
--        not computed yet (kind `until`)
-- reads: tick_work, mkt_engage.campaign_nodes    params: at
-- rerun: reads only
select
    case when w.due_at = 'infinity' then 'until' else n.kind end as kind,
    w.campaign_id,
    w.version,
    w.step_id,
    count(*) as due,
    bool_or(n.params ? 'reset_event') as has_reset
from tick_work as w
inner join mkt_engage.campaign_nodes as n
    on
        w.campaign_id = n.campaign_id
        and w.version = n.version
        and w.step_id = n.step_id
where w.status = 'active' and (w.due_at <= %(at)s or w.due_at = 'infinity')
group by
    case when w.due_at = 'infinity' then 'until' else n.kind end,
    w.campaign_id,
    w.version,
    w.step_id;
