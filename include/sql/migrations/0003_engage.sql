-- Audiences, campaigns and the send ledger.

-- grain: one segment file as last evaluated
create table mkt_engage.segments (
    segment text primary key,
    definition_hash text not null,
    definition jsonb not null,
    first_evaluated_at timestamptz not null,
    last_evaluated_at timestamptz not null,
    last_batch bigint not null,
    members bigint not null default 0
);

-- grain: one stay of one contact in one segment, as it was lived; never rewritten
create table mkt_engage.segment_memberships (
    segment text not null,
    contact_id bigint not null,
    entered_at timestamptz not null,
    left_at timestamptz,
    definition_hash text not null,
    is_baseline boolean not null,
    primary key (segment, contact_id, entered_at)
);
create unique index on mkt_engage.segment_memberships (segment, contact_id) where left_at is null;
create index on mkt_engage.segment_memberships (segment, entered_at);
create index on mkt_engage.segment_memberships (contact_id);

comment on column mkt_engage.segment_memberships.is_baseline is
'entered by a first computation, an edited definition, an initial load or a merge: enrols nobody';

-- grain: one segment, day and member, recomputed as of the end of the day
create table mkt_engage.segment_history (
    segment text not null,
    date date not null,
    contact_id bigint not null,
    definition_hash text not null,
    primary key (segment, date, contact_id)
);

create table mkt_engage.campaigns (
    campaign_id integer generated always as identity primary key,
    campaign text not null unique,
    brand text not null,
    state text not null default 'draft' check (state in ('draft', 'live', 'paused', 'stopped')),
    live_version integer,
    state_changed_at timestamptz not null,
    state_changed_by text not null,
    seen_batch bigint not null default 0,
    seen_at timestamptz
);
comment on column mkt_engage.campaigns.seen_batch is
'entries were taken from batches up to this one';
comment on column mkt_engage.campaigns.seen_at is
'entries by segment and schedule were taken up to this instant';

-- grain: one content hash that went live
create table mkt_engage.campaign_versions (
    campaign_id integer not null references mkt_engage.campaigns,
    version integer not null,
    definition_hash text not null,
    definition jsonb not null,
    content jsonb not null,
    created_at timestamptz not null,
    created_by text not null,
    primary key (campaign_id, version),
    unique (campaign_id, definition_hash)
);

-- grain: one named step; interned once, so that a step keeps its id across versions
create table mkt_engage.campaign_steps (
    step_id integer generated always as identity primary key,
    campaign_id integer not null references mkt_engage.campaigns,
    step text not null,
    unique (campaign_id, step)
);

-- grain: one node of one version's compiled plan, what the tick's statements join
create table mkt_engage.campaign_nodes (
    campaign_id integer not null,
    version integer not null,
    step_id integer not null,
    is_entry boolean not null default false,
    kind text not null,
    next_step_id integer,
    params jsonb not null default '{}',
    primary key (campaign_id, version, step_id)
);

-- grain: one contact's way through one campaign
create table mkt_engage.enrolments (
    enrolment_id bigint generated always as identity primary key,
    campaign_id integer not null,
    version integer not null,
    contact_id bigint not null,
    profile_id bigint not null,
    shard smallint not null,
    entry_ref text not null,
    entered_at timestamptz not null,
    entered_on date not null,
    step_id integer,
    visit integer not null default 1,
    status text not null check (status in ('active', 'finished', 'exited', 'holdout')),
    exit_reason text,
    converted_at timestamptz,
    due_at timestamptz,
    hold_since timestamptz,
    arms jsonb not null default '{}',
    ctx jsonb not null default '{}',
    updated_at timestamptz not null,
    unique (campaign_id, profile_id, entry_ref)
) with (fillfactor = 85, autovacuum_vacuum_scale_factor = 0.02);
create index on mkt_engage.enrolments (shard, due_at) where status = 'active';
create index on mkt_engage.enrolments (contact_id);

comment on column mkt_engage.enrolments.due_at is 'when step_id is acted on';
comment on column mkt_engage.enrolments.hold_since is
'first instant a cap, quiet hours or stale data moved due_at; give_up counts from here';

-- grain: one decision to send, unique by (enrolment, step, visit); claimed before the call
-- send_id starts with the month it was entered in (yyyymm * 10^12 + n), so that look-ups prune
create sequence mkt_engage.send_numbers;
create table mkt_engage.sends (
    send_id bigint not null,
    entered_on date not null,
    enrolment_id bigint not null,
    step_id integer not null,
    visit integer not null,
    campaign_id integer not null,
    version integer not null,
    contact_id bigint not null,
    shard smallint not null,
    brand text not null,
    channel text not null,
    via text not null,
    status text not null check (status in (
        'claimed', 'in_flight', 'accepted', 'rejected', 'unknown', 'cancelled', 'skipped'
    )),
    reason text,
    due_at timestamptz not null,
    claimed_at timestamptz,
    in_flight_at timestamptz,
    lease_until timestamptz,
    attempts integer not null default 0,
    outcome_at timestamptz,
    provider_id text,
    content_hash text,
    tick_id bigint not null,
    ctx jsonb not null default '{}',
    primary key (send_id, entered_on),
    unique (entered_on, enrolment_id, step_id, visit)
) partition by range (entered_on);
create index on mkt_engage.sends (contact_id, channel, claimed_at);
create index on mkt_engage.sends (via, due_at) where status = 'claimed';
create index on mkt_engage.sends (lease_until) where status = 'in_flight';
create index on mkt_engage.sends (campaign_id, due_at);

create table mkt_engage.suppressions (
    suppression_id bigint generated always as identity primary key,
    contact_id bigint,
    address_hash text,
    brand text,
    channel text not null,
    reason text not null check (reason in (
        'unsubscribed', 'hard_bounce', 'complaint', 'manual', 'erased'
    )),
    source text not null,
    since timestamptz not null,
    lifted_at timestamptz
);
create unique index on mkt_engage.suppressions
(contact_id, coalesce(brand, ''), channel, reason) where lifted_at is null;
create index on mkt_engage.suppressions (address_hash) where lifted_at is null;

comment on column mkt_engage.suppressions.brand is 'null = every brand (hard bounce, complaint)';
comment on column mkt_engage.suppressions.address_hash is
'sha256 of the lower-cased address, so that it outlives an erasure';

-- grain: one movement of one enrolment; instant steps are folded into the movement
create table mkt_engage.enrolment_log (
    enrolment_id bigint not null,
    tick_id bigint not null,
    from_step_id integer,
    to_step_id integer,
    reason text not null,
    ref text,
    at timestamptz not null
) partition by range (at);
create index on mkt_engage.enrolment_log (enrolment_id);
