-- grain: one worker at a time decides about a group of shards; held until the transaction ends
-- A statement of its own, so that the next one's snapshot sees what the holder committed.
-- params: name
-- rerun: waits again
select pg_advisory_xact_lock(hashtextextended(%(name)s, 0)) as is_locked
