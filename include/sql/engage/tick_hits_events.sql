-- grain: one goal or exit that a newly visible event is for one enrolment
-- reads: tick_events, mkt_engage.enrolments
-- rerun: once a transaction, into an empty table
-- params: watches (jsonb: campaign_id, version, event_type, match, is_goal, is_exit, seconds)
insert into tick_hits (enrolment_id, event_id, occurred_at, event_type, is_goal, is_exit)
select
    n.enrolment_id,
    e.event_id,
    e.occurred_at,
    e.event_type,
    w.is_goal,
    w.is_exit
from tick_events as e
inner join mkt_engage.enrolments as n on e.contact_id = n.contact_id
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
    on
        n.campaign_id = w.campaign_id and n.version = w.version
        and e.event_type = w.event_type
where
    e.occurred_at >= n.entered_at
    and e.event_id::text is distinct from n.ctx -> 'entry' ->> 'event_id'
    and (w.match is null or e.props ->> w.match = n.ctx -> 'entry' ->> w.match)
    and (
        (w.is_goal and n.converted_at is null)
        or (w.is_exit and n.status = 'active')
    )
    and (w.seconds is null or e.occurred_at <= n.entered_at + make_interval(secs => w.seconds));
