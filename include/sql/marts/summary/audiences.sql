-- grain: one segment                                                key: segment
-- reads: engage.segments
-- rerun: reads only
-- params: none
select
    s.segment,
    s.members
from mkt_engage.segments as s
order by s.members desc, s.segment asc
