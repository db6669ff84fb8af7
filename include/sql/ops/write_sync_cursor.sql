-- grain: one stream of one account        key: (account, stream)
-- reads: nothing        params: account, stream, cursor_at, page_state, sync_run_id, updated_at
-- rerun: the cursor never moves back
insert into mkt_ops.sync_cursors as kept (
    account,
    stream,
    cursor_at,
    page_state,
    sync_run_id,
    updated_at
)
values (
    %(account)s,
    %(stream)s,
    %(cursor_at)s,
    %(page_state)s,
    %(sync_run_id)s,
    %(updated_at)s
)
on conflict (account, stream) do update
    set
        cursor_at = greatest(kept.cursor_at, excluded.cursor_at),
        page_state = excluded.page_state,
        sync_run_id = excluded.sync_run_id,
        updated_at = excluded.updated_at
