-- Whether Postgres crashed since a chunk of sends was taken.

-- grain: one row, or none. An unlogged table is emptied by every crash recovery and failover, and
-- survives a clean stop: while the row stands, no commit since `since` was lost, also none made
-- with synchronous_commit off. Delivery relies on it to tell a send that was taken but never
-- called (safe to retake) from one whose mark of the call was lost (unknown).
create unlogged table mkt_ops.crash_witness (
    witness_id smallint primary key check (witness_id = 1),
    since timestamptz not null
);

comment on column mkt_engage.sends.called_at is
'set just before the call, without waiting for the disk: see mkt_ops.crash_witness';
