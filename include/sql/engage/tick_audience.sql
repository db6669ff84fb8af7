-- grain: one candidate of one campaign less: not in its audience at this instant
-- reads: tick_candidates, what the rule reads    params: campaign_id, and those of the rule
-- rerun: the same. The condition between the marks is replaced by the compiled rule.
with tick_scope as materialized (
    select distinct c.contact_id
    from tick_candidates as c
    where c.campaign_id = %(campaign_id)s
)

delete from tick_candidates as d
where
    d.campaign_id = %(campaign_id)s
    and not coalesce(
        /* rule */ d.contact_id in (select s.contact_id from tick_scope as s) /* end */,
        false
    );
