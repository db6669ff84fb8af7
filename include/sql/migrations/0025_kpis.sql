-- What the KPI roll-up remembers, so that it finds by itself which past days a change touches.

-- grain: one period that was rolled up; absent = never computed: first numbers revise nothing
create table mkt_marts.kpi_periods (
    kpi_group text not null,
    grain text not null check (grain in ('day', 'week', 'month')),
    date date not null,
    definition_hash text not null,
    is_closed boolean not null,
    primary key (kpi_group, grain, date)
);
comment on column mkt_marts.kpi_periods.is_closed is
'the period was over when it was computed: a later change of its numbers is a revision';

-- grain: one contact with an order that counts. Kept by the roll-up: a late or cancelled first
-- order changes who was new on another day than its own.
create table mkt_marts.first_orders (
    contact_id bigint primary key,
    first_order_at timestamptz not null
);
create index on mkt_marts.first_orders (first_order_at);

-- grain: one change of a fact that carries no batch; the roll-up turns it into dirty days.
-- Appended only, no key: writers never wait for each other.
create table mkt_ops.kpi_marks (
    mark_id bigint generated always as identity primary key,
    kind text not null check (kind in ('conversion', 'rate', 'contact')),
    occurred_at timestamptz,
    currency text,
    rate_date date
);

-- grain: one row. Merges and contact versions up to this batch were turned into dirty days.
create table mkt_ops.kpi_state (
    is_only boolean primary key default true check (is_only),
    batch bigint not null
);

create index on mkt_core.contact_history using brin (batch);
create index on mkt_core.contacts (created_at);
create index on mkt_core.refunds (order_id);
create index on mkt_engage.enrolments (converted_at) where converted_at is not null;

create function mkt_ops.mark_conversion() returns trigger language plpgsql as $$
begin
    insert into mkt_ops.kpi_marks (kind, occurred_at)
    select 'conversion', moved.occurred_at
    from (values (new.converted_at), (case when tg_op = 'UPDATE' then old.converted_at end))
        as moved (occurred_at)
    where moved.occurred_at is not null;
    return null;
end $$;

create trigger mark_conversion_of_new
after insert on mkt_engage.enrolments
for each row when (new.converted_at is not null)
execute function mkt_ops.mark_conversion();

-- The condition is tested before the function is called: other movements cost nothing.
create trigger mark_conversion_of_known
after update on mkt_engage.enrolments
for each row when (
    old.converted_at is distinct from new.converted_at
    or (
        new.converted_at is not null
        and (old.status = 'holdout') is distinct from (new.status = 'holdout')
    )
)
execute function mkt_ops.mark_conversion();

-- A contact that is merged away, or turns out to be older, leaves the day it was counted on.
create function mkt_ops.mark_contact() returns trigger language plpgsql as $$
begin
    insert into mkt_ops.kpi_marks (kind, occurred_at) values ('contact', old.created_at);
    return null;
end $$;

create trigger mark_older_contact
after update on mkt_core.contacts
for each row when (old.created_at is distinct from new.created_at)
execute function mkt_ops.mark_contact();

create trigger mark_deleted_contact
after delete on mkt_core.contacts
for each row execute function mkt_ops.mark_contact();

create function mkt_ops.mark_rates() returns trigger language plpgsql as $$
begin
    if tg_op = 'DELETE' then
        insert into mkt_ops.kpi_marks (kind, currency, rate_date)
        select 'rate', currency, date from changed_from;
    elsif tg_op = 'INSERT' then
        insert into mkt_ops.kpi_marks (kind, currency, rate_date)
        select 'rate', currency, date from changed_to;
    else
        insert into mkt_ops.kpi_marks (kind, currency, rate_date)
        select 'rate', currency, date from changed_to
        union
        select 'rate', currency, date from changed_from;
    end if;
    return null;
end $$;

create trigger mark_new_rates
after insert on mkt_core.exchange_rates
referencing new table as changed_to
for each statement execute function mkt_ops.mark_rates();

create trigger mark_corrected_rates
after update on mkt_core.exchange_rates
referencing old table as changed_from new table as changed_to
for each statement execute function mkt_ops.mark_rates();

create trigger mark_deleted_rates
after delete on mkt_core.exchange_rates
referencing old table as changed_from
for each statement execute function mkt_ops.mark_rates();
