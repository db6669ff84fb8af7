-- grain: the working tables of one session's ticks
-- reads: nothing    writes: temporary tables only    params: none
-- rerun: does nothing where they exist
create temporary table if not exists tick_events (
    event_id uuid not null,
    occurred_at timestamptz not null,
    batch bigint not null,
    is_baseline boolean not null,
    profile_id bigint not null,
    contact_id bigint not null,
    shard smallint not null,
    event_type text not null,
    props jsonb not null
);
create temporary table if not exists tick_candidates (
    campaign_id integer not null,
    version integer not null,
    contact_id bigint not null,
    profile_id bigint not null,
    shard smallint not null,
    entry_ref text not null,
    entered_at timestamptz not null,
    entry jsonb not null,
    is_taken boolean not null default false
);
create temporary table if not exists tick_hits (
    enrolment_id bigint not null,
    event_id uuid not null,
    occurred_at timestamptz not null,
    event_type text not null,
    is_goal boolean not null,
    is_exit boolean not null
);
create temporary table if not exists tick_entered (enrolment_id bigint primary key);
create temporary table if not exists tick_work (
    enrolment_id bigint not null,
    campaign_id integer not null,
    version integer not null,
    contact_id bigint not null,
    profile_id bigint not null,
    shard smallint not null,
    entered_on date not null,
    step_id integer,
    visit integer not null,
    status text not null,
    exit_reason text,
    base_at timestamptz not null,
    due_at timestamptz,
    hold_since timestamptz,
    arms jsonb not null,
    ctx jsonb not null,
    is_changed boolean not null default false
);
create temporary table if not exists tick_path (
    enrolment_id bigint not null,
    seq integer not null,
    from_step_id integer,
    to_step_id integer,
    reason text,
    ref text
);
