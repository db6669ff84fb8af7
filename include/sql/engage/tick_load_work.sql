-- grain: one enrolment of a live campaign that is due, or came to a wait whose end is unknown yet
-- reads: mkt_engage.enrolments, tick_entered    params: shards, campaigns (live ones), at
-- rerun: once a transaction, into an empty table
insert into tick_work (
    enrolment_id, campaign_id, version, contact_id, profile_id, shard, entered_on, step_id,
    visit, status, base_at, due_at, hold_since, arms, ctx
)
select
    n.enrolment_id,
    n.campaign_id,
    n.version,
    n.contact_id,
    n.profile_id,
    n.shard,
    n.entered_on,
    n.step_id,
    n.visit,
    n.status,
    n.due_at as base_at,
    n.due_at,
    n.hold_since,
    n.arms,
    n.ctx
from mkt_engage.enrolments as n
where
    n.shard = any(%(shards)s)
    and n.status = 'active'
    and n.due_at <= %(at)s
    and n.campaign_id = any(%(campaigns)s)
union all
select
    n.enrolment_id,
    n.campaign_id,
    n.version,
    n.contact_id,
    n.profile_id,
    n.shard,
    n.entered_on,
    n.step_id,
    n.visit,
    n.status,
    n.entered_at as base_at,
    n.due_at,
    n.hold_since,
    n.arms,
    n.ctx
from tick_entered as i
inner join mkt_engage.enrolments as n on i.enrolment_id = n.enrolment_id
where n.status = 'active' and n.due_at = 'infinity';
