-- What unify keeps to join identities, and what waits for its parent.

alter table mkt_core.contact_identities add column has_record boolean not null default false;
comment on column mkt_core.contact_identities.has_record is
'false: known from an order or cart alone, the person''s own record has not arrived';

-- grain: one key an identity was ever seen with; a hash, so that no address is kept twice
create table mkt_core.identity_keys (
    profile_id bigint not null,
    kind text not null check (kind in ('email', 'phone')),
    key_hash uuid not null,
    is_cut boolean not null default false,
    batch bigint not null,
    primary key (profile_id, kind, key_hash)
);
create index on mkt_core.identity_keys (kind, key_hash);
comment on column mkt_core.identity_keys.is_cut is
'an undone merge: this key no longer joins this identity to anybody';

alter table mkt_core.contact_merges
add column from_profile_ids bigint[] not null default '{}',
add column into_profile_ids bigint[] not null default '{}';

-- grain: one row of a child stream whose order has not arrived yet
create table mkt_core.waiting_facts (
    entity text not null check (entity in ('order_lines', 'refunds')),
    account text not null,
    parent_id text not null,
    external_id text not null,
    batch bigint not null,
    primary key (entity, account, parent_id, external_id)
);

-- Accepted sends without their event yet.
alter table mkt_engage.sends add column event_batch bigint;
create index on mkt_engage.sends (send_id) where status = 'accepted' and event_batch is null;
comment on column mkt_engage.sends.event_batch is 'the batch of its email_sent event';

-- A date, or null where the text is not one: '1980-02-31' must not stop a batch.
create function mkt_staging.date_or_null(input text) returns date
language sql immutable parallel safe
as $$
select case
    when input !~ '^(19|20)\d\d-(0[1-9]|1[0-2])-(0[1-9]|[12]\d|3[01])$' then null
    when right(input, 2)::int > extract(
        day from (left(input, 7) || '-01')::date + interval '1 month' - interval '1 day'
    ) then null
    else input::date
end
$$;

-- A number where the text is written as one, else the text: '2' -> 2, '45-54' -> "45-54".
create function mkt_staging.json_value(input text) returns jsonb
language sql immutable parallel safe
as $$
select case
    when input ~ '^-?(0|[1-9]\d{0,14})(\.\d{1,6})?$' then to_jsonb(input::numeric)
    else to_jsonb(input)
end
$$;

-- The value of the tag `<key>:<value>`, or null. Of several, the last by alphabet.
create function mkt_staging.tag_value(tags jsonb, tag_key text) returns text
language sql immutable parallel safe
as $$
select max(nullif(trim(split_part(items.tag, ':', 2)), ''))
from jsonb_array_elements_text(
    case jsonb_typeof(tags) when 'array' then tags else '[]' end
) as items (tag)
where lower(trim(split_part(items.tag, ':', 1))) = tag_key
$$;

-- Tags `<key>:<value>` as an object; plain tags as a sorted list under `tags`.
create function mkt_staging.tag_attributes(tags jsonb) returns jsonb
language sql immutable parallel safe
as $$
select
    coalesce(
        jsonb_object_agg(pairs.key, mkt_staging.json_value(pairs.value) order by pairs.value)
        filter (where pairs.value <> '' and pairs.key not in ('', 'tags')),
        '{}'
    )
    || jsonb_strip_nulls(jsonb_build_object(
        'tags',
        jsonb_agg(pairs.tag order by pairs.tag) filter (where pairs.value is null)
    ))
from (
    select
        trim(items.tag) as tag,
        lower(trim(split_part(items.tag, ':', 1))) as key,
        case
            when strpos(items.tag, ':') > 0
                then trim(substr(items.tag, strpos(items.tag, ':') + 1))
        end as value
    from jsonb_array_elements_text(
        case jsonb_typeof(tags) when 'array' then tags else '[]' end
    ) as items (tag)
    where trim(items.tag) <> ''
) as pairs
$$;

