-- grain: one segment whose file is gone   key: (segment)   reads: engage.segments
-- rerun: marks nothing twice   params: at, segments (every file there is, usable or not)
update mkt_engage.segments
set retired_at = %(at)s
where retired_at is null and not segment = any(%(segments)s::text[])
returning segment
