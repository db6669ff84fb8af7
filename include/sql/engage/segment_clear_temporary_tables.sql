-- grain: see segment_temporary_tables   reads: nothing   rerun: empties them again
truncate pg_temp.segment_touched, pg_temp.segment_hits, pg_temp.segment_heard,
pg_temp.segment_current