-- Zones this server knows. A table, because pg_timezone_names reads some 1,200 files a query.
create table mkt_core.time_zones (
    lower_name text primary key,
    time_zone text not null
);
insert into mkt_core.time_zones (lower_name, time_zone)
select
    lower(name) as lower_name,
    min(name) as time_zone
from pg_timezone_names group by lower(name);

-- grain: one country, or one region of it, and the zone most of its people live in
create table mkt_core.region_time_zones (
    country text not null,
    region text not null default '',
    time_zone text not null,
    primary key (country, region)
);
comment on table mkt_core.region_time_zones is
'used where a contact''s own zone is missing or unknown; region '''' = the whole country';

insert into mkt_core.region_time_zones (country, region, time_zone)
select
    'US' as country,
    regions.region,
    zones.time_zone
from (
    values
    ('America/New_York', 'CT DC DE FL GA IN KY MA MD ME MI NC NH NJ NY OH PA RI SC VA VT WV'),
    ('America/Chicago', 'AL AR IA IL KS LA MN MO MS ND NE OK SD TN TX WI'),
    ('America/Denver', 'CO ID MT NM UT WY'),
    ('America/Phoenix', 'AZ'),
    ('America/Los_Angeles', 'CA NV OR WA'),
    ('America/Anchorage', 'AK'),
    ('Pacific/Honolulu', 'HI'),
    ('America/Puerto_Rico', 'PR')
) as zones (time_zone, region_list)
cross join lateral string_to_table(zones.region_list, ' ') as regions (region);

-- Countries of one zone, or nearly; those of many zones are left to the reporting zone.
insert into mkt_core.region_time_zones (country, time_zone)
values
('AT', 'Europe/Vienna'), ('BA', 'Europe/Sarajevo'), ('BE', 'Europe/Brussels'),
('BG', 'Europe/Sofia'), ('CH', 'Europe/Zurich'), ('CN', 'Asia/Shanghai'),
('CY', 'Asia/Nicosia'), ('CZ', 'Europe/Prague'), ('DE', 'Europe/Berlin'),
('DK', 'Europe/Copenhagen'), ('EE', 'Europe/Tallinn'), ('ES', 'Europe/Madrid'),
('FI', 'Europe/Helsinki'), ('FR', 'Europe/Paris'), ('GB', 'Europe/London'),
('GR', 'Europe/Athens'), ('HR', 'Europe/Zagreb'), ('HU', 'Europe/Budapest'),
('IE', 'Europe/Dublin'), ('IL', 'Asia/Jerusalem'), ('IN', 'Asia/Kolkata'),
('IT', 'Europe/Rome'), ('JP', 'Asia/Tokyo'), ('KR', 'Asia/Seoul'),
('LT', 'Europe/Vilnius'), ('LU', 'Europe/Luxembourg'), ('LV', 'Europe/Riga'),
('ME', 'Europe/Podgorica'), ('MK', 'Europe/Skopje'), ('MT', 'Europe/Malta'),
('NL', 'Europe/Amsterdam'), ('NO', 'Europe/Oslo'), ('NZ', 'Pacific/Auckland'),
('PL', 'Europe/Warsaw'), ('PT', 'Europe/Lisbon'), ('RO', 'Europe/Bucharest'),
('RS', 'Europe/Belgrade'), ('SE', 'Europe/Stockholm'), ('SG', 'Asia/Singapore'),
('SI', 'Europe/Ljubljana'), ('SK', 'Europe/Bratislava'), ('TR', 'Europe/Istanbul'),
('UA', 'Europe/Kyiv'), ('ZA', 'Africa/Johannesburg');

-- A zone this server does not know must never reach a contact.
delete from mkt_core.region_time_zones as regions
where not exists (
    select 1 from mkt_core.time_zones as zones
    where zones.lower_name = lower(regions.time_zone)
);
