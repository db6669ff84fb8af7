-- grain: one segment, day and member   key: (segment, date, contact_id)
-- reads: pg_temp.segment_hits
-- rerun: replaces the day, whose rows the same transaction deleted
-- params: day, segments and definition_hashes (pairs)
insert into mkt_engage.segment_history (segment, date, contact_id, definition_hash)
select
    h.segment,
    %(day)s as date,
    h.contact_id,
    d.definition_hash
from unnest(%(segments)s::text[], %(definition_hashes)s::text[]) as d (segment, definition_hash)
inner join pg_temp.segment_hits as h on d.segment = h.segment
