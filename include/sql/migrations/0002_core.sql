-- The customer record and what happened: one contact, many identities, append-only facts.

-- grain: one identity as a source shows it; facts keep its profile_id for ever
create table mkt_core.contact_identities (
    profile_id bigint generated always as identity primary key,
    system text not null,
    account text not null,
    external_id text not null,
    contact_id bigint not null,
    email text,
    is_email_verified boolean not null default false,
    phone text,
    first_seen_at timestamptz not null,
    is_deleted boolean not null default false,
    batch bigint not null,
    unique (system, account, external_id)
);
create index on mkt_core.contact_identities (contact_id);
create index on mkt_core.contact_identities (email);
create index on mkt_core.contact_identities (phone) where phone is not null;

-- grain: one person as known now. contact_id is the smallest profile_id of its identities.
create table mkt_core.contacts (
    contact_id bigint primary key,
    email text,
    phone text,
    first_name text,
    last_name text,
    country text,
    region text,
    city text,
    postal_code text,
    language text,
    time_zone text,
    birth_date date,
    lifecycle text not null default 'lead' check (lifecycle in ('lead', 'customer')),
    created_at timestamptz not null,
    attributes jsonb not null default '{}',
    is_deleted boolean not null default false,
    batch bigint not null
);
create index on mkt_core.contacts (email);
create index on mkt_core.contacts (batch);

comment on column mkt_core.contacts.time_zone is
'a zone Postgres knows, else null: the country''s, then the reporting zone apply';

create table mkt_core.contact_merges (
    merge_id bigint generated always as identity primary key,
    from_contact_id bigint not null,
    into_contact_id bigint not null,
    matched_on text not null,
    batch bigint not null,
    merged_at timestamptz not null,
    undone_batch bigint
);
create index on mkt_core.contact_merges (into_contact_id);

-- grain: one observed version of a contact's attributes; append-only, read the latest
create table mkt_core.contact_history (
    contact_id bigint not null,
    valid_from timestamptz not null,
    batch bigint not null,
    row_hash text not null,
    is_assumed boolean not null,
    country text,
    region text,
    city text,
    postal_code text,
    language text,
    time_zone text,
    birth_date date,
    lifecycle text not null,
    attributes jsonb not null default '{}',
    is_deleted boolean not null default false,
    primary key (contact_id, valid_from, batch)
);

comment on column mkt_core.contact_history.is_assumed is
'true for the first observation: it is taken to hold before valid_from too';

-- grain: one change of consent; append-only. No row = not granted.
create table mkt_core.consents (
    profile_id bigint not null,
    contact_id bigint not null,
    brand text not null,
    channel text not null,
    topic text not null default 'marketing',
    status text not null check (status in ('granted', 'pending', 'denied')),
    legal_basis text,
    changed_at timestamptz not null,
    source text not null,
    batch bigint not null,
    primary key (profile_id, brand, channel, topic, changed_at, source)
);
create index on mkt_core.consents (contact_id);
create index on mkt_core.consents (batch);

-- grain: one contact, brand, channel and topic; kept by unify for the gate (refusal wins a tie)
create table mkt_core.consent_now (
    contact_id bigint not null,
    brand text not null,
    channel text not null,
    topic text not null,
    status text not null,
    changed_at timestamptz not null,
    primary key (contact_id, brand, channel, topic)
);

create table mkt_core.products (
    product_id bigint generated always as identity primary key,
    system text not null,
    account text not null,
    external_id text not null,
    sku text,
    title text,
    category text,
    vendor text,
    price numeric,
    currency text,
    stock bigint,
    image_url text,
    url text,
    is_deleted boolean not null default false,
    updated_at timestamptz,
    batch bigint not null,
    unique (account, external_id)
);
create index on mkt_core.products (category);

-- grain: one order of one shop account
create table mkt_core.orders (
    order_id bigint generated always as identity primary key,
    system text not null,
    account text not null,
    brand text not null,
    external_id text not null,
    profile_id bigint,
    contact_id bigint,
    name text,
    placed_at timestamptz not null,
    updated_at timestamptz,
    cancelled_at timestamptz,
    financial_status text,
    is_test boolean not null default false,
    is_deleted boolean not null default false,
    currency text not null,
    gross_amount numeric not null,
    current_amount numeric not null,
    discount_amount numeric not null default 0,
    refunded_amount numeric not null default 0,
    discount_codes text[] not null default '{}',
    utm_source text,
    utm_medium text,
    utm_campaign text,
    batch bigint not null,
    unique (account, external_id)
);
create index on mkt_core.orders (contact_id, placed_at);
create index on mkt_core.orders (placed_at);

comment on column mkt_core.orders.gross_amount is
'what was ordered, after discounts, before refunds and edits (shop currency)';
comment on column mkt_core.orders.current_amount is
'what is left after refunds and edits';

create table mkt_core.order_lines (
    account text not null,
    external_id text not null,
    order_id bigint not null,
    product_id bigint,
    sku text,
    title text,
    quantity numeric not null,
    amount numeric not null,
    discount_amount numeric not null default 0,
    batch bigint not null,
    primary key (account, external_id)
);
create index on mkt_core.order_lines (order_id);

create table mkt_core.refunds (
    account text not null,
    external_id text not null,
    order_id bigint not null,
    refunded_at timestamptz not null,
    amount numeric not null,
    currency text not null,
    batch bigint not null,
    primary key (account, external_id)
);
create index on mkt_core.refunds (refunded_at);

create table mkt_core.carts (
    cart_id bigint generated always as identity primary key,
    system text not null,
    account text not null,
    brand text not null,
    external_id text not null,
    profile_id bigint,
    contact_id bigint,
    created_at timestamptz not null,
    updated_at timestamptz not null,
    completed_at timestamptz,
    currency text,
    amount numeric,
    lines jsonb not null default '[]',
    url text,
    is_deleted boolean not null default false,
    batch bigint not null,
    unique (account, external_id)
);
create index on mkt_core.carts (created_at);
create index on mkt_core.carts (contact_id);

-- grain: one thing that happened to one contact; the current version of each event
-- key: event_id is the md5 of a stable name as uuid, so a rerun writes the same row
create table mkt_core.events (
    event_id uuid not null,
    occurred_at timestamptz not null,
    profile_id bigint not null,
    contact_id bigint not null,
    event_type text not null,
    key text,
    amount numeric,
    currency text,
    reporting_amount numeric,
    order_id bigint,
    cart_id bigint,
    product_id bigint,
    campaign_id integer,
    step_id integer,
    send_id bigint,
    source text not null,
    batch bigint not null,
    is_machine boolean not null default false,
    properties jsonb not null default '{}',
    primary key (event_id, occurred_at)
) partition by range (occurred_at);
create index on mkt_core.events (contact_id, event_type, occurred_at);
create index on mkt_core.events (event_type, occurred_at);
create index on mkt_core.events using brin (batch);

create table mkt_core.exchange_rates (
    currency text not null,
    date date not null,
    rate numeric not null check (rate > 0),
    primary key (currency, date)
);
comment on column mkt_core.exchange_rates.rate is
'reporting currency for one unit; the latest date not after the fact''s applies';
