-- grain: one candidate less: known already, repeated in this tick, or a contact that is gone
-- reads: tick_candidates, mkt_engage.enrolments, mkt_core.contacts    params: none needed
-- rerun: the same
delete from tick_candidates as c
using (
    select
        t.ctid as row_id,
        row_number() over (
            partition by t.campaign_id, t.profile_id, t.entry_ref
            order by t.entered_at, t.entry ->> 'event_id'
        ) as place,
        p.contact_id is null or p.is_deleted as is_gone,
        exists(
            select 1 from mkt_engage.enrolments as n
            where
                n.campaign_id = t.campaign_id
                and n.profile_id = t.profile_id
                and n.entry_ref = t.entry_ref
        ) as is_known
    from tick_candidates as t
    left join mkt_core.contacts as p on t.contact_id = p.contact_id
) as j
where c.ctid = j.row_id and (j.place > 1 or j.is_gone or j.is_known);
