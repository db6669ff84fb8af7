-- grain: the working tables, emptied    reads: nothing    params: none
-- rerun: the same
truncate tick_events, tick_candidates, tick_hits, tick_entered, tick_work, tick_path;
