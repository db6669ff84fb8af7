-- What incremental segments need to know: versions of events that went, and who to look at again.

alter table mkt_engage.segments add column retired_at timestamptz;
comment on column mkt_engage.segments.retired_at is
'its file was gone at this instant: memberships stay as they were; a file that returns is new';

-- New facts are found by their batch. A btree with many equal keys costs about 7 bytes a row;
-- a BRIN would read every page that was written since the last vacuum.
create index on mkt_core.events (batch);
create index on mkt_core.orders (batch);
create index on mkt_core.contacts (created_at);
create index on mkt_core.contact_merges (batch);

-- grain: one version of an event that a later batch replaced or removed
-- core.events holds the current version; known_at reads the earlier ones here
create table mkt_core.event_versions (
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
    campaign_id integer,
    batch bigint not null,
    gone_batch bigint not null,
    is_machine boolean not null,
    properties jsonb not null
);
create index on mkt_core.event_versions (gone_batch);
create index on mkt_core.event_versions (contact_id, event_type, occurred_at);

comment on column mkt_core.event_versions.gone_batch is
'the batch that replaced it; of a removed event the last batch open or closed at that moment';

create function mkt_core.keep_replaced_events() returns trigger language plpgsql as $$
begin
    insert into mkt_core.event_versions (
        event_id, occurred_at, profile_id, contact_id, event_type, key, amount, currency,
        reporting_amount, order_id, campaign_id, batch, gone_batch, is_machine, properties
    )
    select
        o.event_id, o.occurred_at, o.profile_id, o.contact_id, o.event_type, o.key, o.amount,
        o.currency, o.reporting_amount, o.order_id, o.campaign_id, o.batch, n.batch, o.is_machine,
        o.properties
    from old_rows as o
    inner join new_rows as n on n.event_id = o.event_id
    where n.batch <> o.batch;
    return null;
end
$$;

create function mkt_core.keep_removed_events() returns trigger language plpgsql as $$
begin
    insert into mkt_core.event_versions (
        event_id, occurred_at, profile_id, contact_id, event_type, key, amount, currency,
        reporting_amount, order_id, campaign_id, batch, gone_batch, is_machine, properties
    )
    select
        o.event_id, o.occurred_at, o.profile_id, o.contact_id, o.event_type, o.key, o.amount,
        o.currency, o.reporting_amount, o.order_id, o.campaign_id, o.batch,
        (select coalesce(max(b.batch), 0) from mkt_ops.batches as b), o.is_machine, o.properties
    from old_rows as o;
    return null;
end
$$;

create trigger keep_replaced_events after update on mkt_core.events
referencing old table as old_rows new table as new_rows
for each statement execute function mkt_core.keep_replaced_events();

create trigger keep_removed_events after delete on mkt_core.events
referencing old table as old_rows
for each statement execute function mkt_core.keep_removed_events();

-- grain: one change of one product's category; whoever bought it is looked at again
create table mkt_core.product_category_changes (
    product_id bigint not null,
    batch bigint not null
);
create index on mkt_core.product_category_changes (batch);

create function mkt_core.note_product_category() returns trigger language plpgsql as $$
begin
    insert into mkt_core.product_category_changes (product_id, batch)
    values (new.product_id, new.batch);
    return null;
end
$$;

create trigger note_product_category after update of category on mkt_core.products
for each row when (old.category is distinct from new.category)
execute function mkt_core.note_product_category();
