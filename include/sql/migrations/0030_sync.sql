-- What the workers of one account share, what reconciliation found, and how a source's shape moves.

-- grain: one bucket of one account's calls; unlogged: after a crash the pace starts anew
create unlogged table mkt_ops.account_pace (
    account text not null,
    bucket text not null,
    full_at timestamptz not null,
    primary key (account, bucket)
);

-- grain: one account; its OAuth2 token, sealed with its connection's own secret
create table mkt_ops.account_tokens (
    account text primary key,
    sealed bytea not null,
    updated_at timestamptz not null
);

alter table mkt_ops.sync_runs drop constraint sync_runs_kind_check;
alter table mkt_ops.sync_runs add constraint sync_runs_kind_check
check (
    kind in ('initial', 'incremental', 'backfill', 'full_refresh', 'replay', 'reconcile')
);

-- grain: one comparison of one stream with its source
create table mkt_ops.reconciliations (
    sync_run_id bigint primary key,
    account text not null,
    stream text not null,
    compared_at timestamptz not null,
    source_count bigint not null,
    stored_count bigint not null,
    missing bigint not null,
    outdated bigint not null,
    gone bigint not null,
    repaired bigint not null,
    unrepaired bigint not null
);
create index on mkt_ops.reconciliations (account, stream, compared_at);
comment on table mkt_ops.reconciliations is
'missing: at the source and not here; outdated: newer there; gone: here and not there';

-- grain: one field of one stream that is not as it was declared
create table mkt_ops.stream_fields (
    account text not null,
    stream text not null,
    field text not null,
    change text not null check (change in ('new', 'retyped', 'vanished')),
    first_seen_at timestamptz not null,
    last_seen_at timestamptz not null,
    sync_run_id bigint not null,
    records bigint not null,
    fetched bigint not null,
    primary key (account, stream, field, change)
);
comment on column mkt_ops.stream_fields.records is
'in the last run that saw it: how many of the fetched records';
