-- grain: each contact's earliest candidate for each campaign, judged by re-entry and cool-down
-- reads: tick_candidates, mkt_engage.enrolments
-- rerun: rounds, until no candidate is left: a later one of the same contact sees the earlier
-- params: rules (jsonb: campaign_id, is_never, is_single, gap_seconds)
with firsts as (
    select
        t.ctid as row_id,
        t.campaign_id,
        t.contact_id,
        t.entered_at,
        row_number() over (
            partition by t.campaign_id, t.contact_id
            order by t.entered_at, t.entry_ref, t.profile_id
        ) as place
    from tick_candidates as t
),

judged as (
    select
        f.row_id,
        not exists (
            select 1 from mkt_engage.enrolments as n
            where
                n.contact_id = f.contact_id
                and n.campaign_id = f.campaign_id
                and (
                    r.is_never
                    or (r.is_single and n.status = 'active')
                    or (
                        r.gap_seconds is not null
                        and n.entered_at > f.entered_at - make_interval(secs => r.gap_seconds)
                        and n.entered_at < f.entered_at + make_interval(secs => r.gap_seconds)
                    )
                )
        ) as is_taken
    from firsts as f
    inner join jsonb_to_recordset(%(rules)s) as r (
        campaign_id integer, is_never boolean, is_single boolean, gap_seconds double precision
    ) on f.campaign_id = r.campaign_id
    where f.place = 1
),

refused as (
    delete from tick_candidates as t
    using judged as j
    where t.ctid = j.row_id and not j.is_taken
    returning t.campaign_id
),

taken as (
    update tick_candidates as t
    set is_taken = true
    from judged as j
    where t.ctid = j.row_id and j.is_taken
    returning t.campaign_id
)

select
    a.campaign_id,
    count(*) filter (where a.is_taken) as taken,
    count(*) as judged
from (
    select
        campaign_id,
        true as is_taken
    from taken
    union all
    select
        campaign_id,
        false as is_taken
    from refused
) as a
group by a.campaign_id;
