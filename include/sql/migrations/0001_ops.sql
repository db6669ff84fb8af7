-- Books, cursors, batches, ticks, the inbox and the journal of the product itself.
create schema if not exists mkt_raw;
create schema if not exists mkt_staging;
create schema if not exists mkt_core;
create schema if not exists mkt_engage;
create schema if not exists mkt_marts;

-- grain: one run of one stream of one account
create table mkt_ops.sync_runs (
    sync_run_id bigint generated always as identity primary key,
    account text not null,
    system text not null,
    stream text not null,
    kind text not null
    check (kind in ('initial', 'incremental', 'backfill', 'full_refresh', 'replay')),
    is_baseline boolean not null,
    window_start timestamptz,
    window_end timestamptz,
    status text not null check (status in ('running', 'success', 'failed', 'postponed')),
    started_at timestamptz not null,
    finished_at timestamptz,
    fetched bigint not null default 0,
    inserted bigint not null default 0,
    updated bigint not null default 0,
    unchanged bigint not null default 0,
    duplicates bigint not null default 0,
    stale bigint not null default 0,
    rejected bigint not null default 0,
    tombstoned bigint not null default 0,
    source_count bigint,
    pages bigint not null default 0,
    error text,
    unified_batch bigint
);
create index on mkt_ops.sync_runs (account, stream, started_at);
create index on mkt_ops.sync_runs (sync_run_id) where unified_batch is null;

comment on column mkt_ops.sync_runs.is_baseline is
'its facts enrol nobody: initial load, backfill or refresh';
comment on column mkt_ops.sync_runs.unified_batch is
'the batch in which unify took its rows over; null until then';

create table mkt_ops.sync_cursors (
    account text not null,
    stream text not null,
    cursor_at timestamptz,
    page_state jsonb,
    sync_run_id bigint not null,
    updated_at timestamptz not null,
    primary key (account, stream)
);

create table mkt_ops.account_state (
    account text primary key,
    blocked_until timestamptz,
    reason text,
    updated_at timestamptz not null
);

create table mkt_ops.rejected_records (
    rejected_id bigint generated always as identity primary key,
    account text not null,
    stream text not null,
    sync_run_id bigint not null,
    record_id text,
    reason text not null,
    payload bytea not null,
    rejected_at timestamptz not null,
    replayed_at timestamptz
);
create index on mkt_ops.rejected_records (account, stream) where replayed_at is null;

-- grain: one committed batch of facts; numbers commit in their order (one advisory lock)
create table mkt_ops.batches (
    batch bigint primary key,
    kind text not null,
    is_baseline boolean not null,
    closed_at timestamptz not null
);
create index on mkt_ops.batches (closed_at);

-- grain: one tick of the campaign engine; a replay reuses these
create table mkt_ops.ticks (
    tick_id bigint generated always as identity primary key,
    tick_at timestamptz not null,
    batch bigint not null,
    definitions_hash text not null,
    counts jsonb not null default '{}'
);
create index on mkt_ops.ticks (tick_at);

create table mkt_ops.webhook_inbox (
    inbox_id bigint generated always as identity primary key,
    source text not null,
    account text not null,
    topic text not null,
    delivery_id text not null,
    received_at timestamptz not null,
    headers jsonb not null default '{}',
    body bytea not null,
    processed_at timestamptz,
    batch bigint,
    error text,
    unique (source, account, delivery_id)
);
create index on mkt_ops.webhook_inbox (inbox_id) where processed_at is null;

-- grain: one KPI group and day that has to be recomputed
create table mkt_ops.dirty_days (
    kpi_group text not null,
    date date not null,
    batch bigint not null,
    primary key (kpi_group, date)
);

create table mkt_ops.check_results (
    check_name text not null,
    checked_at timestamptz not null,
    is_ok boolean not null,
    failing_rows bigint not null,
    details jsonb not null default '{}',
    primary key (check_name, checked_at)
);

-- grain: one cause; opened once, closed when the cause is gone
create table mkt_ops.incidents (
    incident_id bigint generated always as identity primary key,
    cause text not null,
    opened_at timestamptz not null,
    closed_at timestamptz,
    last_seen_at timestamptz not null,
    times_seen bigint not null default 1,
    details jsonb not null default '{}'
);
create unique index on mkt_ops.incidents (cause) where closed_at is null;

create table mkt_ops.audit_log (
    audit_id bigint generated always as identity primary key,
    at timestamptz not null,
    actor text not null,
    action text not null,
    subject text not null,
    details jsonb not null default '{}'
);

-- grain: one scope ('all' or a brand). Read in every claimed batch.
create table mkt_ops.stop_switch (
    scope text primary key,
    is_stopped boolean not null,
    actor text not null,
    reason text not null default '',
    changed_at timestamptz not null
);

-- grain: one account that can reach people; raised only by `marketing-ops apply`
create table mkt_ops.sending_modes (
    account text primary key,
    mode text not null check (mode in ('off', 'allow_list', 'live')),
    allow_list text[] not null default '{}',
    actor text not null,
    changed_at timestamptz not null
);
