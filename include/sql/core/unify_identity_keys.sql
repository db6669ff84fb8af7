-- grain: one key of one identity        key: (profile_id, kind, key_hash)
-- reads: mkt_core.contact_identities        params: profiles, batch
-- writes: mkt_core.identity_keys
-- rerun: changes nothing
-- Returns the identities whose new key somebody else holds too: only these can move.

with held as (
    select
        profile_id,
        'email' as kind,
        md5(email)::uuid as key_hash
    from mkt_core.contact_identities
    where
        profile_id = any(%(profiles)s::bigint[])
        and is_email_verified
        and email is not null
    union all
    select
        profile_id,
        'phone' as kind,
        md5(phone)::uuid as key_hash
    from mkt_core.contact_identities
    where profile_id = any(%(profiles)s::bigint[]) and phone is not null
),

inserted as (
    insert into mkt_core.identity_keys (profile_id, kind, key_hash, batch)
    select
        profile_id,
        kind,
        key_hash,
        %(batch)s::bigint
    from held
    order by profile_id, kind
    on conflict do nothing
    returning profile_id, kind, key_hash
),

counted as (
    select
        *,
        count(*) over (partition by kind, key_hash) as newcomers
    from inserted
)

select array(
    select distinct counted.profile_id
    from counted
    where
        counted.newcomers > 1
        or exists (
            select 1 from mkt_core.identity_keys as others
            where others.kind = counted.kind and others.key_hash = counted.key_hash
        )
) as seeds;
