-- The sales pipeline, lists, and records that a vendor merged.
-- Ids of other records of the vendor (owner, company, stage, list) are text as the vendor writes
-- them: join on account and external_id. Nothing waits for what they name.

-- A vendor's own merge joins for good: its key is no address, so no bound applies to it.
alter table mkt_core.identity_keys drop constraint identity_keys_kind_check;
alter table mkt_core.identity_keys add constraint identity_keys_kind_check
check (kind in ('email', 'phone', 'record'));

-- grain: one company of one account
create table mkt_core.companies (
    company_id bigint generated always as identity primary key,
    system text not null,
    account text not null,
    external_id text not null,
    name text,
    domain text,
    industry text,
    country text,
    city text,
    employees bigint,
    revenue numeric,
    owner_id text,
    attributes jsonb not null default '{}',
    created_at timestamptz,
    updated_at timestamptz,
    is_deleted boolean not null default false,
    batch bigint not null,
    unique (account, external_id)
);

-- grain: one person of the sales team
create table mkt_core.owners (
    account text not null,
    external_id text not null,
    system text not null,
    email text,
    first_name text,
    last_name text,
    team text,
    is_active boolean not null default true,
    is_deleted boolean not null default false,
    batch bigint not null,
    primary key (account, external_id)
);

-- grain: one stage of one pipeline
create table mkt_core.pipeline_stages (
    account text not null,
    external_id text not null,
    system text not null,
    pipeline_id text,
    pipeline text,
    name text,
    position bigint,
    probability numeric,
    is_closed boolean not null default false,
    is_won boolean not null default false,
    is_deleted boolean not null default false,
    batch bigint not null,
    primary key (account, external_id)
);

-- grain: one deal as it is now
create table mkt_core.deals (
    deal_id bigint generated always as identity primary key,
    system text not null,
    account text not null,
    brand text not null,
    external_id text not null,
    profile_id bigint,
    contact_id bigint,
    company_id text,
    owner_id text,
    name text,
    pipeline_id text,
    stage_id text,
    status text not null check (status in ('open', 'won', 'lost')),
    amount numeric,
    currency text,
    lost_reason text,
    created_at timestamptz,
    closed_at timestamptz,
    decided_at timestamptz,
    updated_at timestamptz,
    is_deleted boolean not null default false,
    batch bigint not null,
    unique (account, external_id)
);
create index on mkt_core.deals (contact_id);
create index on mkt_core.deals (account, stage_id);
create index on mkt_core.deals (account, company_id);
create index on mkt_core.deals (created_at);
comment on column mkt_core.deals.contact_id is 'its primary contact';
comment on column mkt_core.deals.closed_at is
'as the vendor says it: of an open deal when somebody expects it to close';
comment on column mkt_core.deals.decided_at is
'when it entered the stage that won or lost it; null while it is open';

-- grain: one entry of one deal into one stage
create table mkt_core.deal_stage_events (
    account text not null,
    external_id text not null,
    system text not null,
    deal_id bigint not null,
    profile_id bigint,
    contact_id bigint,
    company_id text,
    stage_id text not null,
    from_stage_id text,
    entered_at timestamptz not null,
    batch bigint not null,
    primary key (account, external_id)
);
create index on mkt_core.deal_stage_events (deal_id);
create index on mkt_core.deal_stage_events (contact_id);
create index on mkt_core.deal_stage_events (entered_at);

-- grain: one list, audience, segment or tag of a vendor
create table mkt_core.lists (
    account text not null,
    external_id text not null,
    system text not null,
    name text,
    kind text,
    size bigint,
    updated_at timestamptz,
    is_deleted boolean not null default false,
    batch bigint not null,
    primary key (account, external_id)
);
comment on column mkt_core.lists.size is 'members as the vendor counts them';

-- grain: one identity on one list; its last stay
create table mkt_core.list_members (
    account text not null,
    external_id text not null,
    system text not null,
    list_id text not null,
    profile_id bigint not null,
    contact_id bigint not null,
    added_at timestamptz not null,
    left_at timestamptz,
    is_deleted boolean not null default false,
    batch bigint not null,
    primary key (account, external_id)
);
create index on mkt_core.list_members (contact_id);
create index on mkt_core.list_members (account, list_id);
comment on column mkt_core.list_members.added_at is
'as the vendor says it, else when we first saw it there';
