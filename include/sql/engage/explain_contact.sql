-- grain: one movement of one contact through a campaign, oldest first
-- reads: mkt_engage.{enrolments, enrolment_log, campaigns, campaign_steps, sends}
-- rerun: reads only    params: contact_id
select
    l.at,
    c.campaign,
    e.version,
    l.reason,
    f.step as from_step,
    t.step as to_step,
    l.ref,
    s.status as send_status
from mkt_engage.enrolments as e
inner join mkt_engage.enrolment_log as l on e.enrolment_id = l.enrolment_id
inner join mkt_engage.campaigns as c on e.campaign_id = c.campaign_id
left join mkt_engage.campaign_steps as f on l.from_step_id = f.step_id
left join mkt_engage.campaign_steps as t on l.to_step_id = t.step_id
left join mkt_engage.sends as s
    on
        e.entered_on = s.entered_on
        and e.enrolment_id = s.enrolment_id
        and l.from_step_id = s.step_id
        and l.reason = 'claimed'
        and l.ref = s.send_id::text
where e.contact_id = %(contact_id)s
order by
    l.at, l.enrolment_id, l.tick_id, (l.reason not in ('entered', 'holdout'))::integer, s.send_id;
