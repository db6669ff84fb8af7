-- grain: one segment, day and member   reads: nothing   rerun: deletes nothing twice
-- params: day, segments
delete from mkt_engage.segment_history
where date = %(day)s and segment = any(%(segments)s::text[])
