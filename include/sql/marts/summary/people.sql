-- grain: one row
-- reads: core.contacts
-- rerun: reads only
-- params: none
select
    count(*) as contacts,
    count(*) filter (where c.lifecycle = 'customer') as customers,
    count(*) filter (where c.lifecycle = 'lead') as leads
from mkt_core.contacts as c
where not c.is_deleted
