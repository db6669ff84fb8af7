-- grain: one new event by which a contact may enter one campaign
-- reads: tick_events
-- params: campaign_id, version, event_type, key (or null), is_keyed, started_at, started_batch,
--         marks (jsonb: shard, lower_batch, lower_at), and those of `where`
-- rerun: an event older than the mark is never looked at again
-- The condition between the marks is replaced by the compiled `where` of the entry.
insert into tick_candidates (
    campaign_id, version, contact_id, profile_id, shard, entry_ref, entered_at, entry
)
select
    %(campaign_id)s,
    %(version)s,
    d.contact_id,
    d.profile_id,
    d.shard,
    case when %(is_keyed)s then d.props ->> %(key)s else d.event_id::text end as entry_ref,
    d.occurred_at as entered_at,
    d.props || jsonb_build_object('event', d.event_type, 'event_id', d.event_id) as entry
from tick_events as d
inner join
    jsonb_to_recordset(%(marks)s) as m (
        shard smallint, lower_batch bigint, lower_at timestamptz
    )
    on d.shard = m.shard
where
    d.event_type = %(event_type)s
    and not d.is_baseline
    and d.batch > %(started_batch)s
    and d.occurred_at > %(started_at)s
    and (d.batch > m.lower_batch or d.occurred_at > m.lower_at)
    and (%(key)s::text is null or d.props ? %(key)s)
    and /* rule */ true; /* end */
