-- grain: one raw row that the batch takes over        key: (entity, account, external_id)
-- reads: nothing
-- rerun: made once a session, empty at the start of each transaction
-- Never analysed for a small batch: the planner then takes it for a handful of rows, which it is.

create temporary table if not exists unify_changed (
    entity text not null,
    account text not null,
    external_id text not null
) on commit delete rows;
