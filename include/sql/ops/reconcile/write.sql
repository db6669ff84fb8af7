-- grain: one comparison        key: sync_run_id
-- reads: nothing        params: the columns
-- writes: mkt_ops.reconciliations
-- rerun: the same row
insert into mkt_ops.reconciliations (
    sync_run_id,
    account,
    stream,
    compared_at,
    source_count,
    stored_count,
    missing,
    outdated,
    gone,
    repaired,
    unrepaired
)
values (
    %(sync_run_id)s,
    %(account)s,
    %(stream)s,
    %(compared_at)s,
    %(source_count)s,
    %(stored_count)s,
    %(missing)s,
    %(outdated)s,
    %(gone)s,
    %(repaired)s,
    %(unrepaired)s
)
on conflict (sync_run_id) do nothing
