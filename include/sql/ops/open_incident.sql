-- grain: one open cause; the second failure of a cause is counted, not opened again
-- reads: mkt_ops.incidents    params: cause, subject, details, at
-- rerun: counts once more
insert into mkt_ops.incidents as open_one (cause, opened_at, last_seen_at, details)
values (
    %(cause)s,
    %(at)s,
    %(at)s,
    %(details)s::jsonb || jsonb_build_object('subjects', jsonb_build_array(%(subject)s::text))
)
on conflict (cause) where closed_at is null do update
    set
        last_seen_at = greatest(open_one.last_seen_at, excluded.last_seen_at),
        times_seen = open_one.times_seen + 1,
        details = jsonb_set(
            open_one.details,
            '{subjects}',
            (coalesce(open_one.details -> 'subjects', '[]') - %(subject)s::text)
            || (excluded.details -> 'subjects')
        )
returning incident_id, times_seen
