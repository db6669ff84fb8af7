-- grain: one member of an audience; its e-mail consent; its lists  key: (account, external_id)
-- reads: mkt_raw.mailchimp__members, mkt_raw.mailchimp__audiences
-- rerun: replaces the views, which hold no data
--
-- The same person in two audiences is two members. An archived member is still there: it is on no
-- list and gives no consent.

create or replace view mkt_staging.mailchimp__contacts as
select
    'mailchimp'::text as system,
    members.account,
    members.id as external_id,
    nullif(lower(trim(members.email)), '') as email,
    -- Confirmed by double opt-in, or brought in by the account's owner. Whoever signed up in a form
    -- without confirmation may have typed somebody else's address.
    members.status in ('subscribed', 'unsubscribed', 'cleaned', 'archived')
    and (members.signup_at is null or coalesce(audiences.is_double_optin, false))
        as is_email_verified,
    case
        when regexp_replace(phones.phone, '[\s().-]', '', 'g') ~ '^\+[1-9]\d{6,14}$'
            then regexp_replace(phones.phone, '[\s().-]', '', 'g')
    end as phone,
    nullif(trim(members.merge_fields ->> 'FNAME'), '') as first_name,
    nullif(trim(members.merge_fields ->> 'LNAME'), '') as last_name,
    upper(
        coalesce(
            nullif(trim(members.merge_fields #>> '{ADDRESS,country}'), ''),
            nullif(trim(members.country_code), '')
        )
    ) as country,
    nullif(trim(members.merge_fields #>> '{ADDRESS,state}'), '') as region,
    nullif(trim(members.merge_fields #>> '{ADDRESS,city}'), '') as city,
    nullif(trim(members.merge_fields #>> '{ADDRESS,zip}'), '') as postal_code,
    nullif(lower(split_part(replace(members.language, '_', '-'), '-', 1)), '') as language,
    nullif(trim(members.time_zone), '') as time_zone,
    -- Mailchimp's own birthday field has no year: it stays an attribute
    mkt_staging.date_or_null(members.merge_fields ->> 'BIRTHDAY') as birth_date,
    coalesce(
        (
            select
                jsonb_object_agg(
                    lower(fields.name), mkt_staging.json_value(trim(fields.value))
                    order by fields.name
                )
            from
                jsonb_each_text(
                    case
                        when jsonb_typeof(members.merge_fields) = 'object' then members.merge_fields
                        else '{}'
                    end
                ) as fields (name, value)
            where
                fields.name not in ('FNAME', 'LNAME', 'ADDRESS', 'PHONE')
                and trim(fields.value) not in ('', '{}')
        ),
        '{}'
    )
    || jsonb_strip_nulls(
        jsonb_build_object(
            'tags',
            (
                select jsonb_agg(tags.tag ->> 'name' order by tags.tag ->> 'name')
                from jsonb_array_elements(
                    case jsonb_typeof(members.tags) when 'array' then members.tags else '[]' end
                ) as tags (tag)
            ),
            'member_rating', members.member_rating,
            'is_vip', nullif(members.is_vip, false),
            'mailchimp_status', members.status
        )
    ) as attributes,
    coalesce(members.signup_at, members.optin_at, members.last_changed, members.loaded_at)
        as created_at,
    coalesce(members.source_updated_at, members.last_changed, members.loaded_at) as updated_at,
    members.is_deleted,
    members.sync_run_id
from mkt_raw.mailchimp__members as members
left join mkt_raw.mailchimp__audiences as audiences
    on members.account = audiences.account and members.list_id = audiences.id
cross join lateral (
    select coalesce(nullif(members.sms_phone_number, ''), members.merge_fields ->> 'PHONE') as phone
) as phones;

create or replace view mkt_staging.mailchimp__consents as
select
    'mailchimp'::text as system,
    members.account,
    members.id as external_id,
    'email'::text as channel,
    'marketing'::text as topic,
    case
        -- erased at Mailchimp: no proof of anything is left
        when members.is_deleted then 'none'
        -- a subscriber who was asked for permissions (GDPR) and did not give the one for e-mail,
        -- or none at all: what they are called is the account's own choice
        when
            members.status = 'subscribed'
            and (
                jsonb_path_exists(
                    members.marketing_permissions,
                    '$[*] ? (@.text like_regex "e-?mail" flag "i" && @.enabled == false)'
                )
                or (
                    jsonb_path_exists(members.marketing_permissions, '$[*]')
                    and not jsonb_path_exists(
                        members.marketing_permissions, '$[*] ? (@.enabled == true)'
                    )
                )
            )
            then 'none'
        when members.status = 'subscribed' then 'granted'
        when members.status in ('unsubscribed', 'cleaned') then 'denied'
        when members.status = 'pending' then 'pending'
        else 'none'
    end as status,
    'consent'::text as legal_basis,
    -- A grant is as old as the opt-in: another change must not make it younger than a refusal.
    case
        when members.status = 'subscribed'
            then coalesce(members.optin_at, members.signup_at, members.last_changed)
        else members.last_changed
    end as changed_at,
    coalesce(members.source_updated_at, members.last_changed, members.loaded_at) as updated_at,
    members.sync_run_id
from mkt_raw.mailchimp__members as members;

create or replace view mkt_staging.mailchimp__list_members as
select
    'mailchimp'::text as system,
    members.account,
    members.list_id || '/' || members.id as external_id,
    members.list_id,
    members.id as contact_id,
    coalesce(members.optin_at, members.signup_at) as added_at,
    members.is_deleted or members.status = 'archived' as is_deleted,
    members.sync_run_id
from mkt_raw.mailchimp__members as members
union all
-- a tag is a static segment of its audience
select
    'mailchimp'::text as system,
    members.account,
    members.list_id || ':' || (tags.tag ->> 'id') || '/' || members.id as external_id,
    members.list_id || ':' || (tags.tag ->> 'id') as list_id,
    members.id as contact_id,
    null::timestamptz as added_at,
    members.is_deleted or members.status = 'archived' as is_deleted,
    members.sync_run_id
from mkt_raw.mailchimp__members as members
cross join
    lateral jsonb_array_elements(
        case jsonb_typeof(members.tags) when 'array' then members.tags else '[]' end
    ) as tags (tag)
where tags.tag ->> 'id' is not null;
